"""Who deploys: each brings `app` to all hosts and has the process restarted if a file changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from benchmarks.deploying.site import USER, Site, SiteError
from benchmarks.deploying.verdicts import ATTACHED, COLD, OURS
from benchmarks.environments import environment

LONGEST = 1800  # seconds for one command
BEGINS = 30.0  # seconds for a standby


class Deployer(Protocol):
    name: str

    def deploy(self) -> float:
        """Brings the hosts up to date; returns the seconds until it said so. Raises SiteError."""

    def clear(self) -> None:
        """The hosts have nothing of the files any more, and no process runs."""

    def close(self) -> None:
        """Ends what was started on this machine."""


def run(argv: list[str], cwd: Path, env: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds that a command took, and its stdout. Raises SiteError with its last words."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SiteError(f"`{' '.join(argv)}` had not ended after {LONGEST} s") from error
    took = time.monotonic() - began
    if done.returncode:
        told = (done.stdout[-1500:] + done.stderr[-1500:]).strip()
        raise SiteError(f"`{' '.join(argv)}` ended with {done.returncode}:\n{told}")
    return took, done.stdout


class Rsync:
    """`rsync` to each host at once, and `ssh` to restart where something was sent.

    `kept`: connections are held open between commands (ControlMaster).
    """

    # $1: ssh and its options; $2: the folder; then the hosts
    SCRIPT = """
ssh=$1 app=$2
shift 2
for host; do
  (
    sent=$(rsync -ai --delete --modify-window=-1 -e "$ssh" "$app/" "$host:rsync/app/") || exit 1
    [ -z "$sent" ] || $ssh "$host" sh rsync/app/restart.sh
  ) &
  jobs="$jobs $!"
done
for job in $jobs; do
  wait "$job" || exit 1
