"""Sends ten words, one a tick."""

from dora import Node

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "again"]

node = Node()
for event in node:
    if event["type"] == "INPUT":
        node.send_output("word", WORDS.pop(0).encode())
        if not WORDS:
            break
