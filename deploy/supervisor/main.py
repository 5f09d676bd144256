"""The agent's verbs, as the laptop calls them over SSH. Machine only; Python >= 3.8.

    probe [D]    one JSON line of facts, and what there is of the deployment D
    work [D [start]]  the same, with `start` then what that says; then the store's verb `session`,
                 in the same process
    start        makes sure that a supervisor of this agent runs; its `hello` as one JSON line
    boot         the same when the machine boots: silent, but for a failure on stderr
    autostart A  enable | disable | status: whether the machine starts it at boot; one JSON line
    bridge       stdin and stdout joined to the supervisor's socket
    store ...    the store's own verbs (deploy.store.serve)
    supervise    is the supervisor (what `start` runs, detached)
    version      one JSON line: that this agent runs here

`probe`, `work`, `start` and `autostart` that fail say `{"ok": false, "error": ...}` and end with
status 1.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any, Dict, List

from deploy.supervisor.layout import Layout, UnsafeFolder


def main(agent: str, root: str, verb: str, args: List[str]) -> int:
    """Returns the exit status."""
    layout = Layout(root)
    if verb == "version":
        return _say({"ok": True, "agent": agent, "python": sys.version.split()[0]})
    if verb in ("probe", "work", "start", "bridge", "autostart"):
        try:
            status = _serve(layout, agent, verb, args)
        except (UnsafeFolder, OSError) as error:
            return _say({"ok": False, "error": str(error)})
        if verb != "work" or status != 0:
            return status
        args = ["session"]
    if verb == "boot":
        return _boot(layout, agent)
    if verb in ("store", "work"):
        from deploy.store.serve import main as serve

        return serve(str(layout.root), args) or 0
    if verb == "supervise":
        return _supervise(layout, agent, args)
    return _say({"ok": False, "error": f"this agent knows no verb {verb!r}"})


def _supervise(layout: Layout, agent: str, args: List[str]) -> int:
    from deploy.supervisor.daemon import Inherited, run

    # Whoever started us may have ignored them (nohup does, and shells for what is in the
    # background); units are to begin with no signal ignored.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    return run(layout, agent, Inherited.from_text(args[0]) if args else None)


def _serve(layout: Layout, agent: str, verb: str, args: List[str]) -> int:
    if verb == "bridge":
        from deploy.supervisor.bridge import bridge

        try:
            return bridge(layout.socket)
        except OSError as error:
            sys.stderr.write(f"no supervisor listens on {layout.socket}: {error}\n")
            return 1
    if verb in ("probe", "work"):
        from deploy.supervisor.probe import facts

        status = _say(facts(layout, args[0] if args else None))
        if status == 0 and args[1:] == ["start"]:
            _start(layout, agent)  # the store is there without a supervisor, too
        return status
    if verb == "autostart":
        return _autostart(layout, agent, args)
    return _start(layout, agent)


def _start(layout: Layout, agent: str) -> int:
    from deploy.supervisor.detach import StartFailed, start

    try:
        hello = start(
            layout,
            agent,
            lambda: _service(layout, agent),
            lambda: _supervise(layout, agent, []),
        )
        return _say({**hello, "ok": True})
    except (StartFailed, UnsafeFolder, OSError) as error:
        return _say({"ok": False, "error": str(error)})


def _autostart(layout: Layout, agent: str, args: List[str]) -> int:
    from deploy.supervisor.autostarter import on_this_machine

    starter = on_this_machine(layout, agent, sys.executable)
    acts = {"enable": starter.enable, "disable": starter.disable, "status": starter.status}
    if len(args) != 1 or args[0] not in acts:
        return _say({"ok": False, "error": f"autostart knows {', '.join(acts)}, not {args}"})
    return _say({"ok": True, **acts[args[0]]()})


def _service(layout: Layout, agent: str) -> bool:
    """Whether what starts a supervisor at boot is starting one now."""
    if not layout.launcher.exists():
        return False
    from deploy.supervisor.autostarter import on_this_machine

    return on_this_machine(layout, agent, sys.executable).start()


def _boot(layout: Layout, agent: str) -> int:
    from deploy.supervisor.detach import StartFailed, start

    try:
        start(layout, agent)
    except (StartFailed, UnsafeFolder, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _say(data: Dict[str, Any]) -> int:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()
    return 0 if data.get("ok", True) else 1
