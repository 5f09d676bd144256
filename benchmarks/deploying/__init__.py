"""Deployers side by side on the same hosts: what they have to do, who they are, what they took."""
