"""Generations that do not prove themselves, on real OpenSSH hosts: the rollback table.

Each way to fail is tried as a deployment's first generation and as a later one. What costs time is
done side by side, in deployments of different names on the same three robots; a test looks at one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lan.bench import Lan
from tests.lan.rollbacks import (
    BASE,
    CAUSES,
    DRONE,
    NAMES,
    ROOT,
    ROVER,
    UNITS,
    Cause,
    Deployments,
    Outcome,
    Robot,
)
from tests.scenarios.fleet import Fleet, wait_until

pytestmark = pytest.mark.timeout(600)  # the first test waits for the deployments of them all

TURNS = ("first", "later")
BUSY = 4  # deployments at a time
AGAIN = ("cut-later", "lost-first", "lost-later")
TRIAL = ("--confirm-timeout", "16", "--window", "10")  # long enough to be disturbed meanwhile


@pytest.fixture(scope="module")
def deployments(
    shared_lan: Lan, tmp_path_factory: pytest.TempPathFactory, cache: Path
) -> Iterator[Deployments]:
    """All three robots, reached as the user `robot`; afterwards they have nothing deployed."""
    folder = tmp_path_factory.mktemp("rollbacks")
    inventory = folder / "machines.yml"
    text = shared_lan.inventory_text(user="robot")
    for i, name in NAMES.items():
        text = text.replace(f"robot{i}:", f"{name}:")
    inventory.write_text(text)
    fleet = Fleet(shared_lan.home, inventory, cache=cache)
    deployments = Deployments(shared_lan, fleet, folder)
    yield deployments
    for i in NAMES:
        shared_lan.heal(i)
        shared_lan.power_off(i)  # all that runs ends
        for left in ("deployments", "logs", "run", "state"):
            shutil.rmtree(shared_lan.path(i, f"{ROOT}/{left}"))
        shared_lan.power_on(i)


@pytest.fixture(scope="module")
def table(deployments: Deployments) -> dict[str, Outcome]:
    """What became of all that fails without any help, and of one that is to stay as it is."""
    deployments.good("crashes-at-start-later")

    def work(cause: Cause, turn: str) -> Outcome:
        name = f"{cause}-{turn}"
        if turn == "later" and deployments.robot(BASE, name).current is None:
            deployments.good(name)
        return deployments.deploy(deployments.flow(name, "two", cause), *cause.options)

    def leave() -> Outcome:
        flow = deployments.flow("is-left-as-it-is", "two", CAUSES[-1])
        return deployments.deploy(flow, "--no-rollback")

    with ThreadPoolExecutor(BUSY) as pool:
        rows = {f"{it}-{turn}": (it, turn) for it in CAUSES for turn in reversed(TURNS)}
        jobs = {name: pool.submit(work, *row) for name, row in rows.items()}
        jobs["is-left-as-it-is"] = pool.submit(leave)
        return {name: job.result() for name, job in jobs.items()}


@pytest.fixture(scope="module")
def disturbed(deployments: Deployments, table: dict[str, Outcome]) -> dict[str, Outcome]:
    """What became of deployments that would have gone well. First the rover's link is cut, later
    the drone loses its power, while nobody new gets into the rover."""
    lan = deployments.lan
    robots = {"locked-out-later": (BASE, ROVER)}
    with ThreadPoolExecutor(BUSY) as pool:
        for name in ("cut-later", "lost-later", "locked-out-later"):
            pool.submit(deployments.good, name, robots.get(name, tuple(NAMES)))

    def begin(*names: str) -> dict[str, Callable[[], Outcome]]:
        """Deploys all of them, and returns when each robot runs what is new, on trial."""
        joins = {}
        for name in names:
            on = robots.get(name, tuple(NAMES))
            joins[name] = deployments.start(deployments.flow(name, "two", robots=on), *TRIAL)
        for name in names:
            for i in robots.get(name, tuple(NAMES)):
                wait_until(lambda: runs_new(i, name), f"{name} on {NAMES[i]}")  # noqa: B023
        return joins

    def runs_new(i: int, name: str) -> bool:
        found = deployments.robot(i, name)
        return found.on_trial and found.pids.keys() == UNITS[i] and found.said[-1:] == ["two"]

    outcomes = {}
    joins = begin("cut-first", "cut-later")
    lan.cut(ROVER)
    for name, join in joins.items():
        outcomes[name] = join()
    for name in joins:
        wait_until(lambda: not deployments.robot(ROVER, name).on_trial, "the way back")  # noqa: B023
        wait_until(lambda: gone_back(deployments.robot(ROVER, name), name, ROVER), name)  # noqa: B023
        outcomes[name].robots[ROVER] = deployments.robot(ROVER, name)
    lan.heal(ROVER)

    joins = begin("lost-first", "lost-later", "locked-out-later")
    lan.power_off(DRONE)
    listener = next(it.pid for it in lan.processes(ROVER) if "[listener]" in it.command)
    lan.kill(ROVER, listener)
    for name, join in joins.items():
        outcomes[name] = join()
    lan.power_on(DRONE)
    lan.start_sshd(ROVER)
    return outcomes


@pytest.fixture(scope="module")
def completed(deployments: Deployments, disturbed: dict[str, Outcome]) -> dict[str, Outcome]:
    """What became of another deployment where machines were disturbed."""
    joins = {name: deployments.start(deployments.flow(name, "three")) for name in AGAIN}
    return {name: join() for name, join in joins.items()}


def gone_back(robot: Robot, name: str, i: int) -> bool:
    """Whether what ran before runs again: one process of the node, which says so, and nothing else;
    for a first generation no process at all."""
    if name.endswith("-first"):
        return robot.current is None and robot.pids == {}
    once = {unit: len(pids) for unit, pids in robot.pids.items()} == dict.fromkeys(UNITS[i], 1)
    return robot.current == "generations/1.json" and once and robot.said[-1] == "one"


def assert_went_back(outcome: Outcome, name: str, robots: Sequence[int] = tuple(NAMES)) -> None:
    """On the robots, and as the JSON tells it of their machines."""
    later = name.endswith("-later")
    rows = {row["machine"]: row for row in outcome.result["machines"]}
    for i in robots:
        assert gone_back(outcome.robots[i], name, i), outcome.robots[i]
        assert not outcome.robots[i].on_trial
        # what was never confirmed was never what is started after a reboot
        assert ("generations/1.json" if later else None) == outcome.robots[i].booted
        row = rows[NAMES[i]]
        told = [row[key] for key in ("outcome", "generation", "previous", "failed_generation")]
        assert ["rolled_back", 1, 1, 2] if later else ["rolled_back", None, None, 1] == told
        assert {} == row["unrestored"]
        states = {unit: it["state"] for unit, it in row["units"].items()}
        assert (dict.fromkeys(UNITS[i], "running") if later else {}) == states
    if later and DRONE in robots:
        assert outcome.before[DRONE].pids["steady"] == outcome.robots[DRONE].pids["steady"]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("cause", CAUSES, ids=str)
def test_one_node_that_fails_takes_the_whole_fleet_back(
    table: dict[str, Outcome], cause: Cause, turn: str
) -> None:
    """When `deploy` ends, every robot runs what it ran before, or nothing; exit code 5, and the
    reason is on the screen, in the JSON and in the generation that failed, with the last words."""
    name = f"{cause}-{turn}"
    outcome = table[name]
    assert 5 == outcome.code, outcome.progress
    assert "rolled_back" == outcome.result["outcome"]
    assert_went_back(outcome, name)

    rows = {row["machine"]: row for row in outcome.result["machines"]}
    assert {f"rover: on-rover {cause.why}"} == {row["reason"] for row in rows.values()}
    assert {"on-rover": cause.why} == rows["rover"]["unhealthy"]
    assert cause.said == rows["rover"]["last_lines"]["on-rover"][-1]
    assert ({}, {}) == (rows["base"]["unhealthy"], rows["base"]["last_lines"])

    failure = outcome.robots[ROVER].failures[2 if turn == "later" else 1]
    assert f"rover: on-rover {cause.why}" == failure["reason"]
    assert cause.why == failure["units"]["on-rover"]["error"]
    assert cause.said == failure["units"]["on-rover"]["last_lines"][-1]


def test_what_failed_is_left_where_nobody_wants_it_back(
    deployments: Deployments, table: dict[str, Outcome]
) -> None:
    """--no-rollback: exit code 1; the generation stays, confirmed as it is, and all of it runs."""
    outcome = table["is-left-as-it-is"]
    assert (1, "failed") == (outcome.code, outcome.result["outcome"]), outcome.progress
    rows = {row["machine"]: row for row in outcome.result["machines"]}
    assert ["deployed", "failed", "deployed"] == [rows[it]["outcome"] for it in NAMES.values()]
    assert {"on-rover": CAUSES[-1].why} == rows["rover"]["unhealthy"]
    for i, robot in outcome.robots.items():
        assert ("generations/1.json", False) == (robot.current, robot.on_trial)
        assert robot.current == robot.booted
        assert UNITS[i] == robot.pids.keys()
        assert {} == robot.failures


@pytest.mark.parametrize("turn", TURNS)
def test_a_robot_that_is_cut_off_while_it_proves_itself_goes_back(
    disturbed: dict[str, Outcome], turn: str
) -> None:
    """The others are told to; the one that hears nothing does so by itself, seen from inside while
    the link is still cut. Exit code 5 says that one of them is unconfirmed, and until when."""
    name = f"cut-{turn}"
    outcome = disturbed[name]
    assert 5 == outcome.code, outcome.progress
    assert "unconfirmed" == outcome.result["outcome"]
    assert_went_back(outcome, name, (BASE, DRONE))
    rows = {row["machine"]: row for row in outcome.result["machines"]}
    assert "unconfirmed" == rows["rover"]["outcome"]
    assert rows["rover"]["back_at"] > 0

    robot = outcome.robots[ROVER]
    assert gone_back(robot, name, ROVER), robot
    assert ("generations/1.json" if turn == "later" else None) == robot.booted
    failure = robot.failures[2 if turn == "later" else 1]
    assert ("it was not confirmed in time", {}) == (failure["reason"], failure["units"])


@pytest.mark.parametrize("turn", TURNS)
def test_one_of_three_machines_that_loses_its_power_takes_the_others_back(
    disturbed: dict[str, Outcome], turn: str
) -> None:
    """It is unconfirmed: what it would run is decided when it is back."""
    name = f"lost-{turn}"
    outcome = disturbed[name]
    assert 5 == outcome.code, outcome.progress
    assert "unconfirmed" == outcome.result["outcome"]
    assert_went_back(outcome, name, (BASE, ROVER))
    rows = {row["machine"]: row for row in outcome.result["machines"]}
    assert "unconfirmed" == rows["drone"]["outcome"]
    robot = outcome.robots[DRONE]
    assert ({}, True) == (robot.pids, robot.on_trial)
    assert ("generations/1.json" if turn == "later" else None) == robot.booted


def test_a_generation_with_which_nobody_gets_in_any_more_is_not_confirmed(
    disturbed: dict[str, Outcome],
) -> None:
    """The connections that are open would still carry the word; only a new one proves anything."""
    outcome = disturbed["locked-out-later"]
    assert (5, "rolled_back") == (outcome.code, outcome.result["outcome"]), outcome.progress
    assert_went_back(outcome, "locked-out-later", (BASE, ROVER))
    rows = {row["machine"]: row for row in outcome.result["machines"]}
    assert ({}, {}) == (rows["base"]["unhealthy"], rows["rover"]["unhealthy"])
    assert rows["rover"]["error"]
    assert rows["rover"]["error"] in rows["base"]["reason"]


@pytest.mark.parametrize("name", AGAIN)
def test_afterwards_a_deploy_completes(completed: dict[str, Outcome], name: str) -> None:
    """Whatever the robots were left with; a trial that nobody ended is ended then."""
    outcome = completed[name]
    assert (0, "deployed") == (outcome.code, outcome.result["outcome"]), outcome.progress
    for i, robot in outcome.robots.items():
        assert UNITS[i] == robot.pids.keys()
        assert robot.booted == robot.current
        assert "three" == robot.said[-1]
        assert robot.failures.keys() == {2 if name.endswith("-later") else 1}


def test_the_truth_is_told_over_the_network_too(
    deployments: Deployments, disturbed: dict[str, Outcome]
) -> None:
    """`status` and `generations`, after all of that."""
    nodes = deployments.fleet.nodes("is-never-ready-later")
    assert set().union(*UNITS.values()) == nodes.keys()
    # the drone lost its power since, and restarts nothing by itself
    assert {"running"} == {it["state"] for it in nodes.values() if it["machine"] != "drone"}
    newest = deployments.fleet.json("generations", "is-never-ready-later")["revisions"][0]
    assert newest["failed"]
    assert CAUSES[2].why in newest["machines"]["rover"]["failure"]
