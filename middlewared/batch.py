"""A batch: its elements wait their turn in it, its answer waits for the last."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from middlewared.call import Respond
from middlewared.session import ClientSession

__all__ = ["Batch", "join_answers"]

#: Elements of a batch that are started in one tick of the loop.
BATCH_SLICE = 64


def join_answers(answers: list[bytes]) -> bytes:
    """Write the answer of a batch, nothing when none of its elements has one."""
    return b"[%b]" % b",".join(answers) if answers else b""


class Batch:
    """Requests in one message, with one answer to all of them.

    Args:
        session: whose they are.
        elements: the requests, one or more.
        start: starts one, and tells whether it is or will be answered.
        respond: gets the answer, once; nothing when no element has one.
        limit: calls of the session that may be in flight.
    """

    __slots__ = (
        "_answers",
        "_elements",
        "_limit",
        "_open",
        "_respond",
        "_session",
        "_start",
    )

    def __init__(
        self,
        session: ClientSession,
        elements: list[msgspec.Raw],
        start: Callable[[ClientSession, bytes, Respond], bool],
        respond: Respond,
        limit: int,
    ) -> None:
        self._session = session
        self._respond: Respond | None = respond
        self._elements = deque(bytes(element) for element in elements)
        self._answers: list[bytes] = []
        self._open = 0
        self._start = start
        self._limit = limit
        session.undispatched += sum(map(len, self._elements))

    def advance(self) -> None:
        """Start what may start now; go on when a slot is free, or in the next tick."""
        session = self._session
        for _ in range(BATCH_SLICE):
            if not self._elements:
                break
            if session.calls >= self._limit:
                session.waiting.append(self.advance)
                return
            element = self._elements.popleft()
            session.undispatched -= len(element)
            self._open += 1
            if not self._start(session, element, self._answer):
                self._open -= 1
        loop = asyncio.get_running_loop()
        if self._elements:
            loop.call_soon(self.advance)
            return
        self._finish()
        if session.waiting and session.calls < self._limit:
            # The slot that this batch was woken for may be free still.
            loop.call_soon(session.waiting.popleft())

    def _answer(self, payload: bytes) -> None:
        self._answers.append(payload)
        self._open -= 1
        self._finish()

    def _finish(self) -> None:
        if self._elements or self._open or self._respond is None:
            return
        self._respond(join_answers(self._answers))
        self._respond = None
