"""Prints what the operators found out; an ordinary node."""

from dora import Node

newest = {}
for event in Node():
    if event["type"] != "INPUT":
        continue
    if event["id"] == "alarm":
        print("alarm:", bytes(event["value"].to_numpy()).decode(), flush=True)
        continue
    newest[event["id"]] = event["value"][0].as_py()
    if event["id"] == "memory" and len(newest) == 2:
        print(f"cpu {newest['cpu']:3.0f} %  memory {newest['memory']:3.0f} %", flush=True)
