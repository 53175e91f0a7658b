"""The certificate of the port: what is refused, what is shown, how it is replaced."""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from certificates import Pair, make_pair
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from websockets.asyncio.client import connect as dial_wss
from wire_client import WireClient, open_socket
from wire_server import COLLECTION, wire_server

from middlewared.client import connect
from middlewared.errors import SettingsError, StartError
from middlewared.testing import RunningServer, running_server
from middlewared.tls import Tls, end_point_of

PATIENCE = 10.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


async def dial(server: RunningServer, pair: Pair) -> tuple[ssl.SSLObject, bytes]:
    """Shake hands with a server; give the TLS object and the certificate it shows."""
    port = server.server.port
    context = pair.trust()
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = writer.get_extra_info("ssl_object")
    der = found.getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return found, der


# What is refused.


def _missing(pair: Pair, folder: Path) -> tuple[Path, Path]:
    return folder / "missing.pem", pair.key


def _missing_key(pair: Pair, folder: Path) -> tuple[Path, Path]:
    return pair.certificate, folder / "missing.key"


def _folder(pair: Pair, folder: Path) -> tuple[Path, Path]:
    return folder, pair.key


def _swapped(pair: Pair, folder: Path) -> tuple[Path, Path]:
    return pair.key, pair.certificate


def _no_key(pair: Pair, folder: Path) -> tuple[Path, Path]:
    return pair.certificate, pair.certificate


def _other_key(pair: Pair, folder: Path) -> tuple[Path, Path]:
    return pair.certificate, make_pair(folder, "other").key


def _locked_key(pair: Pair, folder: Path) -> tuple[Path, Path]:
    found = make_pair(folder, "locked", passphrase=b"secret")
    return found.certificate, found.key


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        (_missing, ["tls_certificate", "missing.pem", "No such file"]),
        (_missing_key, ["tls_key", "missing.key", "No such file"]),
        (_folder, ["tls_certificate", "Is a directory"]),
        (_swapped, ["tls_certificate", "server.key", "no certificate in PEM form"]),
        (_no_key, ["tls_key", "server.pem", "no private key in PEM form"]),
        (_other_key, ["tls_key", "other.key", "does not fit", "key values mismatch"]),
        (_locked_key, ["tls_key", "locked.key", "passphrase"]),
    ],
)
def test_unfit_files_are_named(
    choose: Callable[[Pair, Path], tuple[Path, Path]],
    words: list[str],
    pair: Pair,
    tmp_path: Path,
) -> None:
    """Which setting, which file, what is wrong; nobody is asked for a passphrase."""
    with pytest.raises(SettingsError) as caught:
        Tls(*choose(pair, tmp_path))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_file_may_hold_both(pair: Pair, tmp_path: Path) -> None:
    """As certbot's and HAProxy's users keep them."""
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    assert Tls(both, both).not_after == pair.x509.not_valid_after_utc


