"""What every deployer brings to the hosts: says which settings it runs with, and since when."""

import os
import time

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "settings.txt")) as settings:
    version = settings.readline().strip()
mark = os.path.expanduser("~/mark")
with open(mark + ".new", "w") as file:
    file.write(f"{version} {time.time()}")
os.replace(mark + ".new", mark)

if "DORA_NODE_CONFIG" in os.environ:
    from dora import Node

    for _ in Node():
        pass  # until it is asked to leave
else:
    while True:
        time.sleep(3600)
