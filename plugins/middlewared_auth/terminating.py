"""The logins on open connections: listed, and terminated."""

from collections.abc import Sequence
from typing import Any

import msgspec

from middlewared import Context, Credentials, Date, Example
from middlewared.context import Session
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared_auth.declaration import plugin
from middlewared_auth.ending import end_logins
from middlewared_auth.live import LiveSessions

__all__: list[str] = []

UNIX_SOCKET = "UNIX_SOCKET"


class SessionUser(msgspec.Struct, frozen=True, kw_only=True):
    """Who a session is logged in as.

    Attributes:
        username: name of the account at login, or of the peer on the unix socket.
        login_id: names the login; jobs have it too.
        login_at: when.
        api_key: id of the API key that it came with; null for none.
    """

    username: str
    login_id: str
    login_at: Date
    api_key: int | None


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A login on an open connection.

    Attributes:
        id: names the session, for ``auth.terminate_session``.
        current: it is the one that asks.
        internal: it is on the unix socket.
        origin: IP address, or UNIX_SOCKET.
        credentials: how it proved itself.
        credentials_data: as whom.
        created_at: when it logged in.
        secure_transport: nobody in between can listen.
    """

    id: str
    current: bool
    internal: bool
    origin: str
    credentials: str
    credentials_data: SessionUser
    created_at: Date
    secure_transport: bool


def _describe(ctx: Context, session: Session, login: Credentials) -> SessionInfo:
    origin = session.origin
    return SessionInfo(
        id=session.id,
        current=ctx.session is session,
        internal=origin.address is None,
        origin=origin.address or UNIX_SOCKET,
        credentials=login.type,
        credentials_data=SessionUser(
            username=login.username,
            login_id=login.login_id,
            login_at=Date(login.login_at),
            api_key=login.api_key,
        ),
        created_at=Date(login.login_at),
        secure_transport=origin.secure,
    )


def _own(ctx: Context, login: Credentials) -> bool:
    who = ctx.credentials
    if who is None:
        return False
    if who.account_id is None:
        return who.login_id == login.login_id
    return who.account_id == login.account_id


@plugin.method(authenticated=True, read_only=True)
def sessions(
    ctx: Context, filters: Sequence[Any] = (), options: dict[str, Any] | None = None
) -> Any:
    """List the logins on open connections, by filters and options of ``core.get_jobs``.

    Who is no admin sees those of the own account.
    """
    who = ctx.credentials
    everything = who is not None and who.reads_all
    items = [
        msgspec.to_builtins(_describe(ctx, session, login))
        for session, login in ctx.get(LiveSessions).logged_in()
        if everything or _own(ctx, login)
    ]
    return run_query(items, parse_filters(filters), parse_options(options or {}))


@plugin.method(
    authenticated=True,
    examples=[Example("end a session", ["3f8e4a51-5c0c-4a3c-9a53-1f1b7b8f3f4e"], True)],
)
async def terminate_session(ctx: Context, id: str) -> bool:  # noqa: A002 - the wire's word
    """Log another session out, with its subscriptions and every token it made.

    The connection stays, as one that has not logged in. Who is no full admin ends
    sessions of the own account. The answer is whether there was such a session.
    """
    who = ctx.credentials
    for session, login in ctx.get(LiveSessions).logged_in():
        if session.id == id and who is not None:
            if not (who.full_admin or _own(ctx, login)):
                return False
            await end_logins(ctx, [(session, login)], "terminated")
            return True
    return False


@plugin.method(authenticated=True)
async def terminate_other_sessions(ctx: Context) -> bool:
    """Log out all other sessions: of the own account, or as a full admin of everybody.

    Sessions on the unix socket are left alone.
    """
    who = ctx.credentials
    everybody = who is not None and who.full_admin
    await end_logins(
        ctx,
        [
            (session, login)
            for session, login in ctx.get(LiveSessions).logged_in()
            if session is not ctx.session
            and session.origin.address is not None
            and (everybody or _own(ctx, login))
        ],
        "terminated",
    )
    return True
