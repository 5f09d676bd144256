"""What starts the supervisor at boot: what is written, and that it does; real systemctl and sh."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deploy.supervisor import launch
from deploy.supervisor.autostart import (
    Job,
    cron_line,
    crontab_with,
    crontab_without,
    system_unit,
    user_unit,
)
from deploy.supervisor.autostart_ways import Cron, Impossible, Systemd, run
from deploy.supervisor.autostarter import Autostarter, limits
from deploy.supervisor.client import ask
from deploy.supervisor.detach import start
from deploy.supervisor.layout import Layout
from tests.deploy.supervisor.machine import Machine, alive, until

JOB = Job("/srv/dora", "/srv/dora/start", "robot", {"RTPRIO": (0, 95), "MEMLOCK": (None, None)})
ODD = replace(JOB, script='/srv/a b/100% $HOME "x\\y"/start')


def without_notes(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


@pytest.mark.parametrize("make", [system_unit, user_unit])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path, make: object) -> None:
    """Nor with odd names; `systemd-analyze verify` also looks for the program."""
    assert callable(make)
    for job in (JOB, ODD):
        file = tmp_path / job.service
        file.write_text(make(replace(job, user="root")))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        ours = [line for line in done.stderr.splitlines() if job.service in line]
        assert (0, []) == (done.returncode, ours), done.stderr


def test_a_service_has_the_limits_of_who_asked() -> None:
    """What runs with real-time priority after a login does so after a reboot."""
    lines = system_unit(JOB).splitlines()
    assert {"LimitRTPRIO=0:95", "LimitMEMLOCK=infinity:infinity", "User=robot"} <= set(lines)
    assert {"RTPRIO", "MEMLOCK", "NOFILE", "NICE"} == limits().keys()


def test_a_crontab_gets_one_line_and_keeps_the_others() -> None:
    """Twice is once, an old line of ours is replaced, and all is as before when it goes."""
    mine = "MAILTO=ann\n@reboot /home/ann/backup\n"
    once = crontab_with(mine, JOB)
    assert f"{mine}{cron_line(JOB)}\n" == once
    assert once == crontab_with(once, JOB)
    other = cron_line(JOB).replace("# dora", "# older dora") + "\n"
    assert once == crontab_with(mine + other, JOB)
    assert mine == crontab_without(once, JOB)
    elsewhere = replace(JOB, script="/srv/other/start")
    assert once == crontab_without(crontab_with(once, elsewhere), elsewhere)


def test_cron_and_the_shell_read_an_odd_path_as_it_is() -> None:
    """`%` ends a command of cron unless a backslash is before it; the rest is the shell's."""
    command = cron_line(ODD).partition(" ")[2].replace("\\%", "%")
    assert ["/bin/sh", ODD.script, "boot"] == shlex.split(command, comments=True)


@dataclass
class Fixed:
    """A way of which the test says whether it is possible."""

    name: str
    why_not: str = ""
    there: bool = False
    calls: list[str] = field(default_factory=list)

    def enabled(self) -> bool:
        return self.there

    def check(self) -> None:
        if self.why_not:
            raise Impossible(self.why_not)

    def enable(self) -> bool:
        self.check()
        changed, self.there = not self.there, True
        return changed

    def start(self) -> bool:
        return False

    def disable(self) -> bool:
        changed, self.there = self.there, False
        return changed


def test_the_first_possible_way_is_taken_and_the_others_left(tmp_path: Path) -> None:
    """Why a better one was not is told; when it becomes possible, the lesser one goes."""
    layout = Layout(str(tmp_path))
    best, second, third = Fixed("a", "no root"), Fixed("b"), Fixed("c", there=True)
    starter = Autostarter(layout, "script\n", [best, second, third])
    found = starter.enable()
    assert ("b", {"a": "no root"}, True) == (found["way"], found["refused"], found["changed"])
    assert [False, True, False] == [it.there for it in (best, second, third)]
    assert "script\n" == layout.launcher.read_text()
    assert not starter.enable()["changed"]

    best.why_not = ""
    assert {"way": "a", "changed": True}.items() <= starter.enable().items()
    assert [True, False, False] == [it.there for it in (best, second, third)]
    assert "a" == starter.status()["way"]

    assert {"way": None, "changed": True}.items() <= starter.disable().items()
    assert not layout.launcher.exists()
    assert not starter.disable()["changed"]


