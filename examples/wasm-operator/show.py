"""Prints what comes."""

from dora import Node

for event in Node():
    if event["type"] == "INPUT":
        print(event["value"].to_numpy().tobytes().decode(), flush=True)
