"""Hosts operators: many in one process, scheduled, with deadlines and durable state. Node (>= 3.10)."""
