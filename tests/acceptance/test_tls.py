"""The real program on a TLS port: used, told to reload, stopped."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Pair, make_pair
from server_process import ADMIN_PASSWORD, CONFIG, ServerProcess
from websockets.asyncio.client import connect as dial

from middlewared.client import CannotConnect, connect

PATIENCE = 10.0


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make_pair(tmp_path)


@pytest.fixture
def server(tmp_path: Path, pair: Pair) -> Iterator[ServerProcess]:
    """Run the program with a certificate; the command line trusts it."""
    with ServerProcess(
        tmp_path / "data",
        config=CONFIG,
        arguments=pair.arguments,
        environment={"SSL_CERT_FILE": str(pair.certificate)},
    ) as running:
        yield running


async def test_hangup_reloads_the_certificate_and_drops_nobody(
    server: ServerProcess, pair: Pair, tmp_path: Path
) -> None:
    """A job goes on under the eyes of its client, over the old connection."""
    assert server.url.startswith("https://127.0.0.1:")
    folder = tmp_path / "new"
    folder.mkdir()
    new = make_pair(folder)
    trust = new.trust()
    async with connect(server.url, ssl=pair.trust()) as client:
        await client.login(username="admin", password=ADMIN_PASSWORD)
        job = client.job("demo.sleep", 30)
        await job.wait_accepted()
        new.key.replace(pair.key)
        new.certificate.replace(pair.certificate)
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        server.wait_line("the port now uses", PATIENCE)
        async with connect(server.url, ssl=trust) as late:
            assert await late.call("core.ping") == "pong"
        with pytest.raises(CannotConnect, match="certificate"):
            async with connect(server.url, ssl=make_pair(folder, "other").trust()):
                pass
        await job.abort()
        assert (await job.wait_ended())["state"] == "ABORTED"
    assert server.stop() == 0


async def test_stop_is_told_over_tls(server: ServerProcess, pair: Pair) -> None:
    """The close frame leaves before the connection does."""
    async with dial(server.ws_url, ssl=pair.trust(), proxy=None) as socket:
        await socket.send('{"jsonrpc":"2.0","method":"core.ping","id":1}')
        assert await socket.recv() == '{"jsonrpc":"2.0","result":"pong","id":1}'
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        await socket.wait_closed()
        assert socket.close_code == 1012
    assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0


def test_command_line_works_over_tls(server: ServerProcess) -> None:
    """With the certificate that SSL_CERT_FILE names, as OpenSSL's programs do."""
    done = server.command("ping", "--url", server.url)
    assert done.stdout.startswith("pong")
    done = server.command(
        "call",
        "--url",
        server.url,
        "--user",
        "admin",
        "--password-stdin",
        "auth.me",
        input_text=ADMIN_PASSWORD + "\n",
    )
    assert '"pw_name": "admin"' in done.stdout
