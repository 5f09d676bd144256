"""Looks into what nodes and operators keep; sent as text to a machine's own Python (>= 3.8).

Reads a JSON request from its arguments and prints a JSON answer. Standard library alone: nothing of
this package is there.
"""

import base64
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

SHARED = ".shared/kvs.sqlite"
OPERATORS = ".operators"
SHOWN = 1 << 20  # bytes of a value that are sent


def answer(request: Dict[str, Any]) -> Dict[str, Any]:
    """`action`: list, get or clear. `owner`: `node/operator`, `node`, or empty for what is shared;
    absent for all. Damaged files are named under `damaged`, and removed by `clear`."""
    folder = Path(request["state"], request["deployment"])
    rows: List[Dict[str, Any]] = []
    damaged: Dict[str, str] = {}
    for path, node in _files(folder):
        try:
            rows += _one(path, node, request)
        except sqlite3.Error as error:
            damaged[str(path)] = str(error)
            if request["action"] == "clear" and _matches(node, "", request.get("owner")):
                for name in (path.name, path.name + "-wal", path.name + "-shm"):
                    file = path.with_name(name)
                    if file.exists():
                        file.unlink()
    return {"rows": rows, "damaged": damaged}


def _files(folder: Path) -> Iterator[Tuple[Path, str]]:
    if (folder / SHARED).exists():
        yield folder / SHARED, ""
    for path in sorted((folder / OPERATORS).glob("*.sqlite")):
        yield path, path.name[: -len(".sqlite")]


def _one(path: Path, node: str, request: Dict[str, Any]) -> List[Dict[str, Any]]:
    key, owner, action = request.get("key"), request.get("owner"), request["action"]
    if not _matches(node, None, owner):
        return []
    rows: List[Dict[str, Any]] = []
    connection = sqlite3.connect(str(path), timeout=10, isolation_level=None)
    try:
        found = connection.execute("SELECT owner, key, length(value) FROM kept ORDER BY 1, 2")
        for operator, name, size in found.fetchall():
            if not _matches(node, operator, owner) or (key is not None and name != key):
                continue
            where = "/".join(part for part in (node, operator) if part)
            row = {"owner": where, "key": name, "bytes": size}
            if action == "get":
                value = connection.execute(
                    "SELECT substr(value, 1, ?) FROM kept WHERE owner = ? AND key = ?",
                    (SHOWN, operator, name),
                ).fetchone()
                if value is None:
                    continue  # cleared meanwhile
                row["value"] = base64.b64encode(value[0]).decode()
            elif action == "clear":
                connection.execute("DELETE FROM kept WHERE owner = ? AND key = ?", (operator, name))
            rows.append(row)
    finally:
        connection.close()
    return rows


def _matches(node: str, operator: Any, wanted: Any) -> bool:
    """Whether what `node` keeps for `operator` (None: for any) is wanted."""
    if wanted is None:
        return True
    parts = wanted.split("/", 1) if wanted else [""]
    if parts[0] != node:
        return False
    return len(parts) == 1 or operator is None or parts[1] == operator


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(json.loads(sys.argv[1]))))
