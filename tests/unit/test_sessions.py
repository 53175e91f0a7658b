"""The sessions that are open."""

import anyio
from wire_server import wire_server

from middlewared.sessions import Sessions


async def test_sessions_are_known_while_they_are_open() -> None:
    """A connection has its session here, from the handshake until it is gone."""
    async with wire_server() as server:
        sessions = server.running.context.get(Sessions)
        assert len(sessions) == 0
        first, second = await server.anonymous(), await server.user()
        assert len(sessions) == 2
        guest, user = sessions
        assert (guest.credentials, user.credentials is None) == (None, False)
        assert sessions.get(user.id) is user
        assert sessions.get("nobody") is None
        for client in (first, second):
            client.close()
        with anyio.fail_after(20):
            while len(sessions):  # noqa: ASYNC110 - nobody is told
                await anyio.sleep(0.01)
        sessions.discard(user)
        assert sessions.get(user.id) is None
