"""Finding and reading the files that commands are about, and the options that name them. Laptop."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.batches import Serial
from deploy.errors import InventoryError
from deploy.inventory import Inventory, Machine, load, select
from deploy.profile import NAME
from deploy.trial import WINDOW, proving_time
from dora.cli.output import Output
from dora.coordinator import planfile
from dora.errors import DataflowError, DoraError

if TYPE_CHECKING:
    from dora.dataflow.model import Dataflow

Option = Callable[[Callable[..., Any]], Callable[..., Any]]

flow_argument = click.argument("flow", type=click.Path(exists=True, dir_okay=False))
inventory_option = click.option(
    "--inventory",
    "-i",
    type=click.Path(exists=True, dir_okay=False),
    help="The machines; else $DORA_INVENTORY, else machines.yml beside the flow file or here.",
)
limit_option = click.option(
    "--limit", "-l", metavar="PATTERN", help="Only these machines: names, globs, @tags, !without."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Pure JSON on stdout.")
verbose_option = click.option("--verbose", "-v", is_flag=True, help="Say more on stderr.")
accept_new_option = click.option(
    "--accept-new", is_flag=True, help="Trust and remember the keys of hosts never seen before."
)

confirm_timeout_option = click.option(
    "--confirm-timeout",
    type=click.FloatRange(min=2),
    metavar="SECONDS",
    is_eager=True,  # --window is checked against it
    help="How long a machine waits for our word before it goes back by itself "
    "[default: the longest start-up time, and 30 s].",
)


def _checked_window(ctx: click.Context, param: click.Parameter, value: float) -> float:
    timeout = ctx.params.get("confirm_timeout")
    if timeout is not None and value >= proving_time(timeout):
        raise click.BadParameter(
            f"with --confirm-timeout {timeout:g} nodes have {proving_time(timeout):g} s to start "
            f"and to stay up for {value:g} s; give more time, or a shorter window"
        )
    return value


window_option = click.option(
    "--window",
    type=click.FloatRange(min=0),
    default=WINDOW,
    show_default=True,
    metavar="SECONDS",
    callback=_checked_window,
    help="How long all nodes have to stay up before what is new is trusted.",
)
no_rollback_option = click.option(
    "--no-rollback", is_flag=True, help="Leave an unhealthy deployment as it is."
)


wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for those who hold updates up, once everything is copied.",
)
ignore_holds_option = click.option(
    "--ignore-holds", is_flag=True, help="Switch although somebody holds updates up."
)


class SerialType(click.ParamType[Serial]):
    """`3` or `25%`."""

    name = "serial"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Serial:
        try:
            return value if isinstance(value, Serial) else Serial.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


serial_option = click.option(
    "--serial",
    type=SerialType(),
    metavar="N|N%",
    help="Switch so many machines at a time; a batch that fails stops the rest.",
)


def plain_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not NAME.match(value):
        raise click.BadParameter(f"{value!r} is not a plain name: letters, digits, `_`, `.`, `-`")
    return value


name_option = click.option(
    "--name", callback=plain_name, help="The deployment's name; else made from the flow file's."
)


def find_inventory(given: str | None, flow: str | None = None) -> Inventory:
    """Raises InventoryError for a bad file, DoraError when there is none."""
    plan = planfile.read(Path(flow)) if flow is not None and given is None else None
    if plan is not None:
        return load(plan.inventory)
    named = given or os.environ.get("DORA_INVENTORY")
    if named:
        return load(named)  # there or not: the machines of another file would be worse than none
    for folder in (*([Path(flow).parent] if flow is not None else []), Path()):
        if (folder / "machines.yml").exists():
            return load(folder / "machines.yml")
    raise DoraError(
        "no inventory: neither --inventory, nor $DORA_INVENTORY, nor a machines.yml "
        "beside the flow file or here",
        hint="to try it on this laptop: echo 'machines: {here: {host: embedded}}' > machines.yml",
    )


def chosen(inventory: Inventory, limit: str | None, option: str = "--limit") -> tuple[Machine, ...]:
    """The machines that `--limit` selects; all without it."""
    if not limit:
        return tuple(inventory.machines.values())
    try:
        return select(inventory, limit)
    except InventoryError as error:  # what is wrong is on the command line, not in the file
        text = "; ".join(
            f"{it.message} ({it.hint})" if it.hint else it.message for it in error.issues
        )
        raise click.UsageError(f"{option}: {text}") from error


def read_flow(flow: str, out: Output, *, runnable: bool = True) -> Dataflow:
    """The checked dataflow; its warnings go to stderr. Raises DataflowError; with `runnable` also
    for what cannot run, such as scripts that are not there."""
    # Not with this module: machines can be called while that is loaded.
    from rich.markup import escape

    from dora.dataflow.files import check_files
    from dora.dataflow.load import load as load_dataflow
    from dora.dataflow.unsupported import unsupported

    loaded = load_dataflow(flow)
    for warning in loaded.warnings:
        out.say(f"[yellow]warning:[/yellow] {escape(str(warning))}")
    if runnable and (issues := [*unsupported(loaded.dataflow), *check_files(loaded.dataflow)]):
        raise DataflowError(issues)
    return loaded.dataflow
