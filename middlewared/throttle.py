"""At most so many events a second about one thing; the last one always comes."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from middlewared.sendqueue import Importance

__all__ = ["Paced", "Throttle"]

#: Things that may be remembered before those whose time is over are forgotten.
MIN_KEYS = 1024


class Paced(Protocol):
    """An event as a throttle sees it."""

    importance: Importance

    @property
    def id(self) -> Hashable:
        """What it is about."""
        ...


P = TypeVar("P", bound=Paced)


class Throttle(Generic[P]):
    """Holds events back that come too soon after the last one about the same thing.

    Only those hold that give way to newer ones anyway (`Importance.NEWEST`), and of
    them the newest; all others pass at once. So memory is bounded by the number of
    things that change at one time, and the order of one thing is kept.

    Args:
        rate: events a second about one thing.
        deliver: takes what is due, in the loop.
    """

    def __init__(self, rate: float, deliver: Callable[[P], None]) -> None:
        self._interval = 1 / rate
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._due: dict[Hashable, float] = {}
        self._held: dict[Hashable, tuple[P, asyncio.TimerHandle]] = {}
        self._sweep_at = MIN_KEYS

    def __len__(self) -> int:
        return len(self._due)

    def put(self, event: P) -> None:
        """Deliver an event now, or when its time has come."""
        key = event.id
        if event.importance is not Importance.NEWEST:
            self._drop(key)
            self._pass(event)
        elif key in self._held:
            self._held[key] = (event, self._held[key][1])
        elif (due := self._due.get(key, 0.0)) <= self._loop.time():
            self._pass(event)
        else:
            self._held[key] = (event, self._loop.call_at(due, self._flush, key))

    def close(self) -> None:
        """Forget what is held back."""
        for key in list(self._held):
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        if key in self._held:
            self._held.pop(key)[1].cancel()

    def _flush(self, key: Hashable) -> None:
        self._pass(self._held.pop(key)[0])

    def _pass(self, event: P) -> None:
        now = self._loop.time()
        if len(self._due) >= self._sweep_at:
            self._due = {key: due for key, due in self._due.items() if due > now}
            self._sweep_at = max(MIN_KEYS, 2 * len(self._due))
        self._due[event.id] = now + self._interval
        self._deliver(event)
