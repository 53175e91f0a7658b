"""A job that returns tables: the demo's scenario for the InfoLink dialect."""

from middlewared import Plugin
from middlewared_auth import JOB_USER
from middlewared_jobs import Column, ColumnType, Job, ResultSet, StandardType, job

__all__ = ["add_scenario"]

#: Types of SQLite, as other databases and people call them.
_TYPES = {
    "TEXT": (ColumnType("nvarchar", "nvarchar(max)"), StandardType("text", "text")),
    "INTEGER": (
        ColumnType("bigint", "bigint", 19),
        StandardType("integer", "integer"),
    ),
}


def add_scenario(plugin: Plugin) -> None:
    """Declare the job on the plugin."""

    @plugin.method(roles=[JOB_USER])
    @job(
        description="Look up companies",
        dialects={"infolink": {"app": "7", "app_name": "Demo", "scenario": "Main"}},
    )
    async def companies(job: Job, search: str = "") -> list[ResultSet]:
        """Return the companies of a table whose name contains *search*."""
        database = job.context.database
        rows = await database.read("PRAGMA table_info(demo_companies)")
        columns = [Column(row[1], *_TYPES[row[2]]) for row in rows]
        found = await database.read(
            "SELECT id, company_name FROM demo_companies "
            "WHERE instr(lower(company_name), lower(?)) ORDER BY id",
            (search,),
        )
        names = [column.name for column in columns]
        records = [dict(zip(names, row, strict=True)) for row in found]
        return [ResultSet("companies", columns, records)]
