"""Notes that people leave for each other: the example of the plugin guide."""

# -- start imports --
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated

import anyio
import click
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from middlewared import (
    CallError,
    Context,
    Date,
    Event,
    Example,
    Plugin,
    Secret,
    ValidationError,
    ValidationErrors,
)
from middlewared.cli.target import Target, connection_options
from middlewared.client import Client
from middlewared.context import Services
from middlewared_auth import Tokens
from middlewared_jobs import Job, job

__all__ = ["Note", "Notes", "NotesSettings", "plugin"]
# -- end imports --


# -- start settings --
class NotesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the plugin can be told, table ``notes``."""

    max_length: Annotated[
        int, Meta(gt=0, description="Characters that a note may have.")
    ] = 1000


# -- end settings --


# -- start plugin --
plugin = Plugin(
    "notes",
    requires=("jobs",),
    settings=NotesSettings,
    migrations=files("middlewared_notes") / "migrations",
    version="1.0",
)
# -- end plugin --


# -- start item --
class Note(msgspec.Struct):
    """A note.

    Attributes:
        id: its number.
        text: what it says.
        author: user name of who wrote it.
        written: when.
    """

    id: int
    text: str
    author: str
    written: Date


# -- end item --


# -- start service --
class Notes:
    """All notes; a note is in the table before anybody hears of it."""

    def __init__(self, ctx: Context, last_id: int) -> None:
        self._database, self._events, self._clock = ctx.database, ctx.events, ctx.clock
        self._last_id = last_id

    async def add(self, text: str, author: str) -> Note:
        """Keep a new note and tell who listens."""
        self._last_id += 1
        note = Note(self._last_id, text, author, Date(self._clock.time_ms()))
        row = (note.id, note.text, note.author, note.written.ms)
        await self._database.execute(("INSERT INTO notes VALUES (?, ?, ?, ?)", row))
        fields = msgspec.json.encode(note)
        self._events.publish(Event("notes.query", "added", note.id, fields))
        return note

    async def list_all(self) -> list[Note]:
        """List the notes, oldest first."""
        rows = await self._database.read("SELECT * FROM notes ORDER BY id")
        return [Note(row[0], row[1], row[2], Date(row[3])) for row in rows]


# -- end service --


# -- start lifespan --
@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Offer the notes while the server runs."""
    rows = await ctx.database.read("SELECT coalesce(max(id), 0) FROM notes")
    ctx.services.provide(Notes, Notes(ctx, last_id=rows[0][0]))
    yield


# -- end lifespan --


# -- start methods --
@plugin.method(
    roles=["NOTES_WRITE"], examples=[Example("a loud note", ["buy milk", True])]
)
async def add(ctx: Context, text: str, *, loud: bool = False) -> Note:
    """Write a note and return it; *loud* ones are in capitals."""
    limit = ctx.get(NotesSettings).max_length
    if len(text) > limit:
        wrong = f"has {len(text)} characters, the limit is {limit}"
        raise ValidationErrors([ValidationError("text", wrong)])
    author = ctx.credentials.username if ctx.credentials else "nobody"
    return await ctx.get(Notes).add(text.upper() if loud else text, author)


@plugin.method(roles=["NOTES_READ"], read_only=True)
async def get(ctx: Context, id: int) -> Note:  # noqa: A002 - the wire's word
    """Return one note."""
    for note in await ctx.get(Notes).list_all():
        if note.id == id:
            return note
    raise CallError(f"there is no note {id}", 2)


# -- end methods --


# -- start collection --
plugin.collection(
    "notes.query",
    Note,
    doc="Notes as they are written.",
    roles=["NOTES_READ"],
    noun="note",
)
# -- end collection --


# -- start source --
class Every(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of ``notes.count``.

    Attributes:
        seconds: between two items.
    """

    seconds: Annotated[float, Meta(ge=0.1)] = 1.0


class Count(msgspec.Struct):
    """How many notes there are."""

    count: int


@plugin.source("notes.count", arguments=Every, item=Count, roles=["NOTES_READ"])
async def count(ctx: Context, arguments: Every) -> AsyncIterator[Count]:
    """How many notes there are, every so many seconds."""
    while True:
        yield Count(len(await ctx.get(Notes).list_all()))
        await anyio.sleep(arguments.seconds)


# -- end source --


# -- start route --
async def as_text(request: Request) -> Response:
    """Send all notes as text to who has a token for it."""
    services: Services = request.state.services
    token = request.query_params.get("auth_token", "")
    origin = request.state.origin
    if services.get(Tokens).take(token, origin, attrs={"notes": "text"}) is None:
        return PlainTextResponse("The token is no good\n", status_code=401)
    notes = await services.get(Notes).list_all()
    return PlainTextResponse("".join(f"{note.text}\n" for note in notes))


plugin.routes.append(Route("/notes.txt", as_text))
# -- end route --


# -- start command --
@click.group(short_help="Leave and read notes.")
def notes() -> None:
    """Leave and read notes."""


@notes.command("add")
@click.argument("text")
@connection_options()
@click.pass_obj
def leave(target: Target, text: str) -> None:
    """Leave a note that says TEXT."""

    async def body(client: Client) -> None:
        note = await client.call("notes.add", text)
        click.echo(f"note {note['id']}")

    target.run(body)


plugin.commands.append(notes)
# -- end command --


# -- start job --
@plugin.method
@job(lock="notes:{path}", logs=True, abortable=True, description="Export to {path}")
async def export(job: Job, path: str) -> int:
    """Write all notes to the new file *path* and return how many there are."""
    notes = await job.context.get(Notes).list_all()
    async with await anyio.open_file(path, "x", encoding="utf-8") as file:
        for number, note in enumerate(notes):
            job.set_progress(100 * number / len(notes), f"note {note.id}")
            await file.write(f"{note.text}\n")
    job.log.info("%d notes written to %s", len(notes), path)
    return len(notes)


# -- end job --


# -- start steps --
@plugin.method
@job(steps=["read", "check"], restartable=True, retries=1, counts={"short": "failed"})
async def inspect(job: Job, shortest: int = 3) -> int:
    """Check all notes and return how many are long enough."""
    async with job.step("read") as step:
        if not step.skipped:
            notes = await job.context.get(Notes).list_all()
            job.checkpoint([note.text for note in notes])
    texts: list[str] = job.checkpointed
    long = 0
    async with job.step("check", total=len(texts)) as step:
        for text in texts:
            step.advance()
            if len(text) >= shortest:
                long += 1
                continue
            job.count("short")
            job.error_item(text, "SHORT", f"has {len(text)} characters")
    return long


# -- end steps --


# -- start wrap --
@plugin.method
@job(abortable=True)
async def inspect_twice(job: Job, shortest: int = 3) -> bool:
    """Tell whether two inspections find the same."""
    first = await job.wrap(await job.start("notes.inspect", shortest))
    second = await job.wrap(await job.start("notes.inspect", shortest))
    return bool(first == second)


# -- end wrap --


# -- start secret --
@plugin.method
@job(logs=True)
async def digest(job: Job, key: Secret[str]) -> str:
    """Return a digest of all notes, made with *key*."""
    job.log.info("the key is %s", key.get())  # the log says ********
    texts = "\n".join(note.text for note in await job.context.get(Notes).list_all())
    return hmac.new(key.get().encode(), texts.encode(), "sha256").hexdigest()


# -- end secret --