def test_expired_certificate_is_served_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock may be wrong: no reason to stay away, but one to tell."""
    old = make_pair(tmp_path, days=-1)
    with caplog.at_level(logging.INFO):
        Tls(old.certificate, old.key)
    assert f"the certificate in {old.certificate} has expired" in caplog.text


# What is shown.


async def test_port_speaks_tls_and_the_unix_socket_does_not(pair: Pair) -> None:
    """HTTP and WebSocket on the one, as before on the other."""
    async with running_server(**pair.settings) as server:
        assert server.url == f"https://127.0.0.1:{server.server.port}"
        async with connect(server.url, ssl=pair.trust()) as client:
            assert await client.call("core.ping") == "pong"
        async with httpx.AsyncClient(verify=pair.trust()) as http:
            answer = await http.get(f"{server.url}/healthz")
        assert answer.status_code == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        async with server.client() as client:
            assert await client.call("core.ping") == "pong"
        transport = httpx.AsyncHTTPTransport(uds=str(server.socket_path))
        async with httpx.AsyncClient(transport=transport) as http:
            answer = await http.get("http://localhost/healthz")
        assert answer.status_code == 200
        assert "Strict-Transport-Security" not in answer.headers


async def test_plain_text_on_the_tls_port_gets_nothing(pair: Pair) -> None:
    """It ends the connection, no other one, and leaves no trace in the log."""
    async with wire_server(**pair.settings) as server:
        plain = WireClient(await open_socket(server.tcp))
        await plain.send_bytes(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await plain.wait_end()
        plain.close()
        async with connect(server.running.url, ssl=pair.trust()) as client:
            assert await client.call("core.ping") == "pong"


async def test_public_address_with_tls_needs_no_word(pair: Pair) -> None:
    """That is what TLS is for."""
    async with running_server(listen="0.0.0.0:0", **pair.settings) as server:
        _, der = await dial(server, pair)
        assert der == pair.der


async def test_hsts_may_be_left_out(pair: Pair) -> None:
    """Whoever may go back to plain HTTP says so before."""
    async with running_server(hsts_max_age=0, **pair.settings) as server:
        async with httpx.AsyncClient(verify=pair.trust()) as http:
            answer = await http.get(f"{server.url}/healthz")
        assert "Strict-Transport-Security" not in answer.headers


async def test_client_that_never_reads_is_dropped(pair: Pair) -> None:
    """Over TLS as without: what waits for it is bounded, and so is the time."""
    async with wire_server(send_stall=0.2, **pair.settings) as server:
        call = server.running.context.call
        await call("user.create", {"username": "ann", "roles": ["FULL_ADMIN"]})
        key = await call("api_key.create", {"username": "ann", "name": "wire"})
        url = server.running.ws_url
        async with dial_wss(
            url, ssl=pair.trust(), proxy=None, max_queue=1, ping_interval=None
        ) as socket:
            for method, param in (
                ("auth.login_with_api_key", key["key"]),
                ("core.subscribe", COLLECTION),
            ):
                await socket.send(
                    f'{{"jsonrpc":"2.0","method":"{method}","params":["{param}"],"id":1}}'
                )
                assert "result" in str(await socket.recv())
            (connection,) = server.connections
            for number in range(16):
                server.publish(number, "large", size=2**20)
            await anyio.lowlevel.checkpoint()  # the events of a tick leave at its end
            assert connection.backlog > 2**20
            with anyio.fail_after(PATIENCE):
                while server.connections:  # noqa: ASYNC110 - the server tells nobody
                    await anyio.sleep(0.01)
            assert connection.backlog == 0


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "sha256"),
        ({"algorithm": hashes.SHA384()}, "sha384"),
        ({"key": RSA, "algorithm": hashes.SHA512()}, "sha512"),
        ({"key": RSA, "rsa_padding": PSS}, "sha256"),
        ({"key": ed25519.Ed25519PrivateKey.generate(), "algorithm": None}, None),
    ],
)
async def test_sessions_know_what_a_login_is_bound_to(
    options: dict[str, Any], name: str | None, tmp_path: Path
) -> None:
    """RFC 5929, section 4: the certificate, hashed as its signature was."""
    pair = make_pair(tmp_path, **options)
    async with (
        running_server(**pair.settings) as server,
        connect(server.url, ssl=pair.trust()) as client,
        server.client() as local,
    ):
        assert await client.call("core.ping") == await local.call("core.ping")
        origins = {c.origin.address: c.origin for c in server.server.connections}
        expected = None if name is None else hashlib.new(name, pair.der).digest()
        assert origins["127.0.0.1"].channel_binding == expected
        assert origins[None].channel_binding is None


def test_connections_without_tls_are_bound_to_nothing() -> None:
    """There is no certificate."""
    assert end_point_of(None) is None


# How it is replaced.


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Pair, Pair]:
    """A certificate in use, and the one that will replace it."""
    new = tmp_path / "new"
    new.mkdir()
    return make_pair(tmp_path), make_pair(new)


def replace(old: Pair, new: Pair) -> None:
    """Put new files in the place of the old ones, as certbot does."""
    new.key.replace(old.key)
    new.certificate.replace(old.certificate)


async def shown(server: RunningServer, pair: Pair) -> None:
    """Wait until the server shows a certificate."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                _, der = await dial(server, pair)
            except ssl.SSLCertVerificationError:
                await anyio.sleep(0.05)
            else:
                assert der == pair.der
                return


