"""A running server whose demo jobs may touch one folder of the test."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from jobs_wire import Wire, open_wire

from middlewared.testing import running_server


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """Make the folder that demo jobs may touch."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Name the server's data directory."""
    return tmp_path / "data"


@pytest.fixture
async def admin(allowed: Path, data_dir: Path) -> AsyncIterator[Wire]:
    """Connect a full admin that watches jobs."""
    tables = {"demo": {"allowed_paths": [str(allowed)]}}
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            running_server(data_dir=data_dir, tables=tables, interrupt_grace=0.05)
        )
        yield await stack.enter_async_context(open_wire(server.socket_path, watch=True))


@pytest.fixture
def files(allowed: Path) -> Callable[..., Path]:
    """Write files below the allowed folder, by their names and contents."""

    def write(**contents: bytes) -> Path:
        folder = allowed / "tree"
        for name, content in contents.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    return write
