"""Ninth promise: nobody is sent or read more than there is room for."""

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.commits import Job, Write
from benchmarks.promised.audited import WHO
from benchmarks.promised.recorded import Recorded
from benchmarks.promised.told import ITEMS
from benchmarks.sketch import encode
from websockets.http11 import Request

from middlewared import Credentials
from middlewared.access import Origin
from middlewared.connection import Connection
from middlewared.events import EventBus
from middlewared.figures import Traffic
from middlewared.quotas import Quotas
from middlewared.session import ClientSession
from middlewared.settings import Settings

__all__ = ["Connected"]


class Connected(Recorded):
    """Clients come by our own connections, whose queues are bounded both ways.

    Attributes:
        connections: those that there are.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.settings, self.traffic = Settings(), Traffic()
        self.events, self.handler = self.bus, self
        self.connections: set[Connection] = set()
        self.services.provide(Settings, self.settings)
        self.services.provide(EventBus, self.bus)
        self.services.provide(Quotas, Quotas(self.settings))
        self._watch()

    def connect(self) -> Connection:
        """Give the protocol of a new connection."""
        connection = Connection(None, None, {"gate": self})
        self.connections.add(connection)
        return connection

    def _watch(self) -> None:
        for connection in tuple(self.connections):
            connection.watch(self.loop.time())
        self._timer = self.loop.call_later(1.0, self._watch)

    # What a connection asks of its server.

    def admit(self, request: Request, origin: Origin) -> tuple[int, str] | None:
        """Let an upgrade in."""
        return None

    def open_session(self, connection: Connection, origin: Origin) -> ClientSession:
        """Make the session of a new connection, which is logged in at once."""
        session = ClientSession(self.services, connection, origin)
        session.login(WHO)
        return session

    def origin_of(self, transport: asyncio.BaseTransport) -> Origin:
        """Say where a transport comes from."""
        return Origin("127.0.0.1")

    def origin_behind(self, peer: Origin, request: Request) -> Origin:
        """Say where an upgrade comes from."""
        return peer

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        self.connections.discard(connection)

    def receive(self, session: ClientSession, raw: bytes) -> None:
        """Take a message of a connection."""
        self.take(raw, session)

    # What the sketch asks of a client.

    def rights(self, caller: Any) -> Credentials:
        """Say whose calls a client makes."""
        who: Credentials = caller.credentials
        return who

    def subscribe(self, caller: Any, number: bytes) -> None:
        """Tell a client of all jobs from now on."""
        ident = encode(caller.subscribe(ITEMS))
        self.send(caller, b'{"jsonrpc":"2.0","result":%b,"id":%b}' % (ident, number))

    def write_new(self, write: Write) -> None:
        """Write a first row; its client is not read while many of them wait."""
        write.job.caller.entrust()
        super().write_new(write)

    def begun(self, write: Write) -> None:
        """Answer, tell, and begin the body."""
        write.job.caller.taken_over()
        super().begun(write)

    def forget_job(self, job: Job, why: str) -> None:
        """Say that there is no job after all."""
        job.caller.taken_over()
        super().forget_job(job, why)

    def send(self, caller: Any, message: bytes) -> None:
        """Answer a client, after the events until now."""
        caller.send(message)

    def close(self) -> None:
        """End the thread of the database."""
        self._timer.cancel()
        super().close()
