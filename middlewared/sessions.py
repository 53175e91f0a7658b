"""The sessions that are open."""

from collections.abc import Iterator

from middlewared.context import Session

__all__ = ["Sessions"]


class Sessions:
    """Every open session, logged in or not, in the order they were opened.

    The server adds and removes them; whoever has to find a login looks here.
    """

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def add(self, session: Session) -> None:
        """Know a session from now on."""
        self._open[session.id] = session

    def discard(self, session: Session) -> None:
        """Forget a session whose client is gone; unknown ones are ignored."""
        self._open.pop(session.id, None)

    def get(self, session_id: str) -> Session | None:
        """Return the session, None when there is none with this id."""
        return self._open.get(session_id)
