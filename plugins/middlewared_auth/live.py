"""The sessions that are logged in as an account, ended or lowered with it."""

import asyncio
import weakref

from msgspec.structs import replace

from middlewared import FULL_ADMIN, Credentials
from middlewared.context import Session
from middlewared_auth.identity import Identities

__all__ = ["LiveSessions"]


class LiveSessions:
    """Keeps the credentials of open sessions true to their accounts.

    Sessions are held weakly: one whose client is gone costs nothing.
    """

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def login(self, session: Session, credentials: Credentials) -> None:
        """Log a session in and keep its credentials true from now on."""
        session.login(credentials)
        self._sessions.add(session)
        if credentials.api_key is not None:
            self._watch_expiry(credentials.api_key)

    def _watch_expiry(self, key_id: int) -> None:
        """Look at the sessions of a key again when its time is over."""
        seconds = self._identities.seconds_left(key_id)
        if seconds is None or key_id in self._timers:
            return
        loop = asyncio.get_running_loop()
        self._timers[key_id] = loop.call_later(seconds, self._expired, key_id)

    def _expired(self, key_id: int) -> None:
        del self._timers[key_id]
        for session in list(self._sessions):
            credentials = session.credentials
            if credentials is not None and credentials.api_key == key_id:
                self._refresh(session, credentials)
                if session.credentials is not None:  # the clock was set back
                    self._watch_expiry(key_id)

    def close(self) -> None:
        """Stop waiting for keys to expire."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def refresh(self, account_id: int) -> None:
        """Look again at the sessions of an account that has changed.

        Who may not be logged in any more is logged out; so is who lost a role, because
        subscriptions that the role allowed must end. Who gained one keeps the session.
        """
        for session, credentials in self._of(account_id):
            self._refresh(session, credentials)

    def _refresh(self, session: Session, credentials: Credentials) -> None:
        roles = self._identities.roles_of(credentials.account_id, credentials.api_key)
        if roles is None or not (FULL_ADMIN in roles or credentials.roles <= roles):
            session.login(None)
        elif roles != credentials.roles:
            session.login(replace(credentials, roles=roles))

    def end_logins(self, account_id: int, *, keep: Session | None) -> None:
        """Log out the account's sessions that no API key vouches for.

        Args:
            account_id: whose password was changed.
            keep: the session that changed it.
        """
        for session, credentials in self._of(account_id):
            if session is not keep and credentials.api_key is None:
                session.login(None)

    def _of(self, account_id: int) -> list[tuple[Session, Credentials]]:
        return [
            (session, session.credentials)
            for session in list(self._sessions)
            if session.credentials is not None
            and session.credentials.account_id == account_id
        ]
