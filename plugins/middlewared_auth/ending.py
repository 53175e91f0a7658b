"""The end of logins: logged out, with the tokens that they made."""

from collections.abc import Iterable

from middlewared import Context, Credentials
from middlewared.context import Session
from middlewared_auth.live import LiveSessions
from middlewared_auth.tokens import Tokens

__all__ = ["end_logins"]


async def end_logins(
    ctx: Context,
    logins: Iterable[tuple[Session, Credentials]],
    why: str | None = None,
) -> None:
    """Log sessions out, and end what they could be come back to with.

    Only logins that made signed tokens are remembered, so that logging in and out all
    day costs nothing.

    Args:
        ctx: reaches the services.
        logins: the sessions, and who is logged in there.
        why: for the audit log.

    Raises:
        StoreError: after a restart the tokens would be good again.
    """
    live, tokens = ctx.get(LiveSessions), ctx.get(Tokens)
    ended, signed = set(), set()
    for session, login in logins:
        live.logout(session, why)
        ended.add(login.login_id)
        if live.is_maker(session):
            signed.add(login.login_id)
    tokens.end_kept(ended)
    if signed:
        await tokens.end_logins(signed)
