"""`python -m dora.runtime`: the process of a node that hosts operators. Node (>= 3.10)."""

from dora.runtime.start import start_runtime

if __name__ == "__main__":
    start_runtime()
