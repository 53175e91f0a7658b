"""The collections of jobs: the items there are, and the events that were missed."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

from middlewared import Context, Event, Plugin
from middlewared.events import EventBus, Wanted
from middlewared.filters import parse_filters
from middlewared.registry import Registry
from middlewared_jobs.access import read_roles, viewer_of
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.journal import Journal
from middlewared_jobs.record import CoreGetJobsItem, JobRecord
from middlewared_jobs.run import Run
from middlewared_jobs.views import ITEM, RECORD, VIEWS, View

__all__ = ["add_collections", "begin_collections"]


def add_collections(plugin: Plugin) -> None:
    """Declare the collections on the plugin."""
    plugin.collection(
        ITEM.collection,
        CoreGetJobsItem,
        doc="Updates on job changes.",
        authenticated=True,
        noun="job",
        snapshot=partial(_snapshot, ITEM),
        replay=partial(_replay, ITEM),
        removed_on_request=True,
    )
    plugin.collection(
        RECORD.collection,
        JobRecord,
        doc="Updates on job changes and removed jobs, with every key of the record.",
        authenticated=True,
        noun="job",
        snapshot=partial(_snapshot, RECORD),
        replay=partial(_replay, RECORD),
    )


def begin_collections(bus: EventBus, journal: Journal) -> None:
    """Say where the numbers go on, once everything before is committed."""
    journal.told = journal.head
    for view in VIEWS:
        bus.begin(view.collection, lambda: journal.told)


async def _replay(
    view: View, ctx: Context, after: int, upto: int
) -> list[Event] | None:
    return await ctx.get(Journal).replay(view, after, upto)


async def _snapshot(view: View, ctx: Context, wanted: Wanted) -> Iterable[Event]:
    """Give the newest jobs that have ended, then all that have not."""
    jobs, registry = ctx.get(Jobs), ctx.get(Registry)
    # First what is in memory: a job that ends meanwhile is shown as it is by then.
    runs = [run for run in jobs.live.values() if run.accepted]
    if wanted.news_since is not None:
        news = [run for run in runs if run.loose_at > wanted.news_since]
        return (_shown(view, registry, run.record) for run in news)
    live = set(jobs.live)
    filters = parse_filters(wanted.filters)
    ended = await jobs.history.newest(filters, view, viewer_of(ctx))
    records = (record for record in ended if record.id not in live)
    return (_shown(view, registry, record) for record in chain(records, _records(runs)))


def _records(runs: Iterable[Run]) -> Iterator[JobRecord]:
    for run in runs:
        yield run.record


def _shown(view: View, registry: Registry, record: JobRecord) -> Event:
    roles = read_roles(registry.methods.get(record.method))
    return Event(
        view.collection,
        "added",
        record.id,
        partial(view.encode, record),
        audience=record.audience(roles),
    )
