"""A running server with accounts, for tests that are bad clients of it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec
from wire_client import WireClient

from middlewared import Event, Plugin
from middlewared.connection import Connection
from middlewared.events import EventBus, Message
from middlewared.sendqueue import Importance
from middlewared.testing import RunningServer, running_server

__all__ = ["COLLECTION", "WireServer", "wire_server"]

#: Nobody declared it: full admins may subscribe to any name.
COLLECTION = "wire.things"


class WireServer:
    """The server, and clients for it.

    Attributes:
        running: the server.
        tcp: its address.
    """

    def __init__(self, running: RunningServer) -> None:
        self.running = running
        self.tcp = ("127.0.0.1", running.server.port)
        self._tokens: dict[str, str] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def connections(self) -> set[Connection]:
        """What the server has open."""
        return self.running.server.connections

    def keep(self, client: WireClient) -> WireClient:
        """Close a client when the test ends."""
        self._stack.callback(client.close)
        return client

    async def anonymous(self, **options: Any) -> WireClient:
        """Connect to the port."""
        return self.keep(await WireClient.open(self.tcp, **options))

    async def unix(self, **options: Any) -> WireClient:
        """Connect to the unix socket, as a full admin."""
        return self.keep(await WireClient.open(self.running.socket_path, **options))

    async def user(self, *roles: str, **options: Any) -> WireClient:
        """Connect to the port and log in; without roles as a full admin."""
        name = "_".join(roles) or "FULL_ADMIN"
        client = await self.anonymous(**options)
        if name in self._tokens:
            assert await client.call("auth.login_with_token", self._tokens[name])
            return client
        call = self.running.context.call
        await call(
            "user.create", {"username": name, "roles": list(roles) or ["FULL_ADMIN"]}
        )
        key = await call("api_key.create", {"username": name, "name": "wire"})
        assert await client.call("auth.login_with_api_key", key["key"])
        # Tokens cost no hashing.
        self._tokens[name] = await client.call("auth.generate_token")
        return client

    def token(self, *roles: str) -> str:
        """Give a token that logs in as the `user` with these roles."""
        return self._tokens["_".join(roles)]

    async def watcher(self, **options: Any) -> WireClient:
        """Connect as a full admin who is subscribed to `COLLECTION`."""
        client = await self.user(**options)
        await client.call("core.subscribe", COLLECTION)
        return client

    def publish(
        self,
        number: int,
        what: str,
        *,
        msg: Message = "changed",
        importance: Importance = Importance.KEEP,
        size: int = 0,
    ) -> None:
        """Send an event about thing *number*, padded to about *size* bytes."""
        fields = msgspec.json.encode({"id": number, "what": what, "pad": "x" * size})
        event = Event(COLLECTION, msg, number, fields, importance=importance)
        self.running.app.services.get(EventBus).publish(event)


@contextlib.asynccontextmanager
async def wire_server(*plugins: Plugin, **settings: Any) -> AsyncIterator[WireServer]:
    """Run a server with *plugins* and *settings*."""
    async with (
        running_server(*plugins, **settings) as running,
        WireServer(running) as server,
    ):
        yield server
