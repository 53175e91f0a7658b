"""The test that the plugin guide shows."""

# -- start test --
from pathlib import Path

import pytest
from middlewared_notes import plugin

from middlewared.testing import ManualClock, running_server


@pytest.mark.anyio
async def test_note_is_kept(tmp_path: Path) -> None:
    """A note survives a restart, with the time that it was written."""
    clock = ManualClock(time_ms=1_800_000_000_000)
    server = running_server(plugin, clock=clock, data_dir=tmp_path)
    async with server as running, running.client() as client:
        await client.call("notes.add", "buy milk")
    clock.advance(seconds=3600)
    server = running_server(plugin, clock=clock, data_dir=tmp_path)
    async with server as running, running.client() as client:
        note = await client.call("notes.get", 1)
    assert note["text"] == "buy milk"
    assert note["written"] == {"$date": 1_800_000_000_000}


# -- end test --
