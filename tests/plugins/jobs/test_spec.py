"""The declaration of a job: what it takes, and mistakes at import."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from middlewared import Plugin, PluginError, Secret
from middlewared_jobs import Job, JobFunction, job
from middlewared_jobs.spec import Kind, as_helper

HERE = Path(__file__)


class Options(msgspec.Struct):
    """Options of a job."""

    name: str = "x"
    key: Secret[str] | None = None


class Plain(msgspec.Struct):
    """Options without secrets."""

    name: str = "x"


async def scrub(job: Job, pool: str, *, repair: bool = True) -> int:
    """Read every block."""
    return 1


def in_thread(job: Job, pool: str) -> int:
    """Read every block, in a thread."""
    return 1


async def secretive(job: Job, pool: str, key: Secret[str]) -> None:
    """Take a secret."""


async def optional(job: Job, plain: Plain, options: Options | None = None) -> None:
    """Take a struct that may hold a secret."""


async def generator(job: Job) -> AsyncIterator[int]:
    """Yield, which no job may."""
    yield 1


def plain_generator(job: Job) -> Iterator[int]:
    """Yield, which no job may."""
    yield 1


def declared(function: Callable[..., Any], **options: Any) -> JobFunction[Any]:
    """Declare a job of a function."""
    return job(**options)(function)


def test_all_four_ways_are_valid() -> None:
    """`method` and `job`, each with and without parentheses, declare a job."""
    plugin = Plugin("p", requires=("jobs",))

    @plugin.method
    @job
    async def one(job: Job) -> None:
        """One."""

    @plugin.method()
    @job
    async def two(job: Job) -> None:
        """Two."""

    @plugin.method
    @job()
    async def three(job: Job) -> None:
        """Three."""

    @plugin.method()
    @job()
    async def four(job: Job) -> None:
        """Four."""

    assert list(plugin.methods) == ["p.one", "p.two", "p.three", "p.four"]
    assert all(isinstance(m.deferred, JobFunction) for m in plugin.methods.values())
    assert [m.doc for m in plugin.methods.values()] == [
        *("One.", "Two.", "Three.", "Four.")
    ]


def test_defaults_are_those_of_the_design() -> None:
    """A bare job has no lock, no limit, no log, is not abortable, not transient."""
    spec = declared(scrub).spec
    assert (spec.lock, spec.lock_queue_size, spec.description) == (None, None, None)
    assert (spec.logs, spec.abortable, spec.transient) == (False, False, False)
    assert spec.read_roles == frozenset()


def test_spec_says_what_records_are_given() -> None:
    """What differs from what a record has anyway, also of a spec made of another."""
    assert job()(scrub).spec.chosen == ()
    asked = job(abortable=True, retries=2, timeout=1.5)(scrub)
    assert dict(asked.spec.chosen) == {"abortable": True, "retries": 2, "timeout": 1.5}
    assert as_helper(asked).spec.chosen == asked.spec.chosen


def test_kind_of_function_chooses_the_executor() -> None:
    """A coroutine function runs in the loop, a plain one in a thread or a child."""
    assert declared(scrub).spec.kind is Kind.LOOP
    assert declared(in_thread).spec.kind is Kind.THREAD
    handler = declared(in_thread).handler
    assert job(process=True)(handler).spec.kind is Kind.PROCESS


def test_process_job_is_a_plain_function() -> None:
    """A coroutine function cannot run in a child process."""
    with pytest.raises(PluginError, match="scrub is a coroutine function"):
        job(process=True)(declared(scrub).handler)


@pytest.mark.parametrize(
    ("function", "secret"), [(scrub, False), (secretive, True), (optional, True)]
)
def test_secrets_are_found(function: Callable[..., Any], secret: bool) -> None:
    """A secret is found wherever a param may hold one."""
    assert declared(function).spec.secret is secret


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ("pool", [], "pool"),
        ("pool:{pool}", ["tank"], "pool:tank"),
        ("{pool}/{repair}", ["tank"], "tank/True"),
        ("{pool}/{repair}", ["tank", False], "tank/False"),
        ("{{{pool}}}", ["tank"], "{tank}"),
        ("{pool!r:>8}", ["tank"], "  'tank'"),
    ],
)
def test_templates_take_params(text: str, values: list[Any], filled: str) -> None:
    """A template is filled with params, given or default."""
    lock = declared(scrub, lock=text).spec.lock
    assert lock is not None
    assert lock.fill(values) == filled


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([["/home", "/etc"], "x"], "Back up /home, /etc x <  x>"),
        ([[]], "Back up   <None>"),
        ([["a"], None], "Back up a  <None>"),
    ],
)
def test_templates_for_people(values: list[Any], told: str) -> None:
    """Lists have no brackets and what is not given is nothing, unless formatted."""

    @job(description="Back up {folders} {tag} <{tag!s:>3}>")
    async def body(job: Job, folders: list[str], tag: str | None = None) -> None: ...

    assert body.spec.description is not None
    assert body.spec.description.tell(values) == told


def test_template_reaches_into_a_struct() -> None:
    """A template may name a member of a param."""
    spec = declared(optional, description="Scrub {plain.name}").spec
    assert spec.description is not None
    assert spec.description.fill([Plain("tank")]) == "Scrub tank"


def broken(
    function: Callable[..., Any], match: str, **options: Any
) -> pytest.ExceptionInfo[PluginError]:
    """Declare a job with a mistake and see that it is refused."""
    with pytest.raises(PluginError, match=match) as caught:
        declared(function, **options)
    return caught


def line_of(function: Callable[..., Any]) -> str:
    """Say where a function stands, as errors do."""
    return f"{HERE}:{function.__code__.co_firstlineno}"


@pytest.mark.parametrize("option", ["lock", "description"])
@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{poll}", r"names 'poll', expected one of the parameters pool, repair"),
        ("{}", r"names ''"),
        ("{0}", r"names '0'"),
        ("{pool", r"'\{pool'"),
        ("{job}", r"names 'job'"),
    ],
)
def test_unknown_names_are_refused_at_import(
    option: str, text: str, match: str
) -> None:
    """A template that names no parameter is refused, with file, line and text."""
    caught = broken(scrub, match, **{option: text})
    assert str(caught.value).startswith(f"{line_of(scrub)}: ")
    assert option in str(caught.value)


@pytest.mark.parametrize("option", ["lock", "description"])
def test_secrets_never_go_into_a_template(option: str) -> None:
    """A lock or a description would show the secret, so it is refused."""
    caught = broken(secretive, "shows secret 'key'", **{option: "x{key}"})
    assert line_of(secretive) in str(caught.value)
    broken(optional, "shows secret 'options'", **{option: "{options.key}"})


def test_negative_queue_is_refused() -> None:
    """A queue size is None or at least 0."""
    caught = broken(scrub, "lock_queue_size is -1", lock="x", lock_queue_size=-1)
    assert line_of(scrub) in str(caught.value)


@pytest.mark.parametrize("function", [generator, plain_generator])
def test_generators_are_refused(function: Callable[..., Any]) -> None:
    """A body that yields would never run."""
    caught = broken(function, f"{function.__name__} is a generator")
    assert line_of(function) in str(caught.value)


def test_parameter_without_a_type_is_refused() -> None:
    """The annotations are the schema, so every param needs one."""

    async def bare(job: Job, pool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the mistake
        """Take something."""

    caught = broken(bare, "parameter 'pool' of bare has no type")
    assert line_of(bare) in str(caught.value)


def test_body_without_a_job_is_refused() -> None:
    """The first parameter is the job."""

    async def alone() -> None:
        """Take nothing."""

    caught = broken(alone, "alone takes no context or job")
    assert line_of(alone) in str(caught.value)


def test_method_mistakes_name_file_and_line() -> None:
    """A job method without docstring, or declared twice, is refused with its place."""
    plugin = Plugin("p", requires=("jobs",))

    async def silent(job: Job) -> None:
        pass

    with pytest.raises(PluginError, match=r"p\.silent has no docstring") as caught:
        plugin.method(job(silent))
    assert line_of(silent) in str(caught.value)
    plugin.method(job(scrub))
    with pytest.raises(PluginError, match=r"p\.scrub is declared twice") as caught:
        plugin.method(job(scrub))
    assert len(re.findall(re.escape(line_of(scrub)), str(caught.value))) == 2
