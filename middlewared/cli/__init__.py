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
    except BrokenPipeError:
        # Who read our output has read enough (`... | head`): that is no error, but
        # the interpreter would complain when it flushes at exit.
        sys.stdout = None
        code = Exit.SUCCESS
    sys.exit(int(code or 0))
