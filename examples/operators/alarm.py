"""Tells when the machine is busy, and when the news of it comes late."""

from dora import DoraStatus

BUSY = 90  # percent


class Operator:
    def on_event(self, dora_event, send_output):
        if dora_event["type"] == "DEADLINE_MISSED":
            send_output("text", f"{dora_event['lateness'] * 1000:.0f} ms late".encode())
        elif dora_event["type"] == "INPUT" and dora_event["value"][0].as_py() > BUSY:
            send_output("text", b"busy")
        return DoraStatus.CONTINUE
