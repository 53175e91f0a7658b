"""Exit codes, and which error ends a command with which."""

from enum import IntEnum

__all__ = ["Exit", "exit_code"]


class Exit(IntEnum):
    """What a command tells the shell; the table in docs/terminal.md."""

    #: It worked; a job that was waited for ended SUCCESS.
    SUCCESS = 0
    #: The server refused, or the job ended FAILED.
    FAILED = 1
    #: Wrong usage, unusable settings, or the server could not start.
    USAGE = 2
    #: No connection, or it was lost.
    CONNECTION = 3
    #: The job ended ABORTED.
    ABORTED = 4
    #: Ctrl-C.
    INTERRUPTED = 130


def exit_code(error: Exception) -> Exit:
    """Say with which code an error ends the program."""
    # Lazy: every command needs the codes, and few the errors of the client.
    from middlewared import errors as kernel  # noqa: PLC0415
    from middlewared.client import errors as client  # noqa: PLC0415

    match error:
        case client.JobAborted():
            return Exit.ABORTED
        case client.CannotConnect() | client.ConnectionLost():
            return Exit.CONNECTION
        case (
            client.InvalidAddress()
            | client.NotText()
            | kernel.SettingsError()
            | kernel.StartError()
            | kernel.StoreError()
            | kernel.PluginError()
        ):
            return Exit.USAGE
        case _:
            return Exit.FAILED
