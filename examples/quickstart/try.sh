#!/bin/sh
# Installs dora into .venv and deploys the quickstart to two machines that are both this laptop.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -x .venv/bin/dora ]; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    # Debian splits Python's venv into a package of its own.
    if [ "$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q python3-venv
    else sudo apt-get update -q && sudo apt-get install -y -q python3-venv; fi
  fi
  python3 -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -e .
fi
exec .venv/bin/dora deploy --inventory machines.yml examples/quickstart/flow.yml "$@"
