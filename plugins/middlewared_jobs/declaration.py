"""The plugin: its methods, its collections, and its life."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from middlewared import Context, Plugin
from middlewared.clock import Clock
from middlewared.registry import Registry
from middlewared.shutdown import Shutdown
from middlewared.startup import Startup
from middlewared_auth import Accounts, Tokens
from middlewared_jobs.bulk import add_bulk
from middlewared_jobs.checks import check_jobs
from middlewared_jobs.control import add_control_methods
from middlewared_jobs.download import ROUTE
from middlewared_jobs.downloads import Downloads
from middlewared_jobs.draining import Draining, add_draining
from middlewared_jobs.following import add_collections, begin_collections
from middlewared_jobs.home import settle_in
from middlewared_jobs.ids import JobIds
from middlewared_jobs.jobfiles import JobFiles
from middlewared_jobs.jobs import Jobs
from middlewared_jobs.journal import Journal
from middlewared_jobs.logguard import LogGuard
from middlewared_jobs.methods import add_methods
from middlewared_jobs.offering import add_download
from middlewared_jobs.recovery import recover
from middlewared_jobs.retention import Retention
from middlewared_jobs.seal import Seal
from middlewared_jobs.settings import JobSettings
from middlewared_jobs.sqlite_store import SqliteStore
from middlewared_jobs.tail import add_tail
from middlewared_jobs.upload import UPLOAD, Uploads

__all__ = ["plugin"]

plugin = Plugin(
    "jobs",
    requires=("auth",),
    namespaces=("job", "core"),
    settings=JobSettings,
    migrations=files("middlewared_jobs") / "migrations",
)
add_collections(plugin)
plugin.routes.append(ROUTE)
plugin.routes.extend(UPLOAD)
add_methods(plugin)
add_download(plugin)
add_bulk(plugin)
add_control_methods(plugin)
add_draining(plugin)
plugin.checks.append(check_jobs)
add_tail(plugin)


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Recover what an earlier start left, then accept jobs, once the server serves."""
    settings, registry = ctx.get(JobSettings), ctx.get(Registry)
    store = SqliteStore(ctx.database)
    seal = Seal(ctx.settings.data_path / "jobs.key")
    files = JobFiles(ctx.settings.data_path)
    await settle_in(ctx.database, files.logs)
    ids = JobIds(await store.first_id())
    clock: Clock = ctx.get(Clock)  # type: ignore[type-abstract]  # by protocol
    journal = Journal(store, registry, clock, settings, await store.kept_range())
    jobs = Jobs(ctx, store, journal, settings, ids, seal, files)
    retention = Retention(store, jobs.remove, jobs.live, files, clock, settings)
    guard = LogGuard(jobs.written_logs, settings.max_log)
    ctx.services.provide(Retention, retention)
    ctx.services.provide(Journal, journal)
    downloads = Downloads(ctx.get(Tokens), settings.max_transfers)
    ctx.services.provide(Seal, seal)
    ctx.services.provide(Jobs, jobs)
    ctx.services.provide(Draining, jobs.draining)
    ctx.services.provide(Downloads, downloads)
    ctx.services.provide(Uploads, Uploads(settings.max_transfers))
    registry.runner = jobs
    ctx.get(Shutdown).add_drain(jobs.drain)

    async def begin() -> None:
        data_dir, now = ctx.settings.data_path, clock.time_ms()
        waiting = await recover(store, journal, registry, seal, settings, data_dir, now)
        begin_collections(ctx.events, journal)
        jobs.resume(waiting)
        ctx.tasks.start(journal.keep_trimmed(), name="old events of jobs")
        ctx.tasks.start(retention.keep_swept(), name="old jobs")
        ctx.tasks.start(guard.watch(), name="size of logs")

    ctx.get(Startup).add(begin)
    ctx.get(Accounts).watch(jobs.account_changed)
    try:
        yield
    finally:
        registry.runner = None
        downloads.close()
        await jobs.close()
