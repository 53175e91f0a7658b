"""``middlewared serve``: settings from the flags, then the kernel."""

import signal
import sys
from pathlib import Path

import click

__all__ = ["serve"]


@click.command(short_help="Run the server until Ctrl-C.")
@click.option("--data-dir", metavar="DIR", help="Where database, logs and socket are.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0: any.")
@click.option("--unix", metavar="PATH", help="Move the unix socket.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file (TOML).",
)
@click.option("--tls-certificate", metavar="FILE", help="Certificate and chain (PEM).")
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate (PEM).")
@click.option("--plugins-dir", metavar="DIR", help="Folder with further plugins.")
@click.option(
    "--insecure", is_flag=True, default=None, help="Allow a public address without TLS."
)
@click.option(
    "--behind-proxy", is_flag=True, default=None, help="A proxy in front speaks TLS."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What to log.",
)
def serve(config: Path | None, **flags: str | bool | None) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    Settings come from flags, MIDDLEWARED_* variables and the settings file, in this
    order. Stopping gives running jobs some time to end; a second Ctrl-C gives none.
    """
    # Until the server takes the signal over, Ctrl-C ends the process at once: raised as
    # an exception between imports it may be swallowed.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from middlewared.app import run  # noqa: PLC0415 - lazy
    from middlewared.cli.exits import Exit  # noqa: PLC0415 - lazy
    from middlewared.errors import MiddlewareError  # noqa: PLC0415 - lazy
    from middlewared.settings import load_settings  # noqa: PLC0415 - lazy

    try:
        settings = load_settings(
            config=config, overrides={k: v for k, v in flags.items() if v is not None}
        )
        code = run(settings)
    except MiddlewareError as error:
        click.echo(f"middlewared: {error}", err=True)
        code = Exit.USAGE
    sys.exit(int(code or 0))
