"""Hosts many operators in one process, with deadlines and durable state. Node (>= 3.10)."""
