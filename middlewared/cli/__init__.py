"""The ``middlewared`` program. Commands are loaded when they are used."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the program with the arguments of the process; never returns."""
    import click  # noqa: PLC0415 - `import middlewared.cli` stays cheap

    from middlewared.cli.exits import Exit  # noqa: PLC0415
    from middlewared.cli.group import program  # noqa: PLC0415

    try:
        code = program.main(prog_name="middlewared", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        code = Exit.INTERRUPTED
    sys.exit(int(code or 0))
