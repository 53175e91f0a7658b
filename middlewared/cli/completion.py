"""``middlewared completion``: what the shell needs to complete our commands."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: eval "$(middlewared completion bash)"
    zsh:  eval "$(middlewared completion zsh)"
    fish: middlewared completion fish | source
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    script = kind(ctx.find_root().command, {}, "middlewared", "_MIDDLEWARED_COMPLETE")
    click.echo(script.source())
