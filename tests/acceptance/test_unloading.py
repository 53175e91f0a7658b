"""A plugin that hangs when the server stops: it stops all the same."""

import time
from pathlib import Path

import anyio
import pytest
from jobs_wire import open_wire
from server_process import CONFIG, STOP_SECONDS, ServerProcess

PLUGIN = '''
"""Does not end."""
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from middlewared import Context, Plugin

plugin = Plugin("hangs", requires=("jobs",))


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Serve, and then hang."""
    yield
    with anyio.CancelScope(shield=True):
        {hang}
'''


@pytest.mark.parametrize("hang", ["await anyio.sleep(600)", "time.sleep(600)"])
def test_a_plugin_that_does_not_end(tmp_path: Path, hang: str) -> None:
    """The process ends without it, says which, and nothing is lost."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "middlewared_hangs.py").write_text(PLUGIN.format(hang=hang))

    async def run_one() -> int:
        async with open_wire(server.socket_path, watch=True) as wire:
            return int((await wire.run("demo.sleep", 0))["id"])

    async def look(number: int) -> str:
        async with open_wire(server.socket_path) as wire:
            return str((await wire.call("job.get", number))["state"])

    with ServerProcess(
        tmp_path / "data",
        config=f"unload_grace = 0.5\n{CONFIG}",
        arguments=("--plugins-dir", str(plugins)),
    ) as server:
        number = anyio.run(run_one)
        began = time.monotonic()
        assert server.stop() == 1
        assert time.monotonic() - began < STOP_SECONDS / 2
        assert any("plugin 'hangs' did not end in 0.5 s" in x for x in server.output)
        server.start()
        assert anyio.run(look, number) == "SUCCESS"
