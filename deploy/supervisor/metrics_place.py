"""Where the machine's figures are to be served, kept over reboots. Machine only; Python >= 3.8."""

from __future__ import annotations

import json
import logging
from typing import NamedTuple, Optional

from deploy.supervisor import files
from deploy.supervisor.files import remove
from deploy.supervisor.layout import Layout

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """An address of this machine (0.0.0.0 or :: for all of them) and a TCP port."""

    bind: str
    port: int


def read_place(layout: Layout) -> Optional[Place]:
    """Where figures are to be served; None for nowhere."""
    try:
        data = json.loads(layout.metrics.read_bytes())
        return Place(str(data["bind"]), int(data["port"]))
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        log.error("%s cannot be read, no metrics are served: %s", layout.metrics, error)
        return None


def write_place(layout: Layout, place: Optional[Place]) -> None:
    """Raises OSError."""
    if place is None:
        remove(layout.metrics)
    else:
        files.write(layout.metrics, json.dumps(place._asdict()).encode())
