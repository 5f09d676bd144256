"""Prints once a second how much each replica did, and whether anything is missing or out of order.

`metadata["replica"]` tells which replica sent a message.
"""

from collections import Counter

from dora import Node


def main() -> None:
    node = Node()
    done: Counter[int] = Counter()
    expected: dict[int, int] = {}
    wrong = 0

    def tell() -> None:
        each = ", ".join(f"{replica}: {count}" for replica, count in sorted(done.items()))
        print(f"{sum(done.values())} frames ({each}), {wrong} out of order", flush=True)

    for event in node:
        if event["type"] == "INPUT" and event["id"] == "second":
            tell()
        elif event["type"] == "INPUT":
            metadata = event["metadata"]
            done[metadata["replica"]] += 1
            track, number = metadata["track"], metadata["number"]
            wrong += number != expected.get(track, number)
            expected[track] = number + 1
        elif event["type"] == "STOP":
            break
    tell()


if __name__ == "__main__":
    main()
