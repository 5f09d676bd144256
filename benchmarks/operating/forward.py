"""One link of a chain: sends what it gets."""

from dora import DoraStatus


class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "INPUT":
            send_output("out", dora_event["value"])
        return DoraStatus.CONTINUE