def test_where_no_way_is_possible_each_says_why(tmp_path: Path) -> None:
    """The script is there all the same, for who knows another way."""
    ways = [Fixed("a", "no root"), Fixed("b", "no cron")]
    found = Autostarter(Layout(str(tmp_path)), "script\n", ways).enable()
    assert (None, {"a": "no root", "b": "no cron"}) == (found["way"], found["refused"])
    assert f"/bin/sh {tmp_path}/start boot" == found["command"]
    assert "script\n" == (tmp_path / "start").read_text()


def test_a_real_systemctl_enables_the_unit_and_disables_it(tmp_path: Path) -> None:
    """In a folder of its own, since no systemd runs here; twice changes nothing."""
    root = tmp_path / "root"
    (root / "run/systemd/system").mkdir(parents=True)
    (root / "etc/systemd/system").mkdir(parents=True)
    called: list[list[str]] = []

    def noting(argv: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        called.append(list(argv))
        return run(argv, stdin)

    systemctl = ("systemctl", f"--root={root}")
    way = Systemd(JOB, root, noting, tmp_path, uid=0, systemctl=systemctl)
    assert way.enable()
    assert way.enabled()
    unit = root / "etc/systemd/system" / JOB.service
    wanted = unit.parent / "multi-user.target.wants" / JOB.service
    assert system_unit(JOB) == unit.read_text()
    assert str(unit).removeprefix(str(root)) == os.readlink(wanted)

    before = len(called)
    assert not way.enable()
    assert before == len(called)

    assert not way.start()  # there is no systemd that could
    assert [*systemctl, "start", JOB.service] == called[-1]

    assert way.disable()
    assert [] == [path for path in (unit, wanted) if os.path.lexists(path)]
    assert not way.disable()


def test_without_systemd_there_is_no_unit(tmp_path: Path) -> None:
    """It is not even tried."""

    def refuse(argv: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        raise AssertionError(argv)

    with pytest.raises(Impossible, match="not booted by systemd"):
        Systemd(JOB, tmp_path, refuse, tmp_path, uid=0).enable()


@pytest.mark.parametrize("said", ["", "cannot open the spool: Permission denied", "timed out"])
def test_a_crontab_that_cannot_be_read_is_not_replaced(tmp_path: Path, said: str) -> None:
    """Its user's own lines would be lost; only where there is none, one is begun."""
    assert shutil.which("crontab"), "apt-get install cron"
    pid = tmp_path / "run/crond.pid"
    pid.parent.mkdir()
    pid.touch()
    written: list[str] = []

    def crontab(argv: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        if list(argv) == ["crontab", "-l"]:
            return subprocess.CompletedProcess(list(argv), 1, "", said)
        written.append(stdin)
        return subprocess.CompletedProcess(list(argv), 0, "", "")

    cron = Cron(JOB, tmp_path, crontab)
    for act in (cron.enable, cron.disable):
        with pytest.raises(Impossible, match=said or "exit status 1"):
            act()
    assert (False, []) == (cron.enabled(), written)
    said = "no crontab for robot"
    assert cron.enable()
    assert [crontab_with("", JOB)] == written


def test_an_upgrade_replaces_what_runs_at_boot(machine: Machine) -> None:
    """Only where somebody asked for it; the path stays, and what it starts is the agent that
    took over."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    assert not machine.layout.launcher.exists()
    machine.kill()
    machine.layout.launcher.write_text("exec an agent that has gone\n")
    pid = machine.start()
    text = until(lambda: machine.layout.launcher.read_text(), "the script")
    until(lambda: "gone" not in machine.layout.launcher.read_text(), "the new script")
    text = machine.layout.launcher.read_text()
    agent = machine.ask("hello")["agent"]
    assert str(machine.layout.agent(agent)) in text
    assert pid == machine.start()


@pytest.mark.parametrize("way", ["cron", "systemd"])
def test_what_is_written_starts_what_was_confirmed(machine: Machine, way: str) -> None:
    """The very command of the table and of the unit, with the little environment that they give;
    the machine had lost power while another generation was on trial."""
    machine.start()
    machine.activate(machine.sleeper("a", env={"VERSION": "1"}))
    first = machine.wait("a", "running")["pid"]
    path = _env(first, "PATH")
    machine.activate(machine.sleeper("a", env={"VERSION": "2"}), confirm_timeout=600)
    until(lambda: machine.states()["a"]["pid"] not in (None, first), "the trial")
    agent = machine.ask("hello")["agent"]
    environment = {"PATH": path, "HOME": str(machine.folder), "LANG": "C.UTF-8", "USER": "root"}
    text = launch.script(machine.layout, agent, sys.executable, environment)
    assert launch.write(machine.layout, text)
    lose_power(machine)

    script = str(machine.layout.launcher)
    job = Job(str(machine.layout.root), script, "root", {})
    if way == "cron":
        command = ["/bin/sh", "-c", cron_line(job).partition(" ")[2]]
    else:
        unit = system_unit(job).splitlines()
        (line,) = (it.partition("=")[2] for it in unit if it.startswith("ExecStart="))
        command = shlex.split(line)
    started = subprocess.Popen(command, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    try:
        if way == "cron":
            assert 0 == started.wait(60)
        until(lambda: ask(machine.layout.socket, "hello"), "the supervisor")
        pid = until(lambda: machine.wait("a", "running")["pid"], "the unit")
        assert "1" == _env(pid, "VERSION")
        assert path == _env(pid, "PATH")
        assert 1 == machine.ask("deployments")["deployments"]["flow"]["current"]
        if way == "systemd":  # the one that runs, not one that it started
            assert started.pid == machine.ask("hello")["pid"]
    finally:
        started.kill()
        started.wait()


def test_what_systemd_would_start_is_not_started_beside_it(machine: Machine) -> None:
    """Where a service is asked for a supervisor, its own is the one; where nothing comes of that,
    one is started all the same."""
    agent = json.loads(machine.call("version").stdout)["agent"]
    begun: list[subprocess.Popen[bytes]] = []

    def service() -> bool:
        argv = launch.agent_command(machine.layout, agent, sys.executable)
        begun.append(subprocess.Popen([*argv, "supervise"], stderr=subprocess.DEVNULL))
        return True

    try:
        hello = start(machine.layout, agent, service)
        assert [hello["pid"]] == [it.pid for it in begun]
        assert hello["pid"] == start(machine.layout, agent, service)["pid"]
        assert 1 == len(begun)
    finally:
        for process in begun:
            process.kill()
            process.wait()
    assert start(machine.layout, agent, lambda: False)["pid"] != hello["pid"]


def test_a_lost_note_of_a_trial_does_not_keep_the_trial(machine: Machine) -> None:
    """After a reboot the confirmed generation begins, though another one is current; a supervisor
    that died in between had left it alone."""
    machine.start()
    machine.activate(machine.sleeper("a", env={"VERSION": "1"}))
    machine.wait("a", "running")
    machine.activate(machine.sleeper("a", env={"VERSION": "2"}), confirm_timeout=600)
    until(lambda: _env(machine.wait("a", "running")["pid"], "VERSION") == "2", "the trial")
    machine.layout.pending("flow").write_text("{")
    machine.kill()
    machine.start()
    assert "2" == _env(machine.wait("a", "running")["pid"], "VERSION")

    lose_power(machine)
    machine.start()
    assert "1" == _env(machine.wait("a", "running")["pid"], "VERSION")
    assert 1 == machine.ask("deployments")["deployments"]["flow"]["current"]
    assert not machine.layout.pending("flow").exists()


def test_a_paused_machine_starts_what_it_ran(machine: Machine) -> None:
    """A pause keeps it as it is; off is not what it was."""
    machine.start()
    machine.activate(machine.sleeper("a"))
    machine.wait("a", "running")
    assert machine.ask("pause", owner="ada@laptop", reason="measuring")["ok"]
    lose_power(machine)
    machine.start()
    machine.wait("a", "running")
    assert "measuring" == machine.ask("holds")["holds"][0]["reason"]


def lose_power(machine: Machine) -> None:
    """All processes at once; what the supervisor noted is of another boot afterwards."""
    pids = [machine.ask("hello")["pid"], *(it["pid"] for it in machine.states().values())]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        until(lambda: not alive(pid), "the end of all")  # noqa: B023
    journal, pending = machine.layout.journal, machine.layout.pending("flow")
    for file in (journal, pending):
        if file.exists():
            now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            file.write_text(file.read_text().replace(now, "another"))


def _env(pid: int, name: str) -> str:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(it.decode().partition("=")[::2] for it in entries)[name]
