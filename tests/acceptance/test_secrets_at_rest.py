"""Secrets that were planted are looked for: on the disk, in the log, in every answer.

The real program, at its most talkative, killed in the middle and started again.
"""

import base64
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from scram_client import ScramClient
from server_process import ServerProcess
from wire_client import WireClient

PLUGIN = '''
"""Methods and jobs that are given secrets."""

import anyio

from middlewared import CallError, Context, Plugin, Secret
from middlewared_jobs import Job, job

plugin = Plugin("hush", requires=("jobs",))


@plugin.method
async def take(ctx: Context, word: Secret[str], fail: bool = False) -> Secret[str]:
    """Give a secret back, or quote it in an error."""
    if fail:
        raise ValueError(f"{word.get()} is wrong")
    return word


@plugin.method
@job(logs=True, abortable=True, lock="hush")
async def hold(job: Job, word: Secret[str]) -> None:
    """Log a secret and wait."""
    job.log.info("the word is %s", word.get())
    job.logs_fd.write(word.get().encode())
    await anyio.sleep_forever()


@plugin.method
@job(logs=True)
async def give(job: Job, word: Secret[str], fail: bool = False) -> Secret[str]:
    """Give a secret back, or quote it in an error."""
    job.log.info("the word is %s", word.get())
    if fail:
        raise CallError(f"{word.get()} is wrong", 5, {"tried": word.get()})
    return word
'''
CONFIG = """
log_level = "debug"
shutdown_grace = 3.0
login_attempts = 1000
[auth]
failure_delay = 0.0
lockout_failures = 0
[audit]
log = true
"""
#: What only this server may know, and keeps in files of its own for that.
KEY_FILES = {"token.key", "jobs.key"}