done
"""

    def __init__(self, site: Site, *, kept: bool) -> None:
        self.name = "rsync+ssh kept open" if kept else "rsync+ssh"
        self._site = site
        ssh = ["ssh", "-F", str(site.ssh_config)]
        self._masters: list[list[str]] = []
        if kept:
            ssh += ["-o", f"ControlPath={site.folder}/mux-%h"]
            for host in site.hosts:
                run([*ssh, "-o", "ControlMaster=yes", "-o", "ControlPersist=yes", host, "true"],
                    site.folder)  # fmt: skip
                self._masters.append([*ssh, "-O", "exit", host])
        self._ssh = ssh

    def deploy(self) -> float:
        site = self._site
        argv = ["sh", "-c", self.SCRIPT, "sh", " ".join(self._ssh), str(site.app), *site.hosts]
        return run(argv, site.folder)[0]

    def clear(self) -> None:
        self._site.forget("rsync")
        for i in self._site.lan.robots:  # rsync makes one folder, not two
            self._site.lan.run(i, ["mkdir", f"/home/{USER}/rsync"], user=USER)

    def close(self) -> None:
        for argv in self._masters:
            run(argv, self._site.folder)


class Ansible:
    """`copy` of the folder and `command` where it changed; pipelining, connections kept."""

    name = "Ansible"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bin = environment("ansible-core-2.19.14", ("ansible-core==2.19.14",)) / "bin"
        self._folder = site.folder / "ansible"
        self._folder.mkdir()
        play = {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.copy": {"src": f"{site.app}/", "dest": "ansible/app/"},
                    "register": "copied",
                },
                {
                    "ansible.builtin.command": "sh ansible/app/restart.sh",
                    "when": "copied is changed",
                },
            ],
        }
        (self._folder / "play.yml").write_text(json.dumps([play]))
        hosts = {
            host: {
                "ansible_user": USER,
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": f"-F {site.ssh_config}",
            }
            for host in site.hosts
        }
        (self._folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
        self._env = {
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_FORKS": str(len(hosts)),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._folder / "mux"),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=600s",
            "ANSIBLE_HOME": str(self._folder),
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "temporary"),
            "LC_ALL": "C.UTF-8",
        }

    def deploy(self) -> float:
        argv = [str(self._bin / "ansible-playbook"), "-i", "hosts.json", "play.yml"]
        return run(argv, self._folder, self._env)[0]

    def clear(self) -> None:
        self._site.forget("ansible")

    def close(self) -> None:
        for path in (self._folder / "mux").glob("*"):
            host = "any"  # `-O exit` speaks to the socket alone
            run(["ssh", "-F", "none", "-o", f"ControlPath={path}", "-O", "exit", host],
                self._folder)  # fmt: skip


class Pyinfra:
    """`files.sync` of the folder and `server.shell` where it changed."""

    name = "pyinfra"

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bin = environment("pyinfra-3.10.0", ("pyinfra==3.10.0",)) / "bin"
        self._folder = site.folder / "pyinfra"
        self._folder.mkdir()
        data = {
            "ssh_user": USER,
            "ssh_key": str(site.lan.identity),
            "ssh_known_hosts_file": str(site.lan.known_hosts),
            "ssh_allow_agent": False,
        }
        (self._folder / "inventory.py").write_text(f"hosts = ({site.hosts!r}, {data!r})\n")
        (self._folder / "deploy.py").write_text(
            "from pyinfra.operations import files, server\n"
            f"copied = files.sync(src={str(site.app)!r}, dest='pyinfra/app', delete=True)\n"
            "server.shell(commands=['sh pyinfra/app/restart.sh'], _if=copied.did_change)\n"
        )

    def deploy(self) -> float:
        argv = [str(self._bin / "pyinfra"), "-y", "inventory.py", "deploy.py"]
        return run(argv, self._folder)[0]

    def clear(self) -> None:
        self._site.forget("pyinfra")

    def close(self) -> None:
        pass


class Dora:
    """Ours as a whole command: `dora deploy --detach`, which loads the program first."""

    name = COLD
    prefix = "cold"

    def __init__(self, site: Site, command: list[str], env: dict[str, str]) -> None:
        """`env` keeps it from leaving a standby behind."""
        self._site = site
        self._command = command
        self._env = env
        self._number = 0
        self._runs = False
        site.project.joinpath("machines.yml").write_text(site.lan.inventory_text(user=USER))
        nodes: list[dict[str, Any]] = [
            {
                "id": f"node{i}",
                "path": "app/deployed.py",
                "files": ["app/**"],
                "inputs": {"tick": "dora/timer/millis/60000"},
                "deploy": {"machine": site.lan.name(i)},
            }
            for i in site.lan.robots
        ]
        site.project.joinpath("flow.yml").write_text(json.dumps({"nodes": nodes}))

    @property
    def deployment(self) -> str:
        return f"{self.prefix}{self._number}"

    def dora(self, *arguments: str) -> tuple[float, str]:
        return run([*self._command, *arguments], self._site.project, self._env)

    def deploy(self) -> float:
        return self.dora("deploy", "flow.yml", "--name", self.deployment, "--detach")[0]

    def clear(self) -> None:
        self.stop()
        self._number += 1
        self._runs = True

    def stop(self) -> None:
        """Nothing of ours runs on the hosts then, no supervisor either: whoever deploys next
        would find it there."""
        if self._runs:
            self.dora("stop", self.deployment)
            self._runs = False
            time.sleep(1.0)  # a supervisor without work leaves sooner

    def close(self) -> None:
        self.stop()


class Quick(Dora):
    """The same where another command came before it, as it mostly has: what that one has left
    behind has the program loaded (`dora standby`). Every connection is new."""

    name = OURS
    prefix = "quick"

    def __init__(self, site: Site, command: list[str], env: dict[str, str]) -> None:
        super().__init__(site, command, {**env, "DORA_STANDBY": "1"})

    def clear(self) -> None:
        super().clear()
        self.dora("status")
        deadline = time.monotonic() + BEGINS
        while not any(
            it["ready"]
            for it in json.loads(self.dora("standby", "status", "--json")[1])["standbys"]
        ):
            if time.monotonic() > deadline:
                raise SiteError("no standby came of a command")
            time.sleep(0.1)

    def close(self) -> None:
        super().close()
        self.dora("standby", "stop")


class Attached(Dora):
    """Ours with a coordinator that stays: it sees for itself that a file was saved."""

    name = ATTACHED

    def __init__(self, site: Site, command: list[str], env: dict[str, str]) -> None:
        super().__init__(site, command, env)
        self._number = 1
        self._coordinator: subprocess.Popen[str] | None = None

    @property
    def deployment(self) -> str:
        return "attached"

    def attach(self) -> None:
        """Returns when it waits for what is saved."""
        argv = [*self._command, "coordinator", "flow.yml", "--name", self.deployment]
        self._coordinator = subprocess.Popen(
            [*argv, "--watch-files", "--json"],
            cwd=self._site.project,
            env={**os.environ, **self._env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.deploy()
        time.sleep(2.0)  # until it watches the files; it does not say when that begins

    def deploy(self) -> float:
        """Waits until it tells what became of the save."""
        began = time.monotonic()
        assert self._coordinator is not None
        assert self._coordinator.stdout is not None
        for line in self._coordinator.stdout:
            told = json.loads(line)
            if told.get("outcome") in ("deployed", "unchanged"):
                return time.monotonic() - began
            if "outcome" in told or "error" in told:
                raise SiteError(f"the coordinator says: {line}")
        raise SiteError("the coordinator has ended")

    def detach(self) -> None:
        if self._coordinator is not None:
            self._coordinator.send_signal(signal.SIGINT)
            self._coordinator.wait(60)
            assert self._coordinator.stdout is not None
            self._coordinator.stdout.close()
            self._coordinator = None
            self.dora("stop", self.deployment)

    def close(self) -> None:
        self.detach()
