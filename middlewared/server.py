"""Listeners: one port for HTTP and WebSocket, and the unix socket."""

import asyncio
import contextlib
import email.utils
import errno
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from middlewared.access import Authenticator, Origin
from middlewared.addresses import is_loopback
from middlewared.audit import OK, Trail
from middlewared.basepath import without_base
from middlewared.clock import Clock
from middlewared.connection import Connection, Handler
from middlewared.context import Services
from middlewared.datadir import note_socket
from middlewared.errors import CallError, PortInUse, SettingsError, StartError
from middlewared.events import EventBus
from middlewared.figures import Traffic
from middlewared.hosts import client_allowed, host_allowed, origin_allowed
from middlewared.peers import peer_credentials
from middlewared.proxies import UNIX_SOCKET_PROXIED, Proxies
from middlewared.quotas import Quotas
from middlewared.session import ClientSession
from middlewared.sessions import Sessions
from middlewared.settings import Settings
from middlewared.tls import Tls, end_point_of

__all__ = ["SOCKET_PATHS", "Server"]

logger = logging.getLogger(__name__)

#: Where WebSocket connections are accepted.
SOCKET_PATHS = ("/api/current", "/api/v26.0.0")
WATCH_INTERVAL = 1.0  # seconds
CLOSE_SERVICE_RESTART = 1012
BACKLOG = 1024
#: struct linger: on, for 0 seconds (socket(7)).
_NO_LINGER = struct.pack("ii", 1, 0)


