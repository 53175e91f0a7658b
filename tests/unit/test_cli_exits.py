"""Exit codes."""

import pytest

from middlewared import errors
from middlewared.cli.exits import Exit, exit_code
from middlewared.client import (
    CannotConnect,
    ConnectionLost,
    InvalidAddress,
    JobAborted,
    JobFailed,
    LoginFailed,
    NotText,
)

ITEM = {"id": 1, "state": "FAILED"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobFailed(ITEM), Exit.FAILED),
        (JobAborted(ITEM), Exit.ABORTED),
        (errors.CallError("x"), Exit.FAILED),
        (LoginFailed("AUTH_ERR"), Exit.FAILED),
        (CannotConnect("x"), Exit.CONNECTION),
        (ConnectionLost("x"), Exit.CONNECTION),
        (InvalidAddress("x"), Exit.USAGE),
        (NotText("x"), Exit.USAGE),
        (errors.SettingsError("x"), Exit.USAGE),
        (errors.StartError("x"), Exit.USAGE),
        (errors.StoreError("x"), Exit.USAGE),
        (errors.PluginError("x"), Exit.USAGE),
    ],
)
def test_code(error: Exception, code: Exit) -> None:
    """Each kind of error has its exit code."""
    assert exit_code(error) is code