async def test_changed_files_are_noticed_and_nobody_is_dropped(
    pairs: tuple[Pair, Pair],
) -> None:
    """New connections see the new certificate, old ones go on with theirs."""
    old, new = pairs
    async with (
        running_server(**old.settings) as server,
        connect(server.url, ssl=old.trust()) as client,
    ):
        (connection,) = server.server.connections
        binding = connection.origin.channel_binding
        latest = Pair(old.certificate, old.key, new.x509)
        replace(old, new)
        await shown(server, latest)
        assert await client.call("core.ping") == "pong"
        assert connection.origin.channel_binding == binding
        async with connect(server.url, ssl=latest.trust()) as late:
            assert await late.call("core.ping") == "pong"
            (other,) = server.server.connections - {connection}
            expected = hashlib.sha256(new.der).digest()
            assert other.origin.channel_binding == expected


async def test_bad_files_are_said_once_and_the_old_ones_stay(
    pairs: tuple[Pair, Pair], caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a replacement is no reason to fail; its other half is waited for."""
    old, new = pairs
    tls = Tls(old.certificate, old.key)
    assert not tls.reload_if_changed()
    new.certificate.replace(old.certificate)
    with caplog.at_level(logging.INFO):
        assert not tls.reload_if_changed()
        assert not tls.reload_if_changed()
    assert caplog.text.count("the certificate in use stays") == 1
    assert tls.not_after == old.x509.not_valid_after_utc
    new.key.replace(old.key)
    assert tls.reload_if_changed()
    assert tls.not_after == new.x509.not_valid_after_utc


async def test_order_to_reload_keeps_what_it_cannot_replace(
    pairs: tuple[Pair, Pair], caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on with the certificate that it has."""
    old, _ = pairs
    async with running_server(**old.settings) as server:
        old.key.unlink()
        await server.server.reload_certificate()
        assert "the certificate in use stays" in caplog.text
        _, der = await dial(server, old)
        assert der == old.der
    async with running_server() as server:
        await server.server.reload_certificate()  # there is none: nothing happens


async def test_stop_does_not_wait_for_a_handshake_that_never_ends(pair: Pair) -> None:
    """Who connects and says nothing holds up nobody."""
    async with wire_server(close_timeout=0.2, **pair.settings) as server:
        server.keep(WireClient(await open_socket(server.tcp)))
        async with connect(server.running.url, ssl=pair.trust()) as client:
            assert await client.call("core.ping") == "pong"
        with anyio.fail_after(PATIENCE):
            await server.running.server.close_connections()


async def test_failed_start_names_the_setting(tmp_path: Path) -> None:
    """Before anything is made: not even the data directory."""
    with pytest.raises(SettingsError, match="tls_certificate '/nowhere"):
        async with running_server(
            data_dir=tmp_path / "data", tls_certificate="/nowhere.pem"
        ):
            pass
    assert not (tmp_path / "data").exists()
    with pytest.raises(SettingsError, match="there is no tls_certificate"):
        async with running_server(data_dir=tmp_path / "data", tls_key="/x.key"):
            pass


async def test_taken_port_is_named_with_tls_too(pair: Pair) -> None:
    """The order of failures does not change."""
    async with running_server(**pair.settings) as server:
        listen = f"127.0.0.1:{server.server.port}"
        with pytest.raises(StartError, match="the port is in use"):
            async with running_server(listen=listen, **pair.settings):
                pass
