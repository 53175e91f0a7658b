"""``middlewared drain`` and ``middlewared undrain``."""

from typing import TYPE_CHECKING, Any

import click

from middlewared.cli.output import print_json
from middlewared.cli.target import Target, connection_options

if TYPE_CHECKING:
    from middlewared.client import Client

__all__ = ["drain", "undrain"]


@click.command(short_help="Accept no more jobs; let those that run end.")
@click.option("--wait", is_flag=True, help="Until nothing runs.")
@click.option("--exit", "stop", is_flag=True, help="Stop the server then.")
@connection_options()
@click.pass_obj
def drain(target: Target, *, wait: bool, stop: bool) -> None:
    """Accept and start no more jobs, and let those that run go on to their end.

    Other calls are answered as before. Jobs that wait stay waiting; with --exit they
    run after the next start. The command undrain takes it back.
    """

    async def body(client: "Client") -> None:
        options = {"wait": wait, "exit": stop}
        _show(target, await client.call("job.drain", options))

    target.run(body)


@click.command(short_help="Accept jobs again.")
@connection_options()
@click.pass_obj
def undrain(target: Target) -> None:
    """Accept jobs again after drain, and start those that waited."""

    async def body(client: "Client") -> None:
        _show(target, await client.call("job.undrain"))

    target.run(body)


def _show(target: Target, state: Any) -> None:
    if target.as_json:
        print_json(state)
        return
    words = "drained" if state["draining"] else "accepts jobs"
    click.echo(f"{words}: {state['running']} running, {state['waiting']} waiting")
