"""What the example of the plugin guide promises, seen by its clients."""

import os
import sys
from pathlib import Path

import anyio
import httpx
import pytest
from middlewared_notes import plugin

from middlewared.client import JobFailed, RemoteError, RemoteValidationErrors, connect
from middlewared.testing import running_server

pytestmark = pytest.mark.anyio


async def test_settings_and_errors() -> None:
    """A note that is too long is refused with the setting's limit."""
    tables = {"notes": {"max_length": 5}}
    async with (
        running_server(plugin, tables=tables) as server,
        server.client() as client,
    ):
        with pytest.raises(RemoteValidationErrors) as refused:
            await client.call("notes.add", "too long")
        with pytest.raises(RemoteError) as missing:
            await client.call("notes.get", id=7)
    assert refused.value.extra == [["text", "has 8 characters, the limit is 5", 22]]
    assert missing.value.reason == "[ENOENT] there is no note 7"


async def test_events_and_source() -> None:
    """Who may read hears of a new note, and gets the count as often as asked."""
    async with (
        running_server(plugin) as server,
        server.client() as client,
        client.subscribe("notes.query") as added,
        client.subscribe('notes.count:{"seconds":60}') as counts,
    ):
        count = await anext(counts)
        note = await client.call("notes.add", text="hello", loud=True)
        event = await anext(added)
    assert event["fields"] == note
    assert note["text"] == "HELLO"
    assert count["fields"] == {"count": 0}


async def test_access() -> None:
    """A method asks for the role that it names, and a route for its own token."""
    async with running_server(plugin) as server, server.client() as admin:
        await admin.call("user.create", {"username": "ann", "roles": ["NOTES_READ"]})
        key = await admin.call("api_key.create", {"username": "ann", "name": "k"})
        await admin.call("notes.add", "for all")
        async with connect(server.ws_url) as ann:
            await ann.login_api_key(key["key"])
            assert (await ann.call("notes.get", 1))["text"] == "for all"
            with pytest.raises(RemoteError, match="Not authorized"):
                await ann.call("notes.add", "not me")
            token = await ann.call("auth.generate_token", 60, {"notes": "text"})
        async with httpx.AsyncClient(base_url=server.url) as web:
            sent = await web.get("/notes.txt", params={"auth_token": token})
            refused = await web.get("/notes.txt", params={"auth_token": "x"})
    assert (sent.status_code, sent.text) == (200, "for all\n")
    assert refused.status_code == 401


async def test_jobs(tmp_path: Path) -> None:
    """The jobs do their work, keep a log, and hide what is secret."""
    async with running_server(plugin) as server, server.client() as client:
        await client.call("notes.add", "buy milk")
        job = client.job("notes.export", str(tmp_path / "notes.txt"))
        assert await job == 1
        with pytest.raises(JobFailed, match="exists"):
            await client.job("notes.export", str(tmp_path / "notes.txt"))
        await client.call("notes.add", "?")
        checked = client.job("notes.inspect")
        assert await checked == 1
        record = await client.call("job.get", checked.id)
        assert await client.job("notes.inspect_twice", 1) is True
        sealed = client.job("notes.digest", "letmein")
        assert len(await sealed) == 64
        log = await client.call("job.read_log", sealed.id)
        item = await client.call("job.get", sealed.id)
    assert (tmp_path / "notes.txt").read_text() == "buy milk\n"
    assert [step["state"] for step in record["steps"]] == ["SUCCESS", "SUCCESS"]
    assert record["exit"]["kind"] == "COMPLETED_WITH_ERRORS"
    assert "the key is ********" in log["data"]
    assert item["arguments"] == ["********"]


async def test_command() -> None:
    """The plugin's command is one of the program's."""
    environment = os.environ | {"MIDDLEWARED_PLUGINS_DIR": str(Path(__file__).parent)}
    program = (sys.executable, "-m", "middlewared.cli", "notes", "add")
    async with running_server(plugin) as server, server.client() as client:
        data_dir = str(server.app.settings.data_path)
        words = ("buy milk", "--data-dir", data_dir)
        done = await anyio.run_process([*program, *words], env=environment)
        note = await client.call("notes.get", 1)
    assert done.stdout == b"note 1\n"
    assert note["text"] == "buy milk"
