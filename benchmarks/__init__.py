"""This project and dora-rs side by side: `python -m benchmarks.latency`, `... throughput`.

The node programs are in `nodes/`; they run in dora-rs's environment (`peer`), which the scripts
make, so that both libraries have the same Python, pyarrow and numpy.
"""
