"""A unit's secret: what its process finds, and which file has it. Data only; laptop and machine.

Python >= 3.8. The content is nowhere here: it lies in a file of `secrets/<deployment>/` on the
machine, which only the machine's user can read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Mapping

KEY = "references.key"  # a file of `secrets/<deployment>/`; differs from machine to machine
KEY_SIZE = 32  # bytes
LONGEST = 1024 * 1024  # bytes of one secret
LONGEST_VALUE = 100 * 1024  # bytes of one that becomes a variable; Linux takes 128 KiB

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\Z")
REFERENCE = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True)
class Secret:
    """`variable` of the process holds the content of the file `reference`, or, with `path`, the
    absolute path of that file."""

    variable: str
    reference: str
    path: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Secret:
        """Raises TypeError or ValueError on anything that no Secret can be."""
        secret = cls(**data)
        if not isinstance(secret.variable, str) or not VARIABLE.match(secret.variable):
            raise ValueError(f"a secret needs the name of a variable: {secret.variable!r}")
        if not isinstance(secret.reference, str) or not REFERENCE.match(secret.reference):
            raise ValueError(f"the secret {secret.variable} has no reference")
        if not isinstance(secret.path, bool):
            raise TypeError(f"the secret {secret.variable}: `path` is true or false")
        return secret


def reference(key: bytes, unit: str, variable: str, content: bytes) -> str:
    """The name of the file for `content`. Another content has another name, so that a unit whose
    secret changed differs from what it was, and older generations find what they had.

    Who knows the name learns nothing without `key`, which lies beside the contents: not even by
    trying all likely passwords, nor which secrets are equal.
    """
    scope = f"{unit}\0{variable}\0".encode()
    return hmac.new(key, scope + content, hashlib.sha256).hexdigest()[:32]
