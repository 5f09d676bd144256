"""References to secrets: they tell when a content changed, and nothing else."""

from __future__ import annotations

import hashlib

import pytest

from deploy.differences import Reason, differences
from deploy.secret import REFERENCE, Secret, reference
from deploy.unit import Unit

KEY = bytes(32)


def test_a_reference_changes_with_content_unit_variable_and_key() -> None:
    """Equal passwords of two units, or on two machines, cannot be seen to be equal."""
    names = [
        reference(KEY, "a", "X", b"hush"),
        reference(KEY, "a", "X", b"hush!"),
        reference(KEY, "b", "X", b"hush"),
        reference(KEY, "a", "Y", b"hush"),
        reference(bytes([1]) * 32, "a", "X", b"hush"),
    ]
    assert len(names) == len(set(names))
    assert names[0] == reference(KEY, "a", "X", b"hush")
    assert all(REFERENCE.match(name) for name in names)
    assert hashlib.sha256(b"hush").hexdigest()[:32] not in names


def test_a_changed_secret_restarts_its_unit_and_says_so() -> None:
    """The unit differs by the reference alone; units without secrets are as they always were."""

    def unit(content: bytes) -> Unit:
        secret = Secret("TOKEN", reference(KEY, "a", "TOKEN", content))
        return Unit("a", ("true",), "/", secrets=(secret,))

    assert unit(b"1") == Unit.from_json(unit(b"1").to_json())
    assert unit(b"1").fingerprint != unit(b"2").fingerprint
    assert (Reason("secret", "TOKEN"),) == differences(unit(b"1"), unit(b"2"))
    assert "secrets" not in Unit("a", ("true",), "/").to_json()


@pytest.mark.parametrize(
    "data",
    [
        {"variable": "A=B", "reference": "0" * 32},
        {"variable": "A", "reference": "../../key.pem"},
        {"variable": "A", "reference": "0" * 31 + "/"},
        {"variable": 5, "reference": "0" * 32},
        {"variable": "A", "reference": None},
        {"variable": "A", "reference": "0" * 32, "path": "yes"},
        {"variable": "A", "reference": "0" * 32, "content": "x"},
    ],
)
def test_a_secret_that_cannot_be_is_refused(data: dict[str, object]) -> None:
    """A profile from elsewhere leads to no file outside of the deployment's secrets."""
    with pytest.raises((TypeError, ValueError)):
        Secret.from_json(data)
