"""A plan compared with the present: did machines move on, do the files still give the same? Pure.

What is made anew until it has been deployed once is not compared: certificates, and the names of
secrets. Laptop only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping

from deploy.differences import packages
from deploy.facts import Installed
from deploy.profile import Profile
from deploy.store.outline import outline
from deploy.unit import Unit, canonical
from dora.coordinator.planfile import MachineState, SavedPlan, Wanted
from dora.coordinator.prepare import Prepared

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def saved(
    prepared: Prepared,
    flow: str,
    inventory: str,
    installed: Mapping[str, Installed | None],
) -> SavedPlan:
    """`installed` are all machines that answered, with what they said of the deployment."""
    machines = {
        machine: MachineState(
            None if found is None else found.current,
            None if found is None else found.hash,
            _units(prepared.profiles.get(machine)),
            _documents(prepared.profiles.get(machine)),
        )
        for machine, found in installed.items()
    }
    manifests = {it.name: it for each in prepared.closures.manifests.values() for it in each}
    outlines = {name: outline(it) for name, it in manifests.items()}
    files = {name: packages(it) or it.files or {} for name, it in outlines.items()}
    return SavedPlan(
        prepared.name, os.path.abspath(flow), os.path.abspath(inventory), machines, files
    )


def moved_on(plan: SavedPlan, installed: Mapping[str, Installed | None]) -> list[str]:
    """Which machines do not run any more what they ran when the plan was made."""
    found = []
    for machine, then in plan.machines.items():
        now = installed.get(machine)
        current = (None, None) if now is None else (now.current, now.hash)
        if current != (then.generation, then.hash):
            by = f" (of {now.creator})" if now is not None and now.current is not None else ""
            what, planned = (_generation(number) for number in (current[0], then.generation))
            found.append(f"{machine} runs {what}{by}, the plan was made for {planned}")
    return found


def unlike(plan: SavedPlan, now: SavedPlan) -> list[str]:
    """What is not as it was: what would be deployed from the same files now is `now`."""
    found: dict[str, None] = {}
    for machine in sorted(plan.machines.keys() | now.machines.keys()):
        then, today = (it.machines.get(machine, MachineState(None, None)) for it in (plan, now))
        reasons = list(_unlike(machine, then, today, plan.files, now.files))
        if not reasons and then.documents != today.documents:
            reasons = [f"{os.path.basename(plan.flow)} changed"]
        found.update(dict.fromkeys(reasons))
    return list(found)


def _unlike(
    machine: str,
    then: MachineState,
    now: MachineState,
    before: Mapping[str, Mapping[str, str]],
    after: Mapping[str, Mapping[str, str]],
) -> list[str]:
    found = []
    for unit in sorted(then.wanted.keys() | now.wanted.keys()):
        one, other = then.wanted.get(unit), now.wanted.get(unit)
        if one is None or other is None:
            verb = "is to run" if one is None else "is not to run any more"
            found.append(f"{unit} {verb} on {machine}")
            continue
        gone, come = (sorted(set(a.trees) - set(b.trees)) for a, b in ((one, other), (other, one)))
        for tree in come:
            label = tree.split("-", 1)[1]
            old = next((it for it in gone if it.split("-", 1)[1] == label), "")
            found += _files(label, before.get(old), after.get(tree))
        if not gone and not come and one.fingerprint != other.fingerprint:
            found.append(f"settings of {unit} changed")
    return found


def _files(
    label: str, before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> list[str]:
    if not before or not after:
        return [f"{label} changed"]
    paths = sorted(before.keys() | after.keys())
    found = [f"{label}: {path} changed" for path in paths if before.get(path) != after.get(path)]
    return found or [f"{label} changed"]


def _generation(number: int | None) -> str:
    return "nothing" if number is None else f"generation {number}"


def _units(profile: Profile | None) -> dict[str, Wanted]:
    if profile is None:
        return {}
    return {unit.name: Wanted(_fingerprint(unit), unit.closure) for unit in profile.units}


def _fingerprint(unit: Unit) -> str:
    data = unit.to_json()
    for secret in data.get("secrets", ()):
        secret["reference"] = ""
    return _hash(canonical(data))


def _documents(profile: Profile | None) -> str:
    return "" if profile is None else _hash(canonical(dict(profile.documents)))


def _hash(text: str) -> str:
    return hashlib.sha256(CERTIFICATE.sub("certificate", text).encode()).hexdigest()
