"""What the job manager asks of a store; every implementation keeps one contract."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from middlewared.events import Message
from middlewared.filters import Filters, QueryOptions
from middlewared_jobs.liveitem import LiveItem
from middlewared_jobs.notes import ItemError
from middlewared_jobs.record import JobRecord
from middlewared_jobs.removal import Removal
from middlewared_jobs.states import State
from middlewared_jobs.views import View

__all__ = [
    "NO_CHANGE",
    "Departure",
    "JobStore",
    "KeptMove",
    "Move",
    "Page",
    "Saved",
    "Stored",
    "Viewer",
]

#: Called in the loop once it is committed (None) or refused (the reason).
Saved = Callable[[Exception | None], None]


class Viewer(msgspec.Struct, frozen=True):
    """Whose jobs a query may see: own ones, and those of some methods.

    Attributes:
        owner: account id, None when no account is logged in.
        methods: methods whose jobs may be read by role.
    """

    owner: int | None
    methods: frozenset[str] = frozenset()

    def sees(self, record: JobRecord) -> bool:
        """Tell whether one job may be seen."""
        own = self.owner is not None and record.owner == self.owner
        return own or record.method in self.methods


class Stored(msgspec.Struct, frozen=True):
    """An unfinished job as it was left.

    Attributes:
        record: the job.
        params: its params as the store was given them.
    """

    record: JobRecord
    params: bytes | None


#: One event of a job, to be kept for clients that are away, plain since each job has
#: three: its number (numbers rise), when it was in milliseconds since 1970-01-01 UTC,
#: the job, what happened, about how many bytes it has on the wire, and what `change_of`
#: says or `NO_CHANGE`.
Move: TypeAlias = tuple[int, int, int, Message, int, bytes]

#: The row of the job says it, as it does of an end.
NO_CHANGE = b"null"


class Departure(msgspec.Struct, frozen=True):
    """The last event of a job that is removed from history.

    Attributes:
        seq: its number, among those of moves.
        at: when, milliseconds since 1970-01-01 UTC.
        job: the job.
        owner: whose job it was.
        method: of the job.
    """

    seq: int
    at: int
    job: int
    owner: int | None
    method: str


class KeptMove(msgspec.Struct, frozen=True, eq=False):
    """An event of a job as it was kept.

    Attributes:
        seq: its number.
        job: the job.
        msg: what happened.
        owner: whose job it is, or was.
        method: of the job; empty when nothing is known of it any more.
        record: gives the job as it was; None when it was removed since.
    """

    seq: int
    job: int
    msg: Message
    owner: int | None
    method: str
    record: Callable[[], JobRecord] | None


class Page(Protocol):
    """The answer to a query, of which nothing has to be made but text.

    Attributes:
        newest: the order is that of ids, and the highest come first.
        live_needed: of the jobs in memory it may have so many, those with the highest
            ids or those with the lowest; None when any of them.
    """

    @property
    def newest(self) -> bool:
        """Whether the highest ids come first."""
        ...

    @property
    def live_needed(self) -> int | None:
        """How many jobs of those in memory are enough, None for all."""
        ...

    async def read(self, live: Sequence[LiveItem]) -> msgspec.Raw:
        """Read the answer.

        Args:
            live: what is in memory, matches and may be needed; a job that has ended
                meanwhile counts as it is in the store.

        Raises:
            MatchNotFound: the first match is asked for, and there is none.
            Incomparable: values do not compare, of what is in memory.
        """
        ...


class JobStore(Protocol):
    """History of jobs. One writer; reads may run beside it.

    Nothing handed to `save` or `reserve_ids` is in the store before its *saved* is
    called with None; the calls are answered in order.
    """

    async def first_id(self) -> int:
        """Give the first id that was never reserved."""
        ...

    async def unfinished(self) -> Sequence[Stored]:
        """Give the jobs that have not ended, by id."""
        ...

    def save(
        self,
        record: JobRecord,
        params: bytes | None,
        saved: Saved | None,
        errors: Sequence[ItemError] = (),
        moves: Sequence[Move] = (),
    ) -> None:
        """Write a job as it is now; params are erased once it has ended.

        A row of a later attempt is never overwritten by an earlier one.

        Args:
            record: the job.
            params: its params, in clear or sealed.
            saved: called once it is committed or refused.
            errors: items that failed since the last time.
            moves: events to keep, in the same transaction.
        """
        ...

    def reserve_ids(self, first: int, saved: Saved | None) -> None:
        """Write the first id that was never reserved."""
        ...

    def flush(self, saved: Saved) -> None:
        """Call back once everything handed over before is answered."""
        ...

    async def get(self, number: int) -> JobRecord | None:
        """Give one job, None when there is none."""
        ...

    async def find_key(
        self, owner: int | None, method: str, key: str
    ) -> JobRecord | None:
        """Give the job that a caller chose a key for, None when there is none."""
        ...

    async def item_errors(
        self, number: int, offset: int, limit: int
    ) -> Sequence[ItemError]:
        """Give items that a job could not do, in order."""
        ...

    def delete(
        self,
        numbers: Sequence[int],
        saved: Saved | None,
        departures: Sequence[Departure] = (),
    ) -> None:
        """Remove ended jobs and all that belongs to them; unknown ids are ignored.

        Args:
            numbers: the jobs.
            saved: called once it is committed or refused.
            departures: events to keep, in the same transaction.
        """
        ...

    async def count_ended(self, state: State) -> int:
        """Count the jobs that ended in a state."""
        ...

    async def oldest(
        self, state: State, before: int | None, limit: int
    ) -> Sequence[Removal]:
        """Give jobs that ended in a state, those that did so first first.

        Args:
            state: the state.
            before: those that ended before this time, milliseconds since 1970-01-01
                UTC; None for all.
            limit: how many at most.
        """
        ...

    async def known(self, numbers: Sequence[int]) -> set[int]:
        """Give those of some numbers that jobs have."""
        ...

    async def kept_range(self) -> tuple[int, int]:
        """Give the number before the oldest kept event, and that of the newest."""
        ...

    async def moves(self, after: int, upto: int, size: int) -> Sequence[KeptMove]:
        """Give kept events by number, at least one when there is any.

        Args:
            after: those with higher numbers.
            upto: and not above this one.
            size: no more than so many bytes together, or one.
        """
        ...

    async def first_move(self, at: int) -> int | None:
        """Give the number of the oldest kept event that is not older than *at*."""
        ...

    async def drop_moves(self, upto: int) -> None:
        """Keep the events up to a number no longer."""
        ...

    async def find(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
        limit: int,
        *,
        newest: bool,
    ) -> Sequence[JobRecord]:
        """Give ended jobs that match, at least the first *limit* of the order.

        Args:
            filters: on what *view* shows.
            options: of which only the order and what it sorts count.
            view: the shape that filters and order speak of.
            viewer: whose jobs, None for all.
            limit: how many matches are needed.
            newest: when no order is asked, the newest are needed, else the oldest.
        """
        ...

    def page(
        self,
        filters: Filters,
        options: QueryOptions,
        view: View,
        viewer: Viewer | None,
    ) -> Page | None:
        """Give what reads the answer to a query as text.

        Args:
            filters: on what *view* shows.
            options: what is asked for; not a count.
            view: the shape of the answer.
            viewer: whose jobs, None for all.

        Returns:
            None when jobs have to be looked at, or the store has no such way.
        """
        ...

    async def count(
        self,
        filters: Filters,
        view: View,
        viewer: Viewer | None,
        *,
        without: Sequence[int],
    ) -> int:
        """Count the ended jobs that match, *without* those with these ids."""
        ...
