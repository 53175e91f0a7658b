"""The listeners: where they listen, who comes in, what stays behind."""

import contextlib
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest
from wire_client import WireClient, open_socket, upgrade_request
from wire_http import http_client
from wire_server import wire_server

from middlewared.datadir import served_at
from middlewared.errors import StartError
from middlewared.testing import running_server


async def test_port_zero_takes_a_free_one(tmp_path: Path) -> None:
    """Two servers get two ports, and say which."""
    async with running_server() as first, running_server() as second:
        assert first.server.port != second.server.port
        assert first.url == f"http://127.0.0.1:{first.server.port}"


async def test_taken_port_is_a_clear_error() -> None:
    """With the address and the reason."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as caught:
            async with running_server(listen=f"127.0.0.1:{port}"):
                pass
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: the port is in use"


async def test_public_address_needs_a_word() -> None:
    """Nobody serves passwords in the clear by mistake."""
    for listen in ("0.0.0.0:0", "[::]:0"):
        with pytest.raises(StartError, match="behind_proxy"):
            async with running_server(listen=listen):
                pass
    words: list[dict[str, Any]] = [{"insecure": True}, {"behind_proxy": True}]
    for word in words:
        async with running_server(listen="0.0.0.0:0", **word) as running:
            assert running.url == f"http://127.0.0.1:{running.server.port}"
            address = ("127.0.0.1", running.server.port)
            async with http_client(address) as http:
                assert (await http.ask("/healthz")).status == 200


async def test_unknown_address_is_a_clear_error() -> None:
    """It names what was asked for."""
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0"):
        async with running_server(listen="192.0.2.1:0", insecure=True):
            pass


async def test_unix_socket_is_private_and_goes_with_the_server() -> None:
    """0600, where the data directory is; nothing is left."""
    async with running_server() as running:
        path = running.socket_path
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    """A stale socket is no reason not to start."""
    path = tmp_path / "data" / "middlewared.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with (
        running_server(data_dir=tmp_path / "data") as running,
        running.client() as client,
    ):
        assert await client.call("core.ping") == "pong"


async def test_moved_socket_is_found(tmp_path: Path) -> None:
    """Who knows the data directory finds the socket that ``--unix`` moved."""
    folder, path = tmp_path / "data", tmp_path / "moved.sock"
    async with running_server(data_dir=folder, unix=str(path)):
        assert served_at(folder) == path
    assert served_at(folder) == folder / "middlewared.sock"


async def test_file_in_the_place_of_the_socket_stays(tmp_path: Path) -> None:
    """Somebody's file is not ours to remove."""
    path = tmp_path / "precious"
    path.write_text("keep me")
    with pytest.raises(StartError, match="precious"):
        async with running_server(unix=str(path)):
            pass
    assert path.read_text() == "keep me"


async def test_socket_that_somebody_serves_is_not_taken_away(tmp_path: Path) -> None:
    """Two servers may be told the same ``--unix``; the second one does not start."""
    async with running_server(unix=str(tmp_path / "shared")) as first:
        with pytest.raises(StartError, match="somebody listens there"):
            async with running_server(unix=str(tmp_path / "shared")):
                pass
        async with first.client() as client:
            assert await client.call("core.ping") == "pong"


async def test_failed_start_leaves_no_listener(tmp_path: Path) -> None:
    """What was opened before the failure is closed again."""
    path = tmp_path / "file"
    path.write_text("")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(StartError):
        async with running_server(listen=f"127.0.0.1:{port}", unix=str(path)):
            pass
    with pytest.raises(ConnectionRefusedError):
        await open_socket(("127.0.0.1", port))


async def test_unix_peer_with_the_servers_uid_is_a_full_admin() -> None:
    """Whoever could read the database anyway; the port knows nobody."""
    async with wire_server() as server:
        peer = await server.unix()
        me = await peer.call("auth.me")
        assert "FULL_ADMIN" in me["privilege"]["roles"]["$set"]
        stranger = await server.anonymous()
        assert (await stranger.request("auth.me"))["error"]["data"]["error"] == 207


async def test_nobody_is_let_in_while_the_server_stops() -> None:
    """New connections are refused, open ones stay until the jobs ended."""
    async with wire_server() as server:
        client = await server.anonymous()
        waiting = await open_socket(server.tcp)
        late = server.keep(WireClient(waiting))
        server.running.server.stop_listening()
        with pytest.raises(ConnectionRefusedError):
            await server.anonymous()
        await late.send_bytes(upgrade_request())
        assert (await late.read_head()).startswith(b"HTTP/1.1 503 ")
        assert await client.call("core.ping") == "pong"


async def test_closing_answers_whom_it_can(tmp_path: Path) -> None:
    """Each connection gets 1012; idle HTTP connections are closed too."""
    async with running_server() as running:
        address = ("127.0.0.1", running.server.port)
        clients = [await WireClient.open(address) for _ in range(20)]
        async with http_client(address) as http:
            assert (await http.ask("/healthz")).status == 200
            codes: list[int] = []

            async def leave(client: WireClient) -> None:
                codes.append((await client.receive_close())[0])
                client.close()

            async with anyio.create_task_group() as group:
                for client in clients:
                    group.start_soon(leave, client)
                await running.server.close_connections()
            assert codes == [1012] * 20
            assert await http.is_closed()
        assert not running.server.connections


async def test_http_answer_in_progress_is_finished_on_the_way_out() -> None:
    """A response that has begun is not cut by the stop."""
    async with running_server(close_timeout=5.0) as running:
        address = ("127.0.0.1", running.server.port)
        async with http_client(address) as http:
            await http.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with anyio.create_task_group() as group:
                group.start_soon(running.server.close_connections)
                # An end is no cut: the request had not been read yet.
                with contextlib.suppress(EOFError):
                    assert (await http.answer()).status in (200, 503)
