"""The sessions that are logged in as an account, ended or lowered with it."""

import asyncio
from collections.abc import Iterable
from weakref import WeakSet

from msgspec.structs import replace

from middlewared import FULL_ADMIN, Credentials
from middlewared.audit import OK, Trail
from middlewared.context import Session
from middlewared.sessions import Sessions
from middlewared_auth.identity import Identities

__all__ = ["LiveSessions"]

#: Seconds until the ends of logins are looked at again, at most.
LONGEST_WAIT = 24 * 60 * 60.0


class LiveSessions:
    """Keeps the credentials of open sessions true to their accounts and keys.

    Args:
        sessions: all that are open.
        identities: say what a login may now, and for how long.
        trail: is told who was logged out.
    """

    def __init__(
        self, sessions: Sessions, identities: Identities, trail: Trail
    ) -> None:
        self._sessions = sessions
        self._identities = identities
        self._trail = trail
        self._timer: asyncio.TimerHandle | None = None
        self._makers: WeakSet[Session] = WeakSet()

    def login(self, session: Session, credentials: Credentials) -> None:
        """Log a session in and keep its credentials true from now on."""
        self._makers.discard(session)
        session.login(credentials)
        self.watch_end(credentials)

    def watch_end(self, credentials: Credentials) -> None:
        """Look at the sessions again when the time of these credentials is over."""
        self._wait_for_end(self._identities.seconds_left(credentials))

    def logout(self, session: Session, why: str | None = None) -> None:
        """Log a session out, and write down why if it did not ask for it itself."""
        who = session.credentials
        if who is not None:
            session.login(None)
            self._trail.note("LOGOUT", OK, who=who, origin=session.origin, detail=why)

    def mark_maker(self, session: Session) -> None:
        """Remember that tokens of the session's login may be about."""
        self._makers.add(session)

    def is_maker(self, session: Session) -> bool:
        """Tell whether tokens may be about that end with the session's login."""
        return session in self._makers

    def logged_in(self) -> list[tuple[Session, Credentials]]:
        """List the open sessions that somebody is logged in on."""
        return [(s, s.credentials) for s in self._sessions if s.credentials is not None]

    def close(self) -> None:
        """Stop waiting for logins to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def refresh(self, account_id: int) -> None:
        """Look again at the sessions of an account that has changed.

        Who may not be logged in any more is logged out; so is who lost a role, because
        subscriptions that the role allowed must end. Who gained one keeps the session.
        """
        self._refresh(self._of(account_id))

    def _refresh(self, logins: Iterable[tuple[Session, Credentials]]) -> None:
        for session, credentials in logins:
            roles = self._identities.roles_of(
                credentials.account_id, credentials.api_key
            )
            if roles is None or not (FULL_ADMIN in roles or credentials.roles <= roles):
                self.logout(session, "ended" if roles is None else "lost a role")
                continue
            if roles != credentials.roles:
                session.login(replace(credentials, roles=roles))
            self._wait_for_end(self._identities.seconds_left(credentials))

    def end_logins(self, account_id: int, *, keep: Session | None) -> None:
        """Log out the account's sessions that no API key vouches for.

        Args:
            account_id: whose password was changed.
            keep: the session that changed it.
        """
        for session, credentials in self._of(account_id):
            if session is not keep and credentials.api_key is None:
                self.logout(session, "password changed")

    def _of(self, account_id: int) -> list[tuple[Session, Credentials]]:
        return [
            found for found in self.logged_in() if found[1].account_id == account_id
        ]

    # Logins that end by the clock.

    def _wait_for_end(self, seconds: float | None) -> None:
        """Look at all logins again when the first of them is over."""
        if seconds is None:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + min(seconds, LONGEST_WAIT)
        if self._timer is not None and self._timer.when() <= due:
            return
        self.close()
        self._timer = loop.call_at(due, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._refresh(
            found for found in self.logged_in() if found[1].account_id is not None
        )
