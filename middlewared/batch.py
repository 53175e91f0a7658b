"""A batch: its elements wait their turn in it, its answer waits for the last."""

import asyncio
from collections import deque
from itertools import islice
from typing import Protocol

import msgspec

from middlewared.call import Respond
from middlewared.jsonrpc import Requests, read_requests, split_batch
from middlewared.session import ClientSession

__all__ = ["Answered", "Batch", "Starter", "join_answers"]

#: Elements of a batch that are started in one tick of the loop.
BATCH_SLICE = 64


def join_answers(answers: list[bytes]) -> bytes:
    """Write the answer of a batch, nothing when none of its elements has one."""
    return b"".join((b"[", b",".join(answers), b"]")) if answers else b""


class Answered(Protocol):
    """Gets answers to elements of a batch."""

    def __call__(self, payload: bytes, count: int = 1) -> None:
        """Take the text of so many answers, a comma between each two of them."""
        ...


class Starter(Protocol):
    """Starts what a batch asks for; the dispatcher implements it."""

    def start(self, session: ClientSession, element: bytes, respond: Respond) -> bool:
        """Start any element, and tell whether it is or will be answered."""
        ...

    def start_together(
        self, session: ClientSession, requests: Requests, answered: Answered
    ) -> int:
        """Run requests from the first on that can be answered at once.

        Returns:
            How many; all of them are or will be answered.
        """
        ...


class Batch:
    """Requests in one message, with one answer to all of them.

    Args:
        session: whose they are.
        starter: starts them.
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
        "_starter",
    )

    def __init__(
        self, session: ClientSession, starter: Starter, respond: Respond, limit: int
    ) -> None:
        self._session = session
        self._respond: Respond | None = respond
        self._elements: deque[bytes] = deque()
        self._answers: list[bytes] = []
        self._open = 0
        self._starter = starter
        self._limit = limit

    def begin(self, raw: bytes, requests: Requests | None) -> None:
        """Start what may start now; the rest goes on by itself.

        Args:
            raw: the message, an array of one element or more.
            requests: the same, when `read_requests` could take it apart.
        """
        if requests is None:
            self._keep(split_batch(raw))
            self._start(BATCH_SLICE)
            return
        if len(requests.methods) > BATCH_SLICE:
            self._keep(split_batch(raw))
            self._start_slice()
            return
        done, left = self._start_together(requests), len(requests.methods)
        left -= done
        if left:
            self._keep(split_batch(raw)[done:])
            self._open -= left
            self._start(BATCH_SLICE - done)
        else:
            self._wake_next()

    def _keep(self, elements: list[msgspec.Raw]) -> None:
        # Copies, so that the message goes.
        self._elements.extend(map(bytes, elements))
        self._session.undispatched += sum(map(len, self._elements))

    def advance(self) -> None:
        """Go on, now that a slot is free."""
        self._start(BATCH_SLICE)

    def _start_slice(self) -> None:
        """Go on in a new tick."""
        elements = self._elements
        requests = read_requests(b"[%b]" % b",".join(islice(elements, BATCH_SLICE)))
        done = 0
        if requests is not None:
            done = self._start_together(requests)
            for _ in range(done):
                self._session.undispatched -= len(elements.popleft())
            self._open -= len(requests.methods) - done
        self._start(BATCH_SLICE - done)

    def _start_together(self, requests: Requests) -> int:
        """Run those at the front that can be answered at once; say how many.

        Whoever calls takes the others off what is open, once they wait.
        """
        self._open += len(requests.methods)
        if self._session.calls >= self._limit:
            return 0
        starter, session = self._starter, self._session
        return starter.start_together(session, requests, self._answer)

    def _start(self, count: int) -> None:
        """Start up to so many; go on when a slot is free, or in the next tick."""
        session = self._session
        for _ in range(count):
            if not self._elements:
                break
            if session.calls >= self._limit:
                session.waiting.append(self.advance)
                return
            element = self._elements.popleft()
            session.undispatched -= len(element)
            self._open += 1
            if not self._starter.start(session, element, self._answer):
                self._open -= 1
        if self._elements:
            asyncio.get_running_loop().call_soon(self._start_slice)
            return
        self._finish()
        self._wake_next()

    def _wake_next(self) -> None:
        """Wake what waits: the slot that this batch was woken for may be free still."""
        session = self._session
        if session.waiting and session.calls < self._limit:
            asyncio.get_running_loop().call_soon(session.waiting.popleft())

    def _answer(self, payload: bytes, count: int = 1) -> None:
        self._answers.append(payload)
        self._open -= count
        self._finish()

    def _finish(self) -> None:
        if self._elements or self._open or self._respond is None:
            return
        self._respond(join_answers(self._answers))
        self._respond = None