class Planted:
    """Secrets by what they are."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def new(self, what: str) -> str:
        """Plant a word that is nowhere else."""
        return self.keep(what, f"hush{secrets.token_hex(12)}")

    def keep(self, what: str, word: str) -> str:
        """Remember a secret that the server made."""
        self.words[what] = word
        return word

    def found_in(self, data: bytes) -> set[str]:
        """Say which of them are in some bytes, as they are or in Base64."""
        found = set()
        for what, word in self.words.items():
            encoded = base64.b64encode(word.encode()).rstrip(b"=")[:-2]
            if word.encode() in data or encoded in data:
                found.add(what)
        return found


class Onlooker(WireClient):
    """An administrator who sees everything that is shown."""

    seen: bytes = b""

    async def receive_text(self) -> bytes:
        """Read the next message, and keep it."""
        text = await super().receive_text()
        self.seen += text
        return text


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "middlewared_hush.py").write_text(PLUGIN)
    with ServerProcess(
        tmp_path / "data",
        config=CONFIG,
        arguments=("--plugins-dir", str(plugins)),
    ) as running:
        yield running


async def connect(server: ServerProcess, kind: type[WireClient] = WireClient) -> Any:
    """Connect to the unix socket, as a full admin."""
    return await kind.open(server.socket_path)


async def plant_logins(server: ServerProcess, planted: Planted) -> None:
    """Make and use passwords, keys and tokens, right ones and wrong ones."""
    admin, guest = (
        await connect(server),
        await WireClient.open(("127.0.0.1", server.port)),
    )
    word = planted.new("password of an account")
    await admin.call("user.create", {"username": "ann", "password": word})
    assert await guest.call("auth.login", "ann", word)
    guess = planted.new("wrong password")
    assert not await guest.call("auth.login", "ann", guess)
    assert not await guest.call("auth.login", planted.new("name"), guess)
    new = planted.new("new password")
    change = {"username": "ann", "old_password": word, "new_password": new}
    await guest.call("user.set_password", change)
    await guest.request("user.set_password", [change | {"old_password": guess}])
    await guest.request("user.set_password", [{"username": ["ann"], "x": new}])
    options = {"mechanism": "PASSWORD_PLAIN", "username": "ann", "password": new}
    options["login_options"] = {"reconnect_token": True}  # type: ignore[assignment]  # any
    answer = await guest.call("auth.login_ex", options)
    planted.keep("reconnect token", answer["reconnect_token"])
    for what, params in (
        ("token", []),
        ("single-use token", [600, {}, False, True]),
        ("token with attrs", [600, {"job": 1}]),
    ):
        planted.keep(what, await guest.call("auth.generate_token", *params))
    assert await guest.call("auth.login_with_token", planted.words["token"])
    await guest.call("auth.login_with_token", planted.new("wrong token"))
    link = await admin.call("auth.login_link", "ann")
    planted.keep("link", link.partition("=")[2])
    await plant_keys(server, planted, admin, guest)
    for client in (admin, guest):
        client.close()


async def plant_keys(
    server: ServerProcess, planted: Planted, admin: WireClient, guest: WireClient
) -> None:
    """Make keys and log in with them in every way, also over HTTP."""
    key = (await admin.call("api_key.create", {"username": "ann", "name": "k"}))["key"]
    number, _, secret = key.partition("-")
    planted.keep("API key", secret)
    assert await guest.call("auth.login_with_api_key", key)
    wrong = planted.new("wrong API key")
    assert not await guest.call("auth.login_with_api_key", f"{number}-{wrong}")
    client = ScramClient(f"ann:{number}", secret)
    data = {"mechanism": "SCRAM", "scram_type": "CLIENT_FIRST_MESSAGE"}
    answer = await guest.call("auth.login_ex", data | {"rfc_str": client.first})
    data |= {"scram_type": "CLIENT_FINAL_MESSAGE"}
    data["rfc_str"] = client.final(answer["rfc_str"])
    assert (await guest.call("auth.login_ex", data))["scram_type"]
    call = {"jsonrpc": "2.0", "id": 1, "method": "core.ping"}
    async with httpx.AsyncClient(base_url=server.url) as web:
        basic = f"ann:{planted.words['new password']}".encode()
        for header in (
            f"Bearer {key}",
            f"Bearer {number}-{wrong}",
            f"Token {planted.words['token']}",
            f"Basic {base64.b64encode(basic).decode()}",
        ):
            headers = {"Authorization": header}
            await web.post("/api/current", json=call, headers=headers)
        for token in (planted.words["wrong token"], planted.words["token with attrs"]):
            await web.get(f"/_download/1?auth_token={token}")


async def plant_params(server: ServerProcess, planted: Planted) -> list[int]:
    """Give secrets to methods and jobs; leave jobs that run and wait."""
    admin = await connect(server)
    await admin.request("hush.take", [planted.new("param")])
    await admin.request("hush.take", [planted.new("param that is quoted"), True])
    await admin.request("hush.take", {"word": planted.new("named param"), "x": 1})
    jobs = []
    for what, params in (("", [False]), (" that is quoted", [True])):
        word = planted.new(f"param of a job{what}")
        jobs.append(await admin.call("hush.give", word, *params))
        await admin.call("core.set_options", {"legacy_jobs": False})
        await admin.request("core.job_wait", [jobs[-1]])
        await admin.call("core.set_options", {"legacy_jobs": True})
    word = planted.new("param of job.submit")
    jobs.append(await admin.call("job.submit", "hush.give", [word]))
    jobs.append(await admin.call("hush.hold", planted.new("param of a running job")))
    jobs.append(await admin.call("hush.hold", planted.new("param of a waiting job")))
    admin.close()
    return jobs


async def look_around(onlooker: Onlooker) -> None:
    """Ask for everything that shows things."""
    methods = await onlooker.call("core.get_methods")
    for name, info in methods.items():
        if re.search(r"(\.|_)(query|me|sessions|get_jobs|status)$", name):
            assert "result" in await onlooker.request(name), info
    for item in await onlooker.call("job.query"):
        await onlooker.call("job.get", item["id"])
        if item["logs_path"] is not None:
            await onlooker.call("job.read_log", item["id"])


def files_of(server: ServerProcess) -> Iterator[tuple[str, bytes]]:
    """Read every file of the data directory but the keys."""
    for path in server.data_dir.rglob("*"):
        if path.is_file() and path.name not in KEY_FILES:
            yield path.name, path.read_bytes()


@pytest.mark.timeout(120)
async def test_planted_secrets_are_nowhere(server: ServerProcess) -> None:
    """Not in a file, not in the log, not in what an administrator sees of others."""
    planted = Planted()
    onlooker = await connect(server, Onlooker)
    await onlooker.call("core.subscribe", "*")
    await plant_logins(server, planted)
    jobs = await plant_params(server, planted)
    with anyio.fail_after(20):
        while (await onlooker.call("job.get", jobs[-2]))["state"] != "RUNNING":  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(0.01)
    await look_around(onlooker)
    assert len(planted.words) > 18
    assert planted.found_in(onlooker.seen) == set()
    assert b"hush.hold" in onlooker.seen
    for name, data in files_of(server):
        assert planted.found_in(data) == set(), name
    server.kill()
    onlooker.close()
    for name, data in files_of(server):
        assert planted.found_in(data) == set(), name
    assert any(b"ann" in data for _, data in files_of(server))
    server.start()
    onlooker = await connect(server, Onlooker)
    await look_around(onlooker)
    await onlooker.call("core.job_abort", jobs[-1])
    onlooker.close()
    assert server.stop() == 0
    assert planted.found_in(onlooker.seen) == set()
    for name, data in files_of(server):
        assert planted.found_in(data) == set(), name
    printed = "".join(server.output).encode()
    assert b"logged in by" in printed
    assert b'"event":"LOGIN"' in printed
    assert planted.found_in(printed) == set()
