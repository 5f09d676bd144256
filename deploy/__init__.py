"""Declarative deployment of processes to machines over SSH; knows nothing of dataflows."""
