"""uv, run: requirements -> pins, pins -> a folder of packages. Laptop only.

The user's own settings for uv (UV_*, uv.toml) stay in force: indexes, proxies, certificates.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deploy.addresses import logins, without_logins
from deploy.build.lock import Key, Pins
from deploy.build.requirements import Requirements
from deploy.errors import BuildError, NoIndex

HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
OFFLINE = re.compile(r"failed to fetch|error sending request|connect|dns|timed out", re.IGNORECASE)

_FINDING = threading.Lock()


def find_uv() -> str:
    """The path of uv's program. Threads that make the environments of several machines ask for it
    at once; they are answered one after the other, as Python's `sysconfig` shows half of its
    variables to whoever comes while another one is the first to ask for them."""
    import uv  # rarely needed: what was locked and fetched before is known

    with _FINDING:
        return str(uv.find_uv_bin())


def compile_pins(
    key: Key, asked: Requirements, base: Path, prefer: Iterable[str], *, offline: bool = False
) -> Pins:
    """Chooses versions for a platform. `prefer` are pins to keep to where that is possible.
    Raises BuildError with uv's own words, NoIndex if there is no way to the index; that is not
    asked when `offline`, but only what uv has."""
    wheels = asked.wheels
    with tempfile.TemporaryDirectory(prefix="dora-") as folder:
        wanted = Path(folder, "requirements.in")
        wanted.write_text("".join(f"{wheels.get(line, line)}\n" for line in asked.lines))
        limits = Path(folder, "constraints.txt")
        limits.write_text("".join(f"{line}\n" for line in asked.constraints))
        pinned = Path(folder, "pinned.txt")
        pinned.write_text("".join(f"{pin}\n" for pin in sorted(set(prefer))))
        _run(
            ["compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"],
            ["--output-file", pinned, "--constraint", limits, wanted],
            key=key,
            urls=asked.index_urls,
            base=base,
            offline=offline,
        )
        return parse_pins(pinned.read_text(), wheels)


def install(
    key: Key,
    pins: Pins,
    asked: Requirements,
    base: Path,
    target: Path,
    *,
    dry: bool = False,
    offline: bool = False,
) -> None:
    """Fetches and unpacks exactly `pins` into `target`; when `dry`, only finds out whether it
    could. Raises BuildError and NoIndex as `compile_pins`."""
    places = {
        **{name: str(path) for name, path in asked.wheels.items()},
        **logins([*asked.lines, *asked.constraints]),
    }
    with tempfile.TemporaryDirectory(prefix="dora-") as folder:
        pinned = Path(folder, "pinned.txt")
        pinned.write_text("".join(_pin_line(name, pins[name], places) for name in sorted(pins)))
        _run(
            ["install", "--quiet", "--no-deps", "--require-hashes", "--link-mode", "copy"],
            [
                *("--no-compile-bytecode", "--target", target, "--requirement", pinned),
                *(["--dry-run"] if dry else []),
            ],
            key=key,
            urls=asked.index_urls,
            base=base,
            offline=offline,
        )


def parse_pins(text: str, wheels: dict[str, Path]) -> Pins:
    """What `uv pip compile --generate-hashes` wrote. Wheels of ours are called as in `wheels`,
    and addresses have no passwords."""
    ours = {path.name: name for name, path in wheels.items()}
    pins = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        pin = line.split(" --hash=", 1)[0].strip()
        if not pin or pin.startswith(("#", "-")):
            continue
        file = pin.rpartition("/")[2].rpartition("\\")[2]
        pins[ours.get(file, without_logins(pin))] = tuple(sorted(HASH.findall(line)))
    return pins


def _pin_line(name: str, hashes: Sequence[str], places: Mapping[str, str]) -> str:
    """`places` are where wheels of ours lie, and addresses with the passwords that they need."""
    pin = " ".join(places.get(word, word) for word in name.split(" "))
    return " ".join([pin, *(f"--hash=sha256:{digest}" for digest in hashes)]) + "\n"


def _run(
    verb: list[str],
    arguments: list[str | Path],
    *,
    key: Key,
    urls: Sequence[str],
    base: Path,
    offline: bool,
) -> None:
    # Only wheels: a source package would be built here, for here.
    which = ["--python-platform", key.platform, "--python-version", key.python]
    which += ["--only-binary", ":all:"] if key.build_from_source else ["--no-build"]
    which += [f"--no-binary={name}" for name in key.build_from_source]
    which += ["--offline"] if offline else []
    command = [find_uv(), "pip", *verb, *which, "--python", sys.executable]
    done = subprocess.run(
        [*command, *arguments],
        cwd=base,
        # Not in argv, where every user could read a password that is in an URL.
        env={**os.environ, "UV_INDEX": " ".join([*urls, os.environ.get("UV_INDEX", "")]).strip()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    told = done.stderr.strip() or f"uv ended with {done.returncode}"
    kind = NoIndex if not offline and _is_offline(told) else BuildError
    raise kind(without_logins(_in_users_words(told, key)), hint=_hint(told))


def _in_users_words(told: str, key: Key) -> str:
    """uv's message, with a requirement in the place of our temporary file's line."""

    def requirement(match: re.Match[str]) -> str:
        line = int(match[1]) - 1
        return repr(key.requirements[line]) if line < len(key.requirements) else match[0]

    told = re.sub(r"[^\s`]+/requirements\.in:(\d+)(?::\d+)?", requirement, told)
    return re.sub(r"`?[^\s`]+/requirements\.in`?(\s+at\s+position \d+)?", "the requirements", told)


def _is_offline(told: str) -> bool:
    return "No solution" not in told and OFFLINE.search(told) is not None


def _hint(told: str) -> str | None:
    if _is_offline(told):
        return "is there a way to the package index? Environments built before need none"
    if "wheel" in told:
        return (
            "only wheels are deployed, as nothing is built on machines: choose a version that has "
            "one for this platform, name one of yours (`./name.whl`), or let pure Python be built "
            "here: `build_from_source: [name]` of the node"
        )
    return None
