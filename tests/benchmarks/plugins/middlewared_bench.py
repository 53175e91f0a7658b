"""A plugin for the benchmarks: methods and jobs that do what a row needs."""

from benchmarks.work import Report, make_report

from middlewared import Context, Plugin

plugin = Plugin("bench")


@plugin.method(read_only=True)
async def typed(
    ctx: Context,
    pool: str,
    dataset: str,
    recursive: bool,
    count: int,
    ratio: float,
    tags: list[str],
    limits: dict[str, int],
    description: str | None,
    started: int,
    owner: str,
) -> Report:
    """Make a report."""
    return make_report(pool, owner, count)
