"""The events of jobs by number: given out, kept for a while, and sent again."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import anyio

from middlewared import Audience, Event
from middlewared.clock import Clock
from middlewared.registry import Registry
from middlewared_jobs.access import read_roles
from middlewared_jobs.announcement import Announcement
from middlewared_jobs.record import JobRecord
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.store import NO_CHANGE, Departure, JobStore, KeptMove, Move
from middlewared_jobs.views import View

__all__ = ["Journal"]

logger = logging.getLogger(__name__)

#: Numbers whose events are read together, so that clients that were away share them;
#: how many such parts stay in memory, and bytes that a part may have for that.
PART, PARTS, PART_BYTES = 256, 16, 2**20
#: Seconds between two looks at the age of events.
LOOK_SECONDS = 60.0


class Journal:
    """Numbers the moves of jobs, and gives back those that were kept.

    What a job was like at a move is put together from its row, so it is gone with it.

    Args:
        store: where moves are kept.
        registry: says who may see the jobs of a method.
        clock: for their age.
        settings: how many are kept, and how long.
        kept: from `JobStore.kept_range`.

    Attributes:
        oldest: moves with higher numbers are kept.
        head: the last number that was given out.
        told: the highest number of a move that was published, if only to nobody;
            removals are published in any case, so that rings know them.
    """

    def __init__(
        self,
        store: JobStore,
        registry: Registry,
        clock: Clock,
        settings: JobSettings,
        kept: tuple[int, int],
    ) -> None:
        self.oldest, self.head = kept
        self.told = self.head
        self._store = store
        self._registry = registry
        self._clock = clock
        self._settings = settings
        #: Moves that may be kept before somebody looks.
        self._most = 1.1 * settings.kept_events
        self._parts: OrderedDict[tuple[str, int], _Part] = OrderedDict()
        self._full = anyio.Event()

    def number(self, announcements: Iterable[Announcement], at: int) -> Sequence[Move]:
        """Give announcements that are about to be written their numbers, in order.

        Args:
            announcements: the moves.
            at: when they happened, milliseconds since 1970-01-01 UTC.
        """
        moves, head = [], self.head
        for told in announcements:
            head += 1
            told.seq = head
            for event in told.events:
                event.seq = head
            change = told.change or NO_CHANGE
            moves.append((head, at, told.job, told.msg, told.size, change))
        self.head = head
        if head - self.oldest > self._most:
            self._full.set()
        return moves

    def number_removed(
        self, announcements: Sequence[Announcement], at: int
    ) -> Sequence[Departure]:
        """Give announcements of removed jobs their numbers, as `number` does.

        Args:
            announcements: the removals, each with the job's owner and method.
            at: when they happen, milliseconds since 1970-01-01 UTC.
        """
        self.number(announcements, at)
        found = []
        for told in announcements:
            gone = told.removal
            assert gone is not None  # noqa: S101 - they are removals
            assert told.seq is not None  # noqa: S101 - they have their numbers
            found.append(Departure(told.seq, at, gone.id, gone.owner, gone.method))
        return found

    def forget(self) -> None:
        """Forget what is in memory: jobs were removed, and their events with them."""
        self._parts.clear()

    # For clients that were away.

    async def replay(self, view: View, after: int, upto: int) -> list[Event] | None:
        """Give kept events by number, at least one when there is any.

        Args:
            view: the shape of the jobs.
            after: those with higher numbers.
            upto: and not above this one.

        Returns:
            None when what follows *after* is not kept any more.
        """
        while after < upto:
            events = await self._part(view, after, upto)
            if after < self.oldest:  # or it went while it was read
                return None
            found = [e for e in events if e.seq and after < e.seq <= upto]
            if found:
                return found
            after = _end_of_part(after)
        return []

    async def _part(self, view: View, after: int, upto: int) -> Sequence[Event]:
        """Give the events of the part that follows a number, or the next of them."""
        key = (view.collection, after // PART)
        last = min(_end_of_part(after), upto)
        part = self._parts.get(key)
        if part is not None and part.upto >= last:
            self._parts.move_to_end(key)
            return part.events
        first = max(key[1] * PART, self.oldest)
        moves = await self._store.moves(first, last, PART_BYTES)
        whole = not moves or moves[-1].seq == last
        if not whole and moves[-1].seq <= after:
            # Too much for one look: what comes before is not wanted again.
            moves = await self._store.moves(after, last, PART_BYTES)
        events = [self._event(view, move) for move in moves]
        if whole:
            self._keep(key, _Part(last, events))
        return events

    def _keep(self, key: tuple[str, int], part: "_Part") -> None:
        self._parts[key] = part
        self._parts.move_to_end(key)
        while len(self._parts) > PARTS:
            self._parts.popitem(last=False)

    def _event(self, view: View, move: KeptMove) -> Event:
        fields = None
        if move.msg != "removed" and move.record is not None:
            fields = partial(_encode, view, move.record)
        roles = read_roles(self._registry.methods.get(move.method))
        return Event(
            view.collection,
            move.msg,
            move.job,
            fields,
            audience=Audience(move.owner, roles),
            seq=move.seq,
        )

    # Letting go.

    async def trim(self) -> None:
        """Let go of events that are too many or too old; the newest one stays."""
        at = self._clock.time_ms() - int(self._settings.kept_events_age * 1000)
        first = await self._store.first_move(at)
        _, newest = await self._store.kept_range()
        by_age = newest if first is None else first - 1
        upto = max(by_age, newest - self._settings.kept_events)
        # The next start goes on counting from the newest.
        upto = min(upto, newest - 1)
        if upto > self.oldest:
            self.oldest = upto
            self._parts.clear()
            await self._store.drop_moves(upto)

    async def keep_trimmed(self) -> None:
        """Trim now and then, and when there are many; until it is cancelled."""
        while True:
            with anyio.move_on_after(LOOK_SECONDS):
                await self._full.wait()
            self._full = anyio.Event()
            try:
                await self.trim()
            except Exception:
                logger.exception("old events of jobs could not be removed")
                await anyio.sleep(LOOK_SECONDS)


class _Part:
    """Events that were read together.

    Attributes:
        upto: all of the part up to this number.
        events: by number.
    """

    __slots__ = ("events", "upto")

    def __init__(self, upto: int, events: Sequence[Event]) -> None:
        self.upto = upto
        self.events = events


def _end_of_part(after: int) -> int:
    """Give the last number of the part that the number after this one is in."""
    return (after // PART + 1) * PART


def _encode(view: View, load: Callable[[], JobRecord]) -> bytes:
    return view.encode(load())
