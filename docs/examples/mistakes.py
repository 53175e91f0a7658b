"""Declarations that are wrong, and what their author is told when they are imported."""

from typing import NamedTuple

__all__ = ["MISTAKES", "PRELUDE", "Mistake"]

PRELUDE = """
from collections.abc import AsyncIterator
from middlewared import Context, Example, Plugin, Secret
from middlewared_jobs import Job, job
plugin = Plugin("notes")
"""

_BODY = '-> None:\n    """Do something."""\n'


class Mistake(NamedTuple):
    """A wrong declaration.

    Attributes:
        words: what is wrong.
        code: the declaration; it follows `PRELUDE`.
        message: the error, after the file and the line.
    """

    words: str
    code: str
    message: str


MISTAKES = [
    Mistake(
        "a method without a docstring",
        "@plugin.method\nasync def add(ctx: Context) -> None: ...",
        "notes.add has no docstring",
    ),
    Mistake(
        "two methods with one name",
        f"@plugin.method\nasync def add(ctx: Context) {_BODY}" * 2,
        "notes.add is declared twice, first at ...",
    ),
    Mistake(
        "a parameter without a type",
        f"@plugin.method\nasync def add(ctx: Context, text) {_BODY}",
        "parameter 'text' of add has no type",
    ),
    Mistake(
        "a type that does not exist",
        f'@plugin.method\nasync def add(ctx: Context, text: "Text") {_BODY}',
        "add: name 'Text' is not defined",
    ),
    Mistake(
        "parameters that no client can send",
        f"@plugin.method\nasync def add(ctx: Context, *all: str) {_BODY}",
        "parameter 'all' of add is variadic positional, expected one that can be sent "
        "by position and by name",
    ),
    Mistake(
        "an example that the method would refuse",
        '@plugin.method(examples=[Example("two", {"n": "2"})])\n'
        f"async def add(ctx: Context, n: int) {_BODY}",
        "notes.add: example 'two': [EINVAL] n: Expected `int`, got `str`",
    ),
    Mistake(
        "no first parameter for the context or the job",
        f"@plugin.method\nasync def add() {_BODY}",
        "add takes no context or job",
    ),
    Mistake(
        "a generator as a method",
        "@plugin.method\nasync def all(ctx: Context) -> AsyncIterator[int]:\n"
        '    """Do something."""\n    yield 1',
        "all is a generator, expected a function or a coroutine function",
    ),
    Mistake(
        "a namespace that is not the plugin's",
        '@plugin.method(namespace="core")\nasync def add(ctx: Context) -> None:\n'
        '    """Add."""',
        "namespace 'core' is none of plugin 'notes', expected one of notes",
    ),
    Mistake(
        "a lock that names no parameter",
        '@plugin.method\n@job(lock="notes:{file}")\n'
        'async def export(job: Job, path: str) -> None:\n    """Export."""',
        "lock 'notes:{file}' names 'file', expected one of the parameters path",
    ),
    Mistake(
        "a description that shows a secret",
        '@plugin.method\n@job(description="Seal with {key}")\n'
        'async def seal(job: Job, key: Secret[str]) -> None:\n    """Seal."""',
        "description 'Seal with {key}' shows secret 'key'",
    ),
    Mistake(
        "a negative `lock_queue_size`",
        '@plugin.method\n@job(lock="notes", lock_queue_size=-1)\n'
        'async def export(job: Job) -> None:\n    """Export."""',
        "lock_queue_size is -1, expected None or at least 0",
    ),
    Mistake(
        "a pipe that there is not",
        '@plugin.method\n@job(pipes=["log"])\n'
        'async def export(job: Job) -> None:\n    """Export."""',
        "pipes is ['log'], expected 'input', 'output' or both",
    ),
    Mistake(
        "two lifespans",
        "@plugin.lifespan\ndef start(ctx: Context): ...\n"
        "@plugin.lifespan\ndef begin(ctx: Context): ...",
        "plugin 'notes' has a lifespan already, at ...",
    ),
    Mistake(
        "a source without a docstring",
        '@plugin.source("notes.count", arguments=int, item=int)\n'
        "async def count(ctx: Context, arguments: int) -> AsyncIterator[int]:\n"
        "    yield 1",
        "notes.count has no docstring",
    ),
]
