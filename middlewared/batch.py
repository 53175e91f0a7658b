"""A batch: its elements wait their turn in it, its answer waits for the last."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol

import msgspec

from middlewared.call import Respond
from middlewared.context import Context
from middlewared.jsonrpc import Element, read_requests, split_batch
from middlewared.session import ClientSession

__all__ = [
    "BATCH_SLICE",
    "Answered",
    "Batch",
    "Ran",
    "Starter",
    "join_answers",
    "wake_next",
]

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


class Ran(msgspec.Struct, eq=False):
    """Handlers of one method that have run, for requests that follow each other.

    Attributes:
        method: what is known of the method.
        context: the rights they ran with.
        results: encoded.
        last: what the handler after them did, when that is something else.
    """

    method: Any
    context: Context
    results: list[bytes]
    last: Any


class Starter(Protocol):
    """Starts what a batch asks for; the dispatcher implements it."""

    def start(self, session: ClientSession, element: bytes, respond: Respond) -> bool:
        """Start any element, and tell whether it is or will be answered."""
        ...

    def start_together(
        self,
        session: ClientSession,
        requests: Sequence[Element],
        answered: Answered,
        ran: Ran | None = None,
    ) -> int:
        """Run requests from the first on that can be answered at once.

        Args:
            session: whose they are.
            requests: they.
            answered: gets the answers.
            ran: the first of them, which have run already.

        Returns:
            How many; all of them are or will be answered.
        """
        ...


def wake_next(session: ClientSession, limit: int) -> None:
    """Wake what waits: the slot that a batch was woken for may be free still."""
    if session.waiting and session.calls < limit:
        asyncio.get_running_loop().call_soon(session.waiting.popleft())


class Batch(msgspec.Struct, eq=False):
    """Requests in one message, with one answer to all of them.

    Args:
        session: whose they are.
        starter: starts them.
        respond: gets the answer, once; nothing when no element has one.
        limit: calls of the session that may be in flight.
    """

    _session: ClientSession
    _starter: Starter
    _respond: Respond | None
    _limit: int
    _answers: list[bytes] = []
    #: Elements that are started and not answered.
    _open: int = 0
    #: Those that wait; most batches have none.
    _elements: deque[bytes] | None = None

    def begin(
        self, raw: bytes, requests: Sequence[Element] | None, ran: Ran | None
    ) -> None:
        """Start what may start now; the rest goes on by itself.

        Args:
            raw: the message, an array of one element or more.
            requests: the same, when `read_requests` could take it apart.
            ran: the first of them, when they have run already.
        """
        if requests is None:
            self._keep(split_batch(raw))
            self._start(BATCH_SLICE)
            return
        count = len(requests)
        if count > BATCH_SLICE:
            self._keep(split_batch(raw))
            self._start_slice()
            return
        done = self._start_together(requests, count, ran)
        if done < count:
            self._keep(split_batch(raw)[done:])
            self._open -= count - done
            self._start(BATCH_SLICE - done)
        else:
            wake_next(self._session, self._limit)

    def _keep(self, elements: list[msgspec.Raw]) -> None:
        # Copies, so that the message goes.
        self._elements = kept = deque(map(bytes, elements))
        self._session.undispatched += sum(map(len, kept))

    def advance(self) -> None:
        """Go on, now that a slot is free."""
        self._start(BATCH_SLICE)

    def _start_slice(self) -> None:
        """Go on in a new tick."""
        elements = self._elements
        assert elements is not None  # noqa: S101 - whoever calls kept them
        requests = read_requests(b"[%b]" % b",".join(islice(elements, BATCH_SLICE)))
        done = 0
        if requests is not None:
            count = len(requests)
            done = self._start_together(requests, count)
            for _ in range(done):
                self._session.undispatched -= len(elements.popleft())
            self._open -= count - done
        self._start(BATCH_SLICE - done)

    def _start_together(
        self, requests: Sequence[Element], count: int, ran: Ran | None = None
    ) -> int:
        """Run those at the front that can be answered at once; say how many.

        Whoever calls takes the others off what is open, once they wait.
        """
        self._open += count
        session = self._session
        if ran is None and session.calls >= self._limit:
            return 0
        return self._starter.start_together(session, requests, self._answer, ran)

    def _start(self, count: int) -> None:
        """Start up to so many; go on when a slot is free, or in the next tick."""
        session, elements = self._session, self._elements
        assert elements is not None  # noqa: S101 - whoever calls kept them
        for _ in range(count):
            if not elements:
                break
            if session.calls >= self._limit:
                session.waiting.append(self.advance)
                return
            element = elements.popleft()
            session.undispatched -= len(element)
            self._open += 1
            if not self._starter.start(session, element, self._answer):
                self._open -= 1
        if elements:
            asyncio.get_running_loop().call_soon(self._start_slice)
            return
        self._finish()
        wake_next(session, self._limit)

    def _answer(self, payload: bytes, count: int = 1) -> None:
        self._answers.append(payload)
        self._open -= count
        self._finish()

    def _finish(self) -> None:
        if self._elements or self._open or self._respond is None:
            return
        self._respond(join_answers(self._answers))
        self._respond = None