class _HttpProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a deadline for the head of each request.

    ``request.state.cut()`` ends a connection whose answer cannot be completed, in a way
    that no client takes for the end of the answer.
    """

    _deadline: asyncio.TimerHandle | None = None
    _counted = False

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state | {"cut": self.cut})

    def cut(self) -> None:
        """End the connection at once; an answer that was begun stays incomplete."""
        # A body that ends with the connection (HTTP/1.0) is complete for its reader
        # unless the connection is reset: that is what closing without lingering does.
        sock = self.transport.get_extra_info("socket")
        if sock is not None:  # it is None over TLS once the client is gone
            with (
                contextlib.suppress(OSError),
                socket.socket(fileno=os.dup(sock.fileno())) as same,
            ):
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        gate: Server = self.app_state["gate"]
        self.app_state["origin"] = gate.origin_of(transport)
        if gate.take_socket(self.app_state["origin"]):
            self._counted = True
            self._arm()
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._idle():
            self._arm()
        super().data_received(data)
        if not self._idle():
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.app_state.pop("cut", None)  # else the state and we hold each other
        if self._counted:
            self.app_state["gate"].return_socket(self.app_state["origin"])
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._disarm()
        self.app_state.pop("cut")
        super().handle_websocket_upgrade(event)
        # A client that did not wait for our answer: uvicorn would lose what it sent.
        rest, _ = self.conn.trailing_data
        if rest:
            self.transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]  # a Connection by now

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _arm(self) -> None:
        if self._deadline is None:
            settings: Settings = self.app_state["gate"].settings
            self._deadline = self.loop.call_later(
                settings.head_timeout, self.transport.abort
            )

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server:
    """The listeners and every open connection.

    Attributes:
        settings: the kernel's settings.
        events: the bus.
        handler: takes the messages.
        loop: the event loop.
        connections: open WebSocket connections.
        traffic: what went over them so far.
        port: the TCP port, once it listens.
        stopping: nothing new is accepted.
    """

    def __init__(
        self,
        services: Services,
        handler: Handler,
        app: ASGIApp,
        tls: Tls | None = None,
    ) -> None:
        self.settings = services.get(Settings)
        self.events = services.get(EventBus)
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.traffic = Traffic()
        self.port = 0
        self.stopping = False
        self._services = services
        self._state = ServerState()
        self._listeners: list[asyncio.Server] = []
        self._tls = tls
        self._proxies = services.get(Proxies)
        self._quotas = services.get(Quotas)
        self._socket_is_ours = False
        self._config = Config(
            app,
            http=_HttpProtocol,
            ws=Connection,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._config.load()

    # The gate of the connections.

    def admit(self, request: Request, origin: Origin) -> tuple[int, str] | None:
        """Say with which status and text an upgrade is refused, None to let it in."""
        return (
            self._wrong_place(request)
            or self._wrong_client(request, origin)
            or self._no_room(origin)
        )

    def _wrong_place(self, request: Request) -> tuple[int, str] | None:
        target = request.path.partition("?")[0]
        base = self.settings.base_path
        if without_base(target, base) in SOCKET_PATHS:
            return None
        return 404, f"No WebSocket at {target}, expected {base}{SOCKET_PATHS[0]}\n"

    def _wrong_client(self, request: Request, origin: Origin) -> tuple[int, str] | None:
        headers = request.headers
        host, page = headers.get("Host"), headers.get("Origin")
        if origin.address is None and self._proxies.came_through(headers.get_all):
            return 403, UNIX_SOCKET_PROXIED
        if not host_allowed(host, self.settings):
            return 403, f"Host {host!r} is not in allowed_hosts\n"
        if not origin_allowed(page, host, self.settings):
            return 403, f"Origin {page!r} is not in allowed_origins\n"
        return None

    def _no_room(self, origin: Origin) -> tuple[int, str] | None:
        if self.stopping:
            return 503, "The server stops\n"
        if len(self.connections) >= self.settings.max_connections:
            return 503, f"{self.settings.max_connections} connections are open\n"
        try:
            self._quotas.check_origin(origin)
        except CallError as exc:
            return 429, f"{exc.text}\n"
        return None

    def open_session(self, connection: Connection, origin: Origin) -> ClientSession:
        """Make the session; the unix socket tells who its peer is."""
        self.connections.add(connection)
        self.traffic.opened += 1
        session = ClientSession(self._services, connection, origin)
        self._services.get(Sessions).add(session)
        self._quotas.add(session)
        peer = peer_credentials(origin, self._services.get(Clock))  # type: ignore[type-abstract]  # by protocol
        if peer is not None:
            session.login(peer)
        elif origin.remote_user is not None and client_allowed(origin, self.settings):
            self._believe_proxy(session)
        return session

    def _believe_proxy(self, session: ClientSession) -> None:
        """Log a session in as whom its proxy vouches for, if that may be."""
        who = self._services.find(Authenticator)  # type: ignore[type-abstract]  # by protocol
        if who is not None:
            try:
                session.require_secure()
                session.login(who.by_proxy(session.origin))
                if session.credentials is not None:
                    trail = self._services.get(Trail)
                    trail.note(
                        "LOGIN", OK, who=session.credentials, origin=session.origin
                    )
            except CallError as exc:
                name = session.origin.remote_user
                logger.warning("%r of a proxy is not logged in: %s", name, exc.text)

    def origin_of(self, transport: asyncio.BaseTransport) -> Origin:
        """Say where a transport comes from: an address, or a uid (unix(7))."""
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            answer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return Origin(uid=struct.unpack("3i", answer)[1])
        peer = transport.get_extra_info("peername")
        address = peer[0] if peer else "unknown"
        tls_object = transport.get_extra_info("ssl_object")
        return Origin(
            address=address,
            secure=tls_object is not None or is_loopback(address),
            channel_binding=end_point_of(tls_object),
        )

    def origin_behind(self, peer: Origin, request: Request) -> Origin:
        """Say where an upgrade comes from, through a trusted proxy or not."""
        return self._proxies.origin(peer, request.headers.get_all)

    def take_socket(self, peer: Origin) -> bool:
        """Count a socket; False when its address has too many, proxies aside."""
        return self._speaks_for_many(peer) or self._quotas.take_socket(peer)

    def return_socket(self, peer: Origin) -> None:
        """Forget a socket that was counted."""
        if not self._speaks_for_many(peer):
            self._quotas.return_socket(peer)

    def _speaks_for_many(self, peer: Origin) -> bool:
        return peer.address is not None and self._proxies.trusts(peer.address)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone, and its session."""
        self.connections.discard(connection)
        self.return_socket(connection.peer)
        if connection.session is not None:
            self._services.get(Sessions).discard(connection.session)

    # Listening.

    @property
    def base_url(self) -> str:
        """Where a browser finds the server."""
        host = self.settings.listen_address[0]
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Server"]:
        """Listen on the port and the socket, and look after the connections.

        Leaving it disconnects whoever is still there.

        Raises:
            StartError: the port or the socket cannot be had, or a public address
                would be served without TLS.
        """
        await self._listen_tcp()
        await self._listen_unix()
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, name="connection watch")
            if self._tls is not None:
                group.start_soon(
                    self._watch_certificate, self._tls, name="certificate watch"
                )
            try:
                yield self
            finally:
                self.stop_listening()
                self._abort_all()
                group.cancel_scope.cancel()

    async def _listen_tcp(self) -> None:
        host, port = self.settings.listen_address
        allowed = self._tls or self.settings.insecure or self.settings.behind_proxy
        if not is_loopback(host) and not allowed:
            raise StartError(
                f"listen is {self.settings.listen!r}, a public address without TLS; "
                "set tls_certificate, behind_proxy when a proxy speaks TLS, or insecure"
            )
        try:
            listener = await self.loop.create_server(
                self._http_protocol, host, port, backlog=BACKLOG, **self._tls_options()
            )
        except OSError as exc:
            where = f"cannot listen on {self.settings.listen}"
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(f"{where}: the port is in use") from None
            raise StartError(f"{where}: {exc.strerror or exc}") from None
        self.port = listener.sockets[0].getsockname()[1]
        self._listeners.append(listener)

    def _tls_options(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls.context,
            "ssl_handshake_timeout": self.settings.head_timeout,
            "ssl_shutdown_timeout": self.settings.close_timeout,
        }

    async def _listen_unix(self) -> None:
        path = self.settings.socket_path
        try:
            _remove_stale_socket(path)
            listener = await self.loop.create_unix_server(
                self._http_protocol, str(path), backlog=BACKLOG
            )
            self._socket_is_ours = True
            path.chmod(0o600)
            note_socket(self.settings.data_path, path)
        except OSError as exc:
            self.stop_listening()
            raise StartError(
                f"cannot listen on unix socket {str(path)!r}: {exc.strerror or exc}"
            ) from None
        self._listeners.append(listener)

    def _http_protocol(self) -> asyncio.Protocol:
        return _HttpProtocol(
            config=self._config,
            server_state=self._state,
            app_state={"gate": self, "services": self._services},
        )

    async def reload_certificate(self) -> None:
        """Read certificate and key again; a failure is logged, the old ones stay."""
        if self._tls is not None:
            try:
                await anyio.to_thread.run_sync(self._tls.reload)
            except SettingsError as exc:
                logger.warning("the certificate in use stays: %s", exc)

    async def _watch_certificate(self, tls: Tls) -> None:
        while True:
            await anyio.sleep(WATCH_INTERVAL)
            await anyio.to_thread.run_sync(tls.reload_if_changed)

    async def _watch(self) -> None:
        while True:
            date = email.utils.formatdate(usegmt=True).encode()
            self._state.default_headers = [
                (b"date", date),
                *self._config.encoded_headers,
            ]
            now = self.loop.time()
            self.look_after_connections(now)
            await anyio.sleep(min(WATCH_INTERVAL, self.settings.send_stall / 4))

    def look_after_connections(self, now: float) -> None:
        """Ping the silent, disconnect the dead; a bug with one concerns no other.

        Args:
            now: the loop's time, seconds.
        """
        for connection in list(self.connections):
            try:
                connection.watch(now)
            except Exception:
                logger.exception("a connection could not be looked after")
                connection.abort("of a bug of the server", "failed")
        self._make_room()

    def _make_room(self) -> None:
        """Disconnect whom most waits for, while too much waits for all together."""
        limit = self.settings.send_total_limit
        total = sum(connection.backlog for connection in self.connections)
        # An event waits in many queues and is in memory once: that may go on.
        if total <= limit or _resident_bytes() <= limit:
            return
        for connection in sorted(self.connections, key=_backlog, reverse=True):
            total -= connection.backlog
            connection.abort(f"more than {limit} bytes wait for all clients", "room")
            if total <= limit:
                return

    # Stopping.

    def stop_listening(self) -> None:
        """Accept nothing new; open connections stay."""
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._socket_is_ours:
            self._socket_is_ours = False
            self.settings.socket_path.unlink(missing_ok=True)

    async def close_connections(self) -> None:
        """Close all with 1012, wait ``close_timeout`` seconds, abort what is left."""
        for connection in list(self.connections):
            connection.close(CLOSE_SERVICE_RESTART, "The server restarts")
        for http in list(self._state.connections):
            http.shutdown()
        with anyio.move_on_after(self.settings.close_timeout):
            while self.connections or self._state.connections:  # noqa: ASYNC110 - uvicorn's set tells nobody
                await anyio.sleep(0.01)
        self._abort_all()

    def _abort_all(self) -> None:
        for connection in list(self.connections):
            connection.abort("the server stops", "stopping")
        for http in list(self._state.connections):
            if isinstance(http, _HttpProtocol):
                http.cut()


def _remove_stale_socket(path: Path) -> None:
    """Remove the socket that a killed server left; anything else stays.

    Raises:
        OSError: somebody listens there.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)
                if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
                    raise OSError(errno.EADDRINUSE, "somebody listens there")
            path.unlink()


def _backlog(connection: Connection) -> int:
    return connection.backlog


def _resident_bytes() -> int:
    """Bytes of memory that this process has (proc(5), statm); without /proc, many."""
    try:
        words = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return sys.maxsize
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")
