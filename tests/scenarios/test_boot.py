"""What boots and what does not."""

from __future__ import annotations

from tests.scenarios.fleet import Fleet


def test_an_embedded_machine_is_not_made_to_boot(embedded: Fleet) -> None:
    """It is this laptop, whose own crontab and services are left alone."""
    for act in ("enable", "disable", "status"):
        found = embedded.json("machines", "boot", act, "base", code=1)
        assert {"base"} == found["errors"].keys()
        assert "does not boot" in found["errors"]["base"]
        assert {} == found["machines"]
