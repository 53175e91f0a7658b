"""``middlewared doctor``: is everything in order, and what to do if not."""

import sys
from pathlib import Path

import click

from middlewared.cli.exits import Exit
from middlewared.cli.output import print_json
from middlewared.cli.target import Target, json_option

__all__ = ["doctor"]


@click.command(short_help="Look database, files and settings over.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data directory.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The settings file that the server is given.",
)
@click.option("--full", is_flag=True, help="Every row of the database; slow.")
@json_option
@click.pass_obj
def doctor(
    target: Target, data_dir: Path | None, config: Path | None, *, full: bool
) -> None:
    """Look database, files and settings over, and say what to do.

    Nothing is changed, and the server may run. The exit code is 1 when there is a
    problem.
    """
    from msgspec import to_builtins  # noqa: PLC0415 - lazy

    from middlewared.doctor import examine  # noqa: PLC0415 - lazy

    path = (data_dir or target.data_path()).expanduser().absolute()
    found = examine(path, config, full=full)
    if target.as_json:
        print_json(to_builtins(found))
    else:
        for finding in found:
            click.echo(f"{finding.level:8} {finding.subject:10} {finding.text}")
            if finding.advice:
                click.echo(f"{'':19} -> {finding.advice}")
    bad = any(finding.level == "problem" for finding in found)
    sys.exit(Exit.FAILED if bad else Exit.SUCCESS)
