"""Who may see the secrets in a job's result: the sessions that asked for the job."""

from middlewared import Credentials
from middlewared.session import ClientSession

__all__ = ["Insiders"]


class Insiders:
    """The sessions whose call created or joined a job.

    Another account that logs in on such a connection sees nothing of it.
    """

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[ClientSession, Credentials] = {}

    def add(self, session: ClientSession | None, who: Credentials | None) -> None:
        """Let a session see the secrets, as the login that it has now."""
        if session is not None and who is not None:
            self._sessions[session] = who

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def __contains__(self, session: object) -> bool:
        if not isinstance(session, ClientSession):
            return False
        then, now = self._sessions.get(session), session.credentials
        if then is None or now is None:
            return False
        if then.account_id is None:
            return now.login_id == then.login_id
        return now.account_id == then.account_id
