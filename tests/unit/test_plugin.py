"""What a plugin author declares, and what is told at import when it is wrong."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from middlewared import Context, Example, Plugin, PluginError, Secret
from middlewared.access import Access
from middlewared.plugin import Deferred, Executor


async def names(ctx: Context, pool: str = "tank") -> list[str]:
    """List the names.

    Of everything.
    """
    return [pool]


def line(function: Callable[..., Any]) -> str:
    return f"{__file__}:{function.__code__.co_firstlineno}"


class TestExamples:
    """Calls that the documents show."""

    def test_examples_are_kept(self) -> None:
        """In order; params by position or by name, with or without a result."""
        plugin = Plugin("pool")
        shown = [
            Example("all", [], ["tank"]),
            Example("one", {"pool": "a"}),
            Example("none", ["a"], []),
        ]
        plugin.method(examples=shown)(names)
        assert plugin.methods["pool.names"].examples == tuple(shown)

    def test_secrets_are_checked_like_others(self) -> None:
        """A secret in an example is written in clear."""

        async def key(ctx: Context, old: Secret[str]) -> Secret[str]:
            """Change a key."""
            return old

        plugin = Plugin("pool")
        plugin.method(examples=[Example("it", ["a"], "b")])(key)
        assert len(plugin.methods["pool.key"].examples) == 1

    @pytest.mark.parametrize(
        ("example", "text"),
        [
            (Example("bad", [1]), "pool: Expected `str`, got `int`"),
            (Example("bad", ["a", "b"]), "Too many arguments"),
            (Example("bad", {"disk": "a"}), "disk"),
            (Example("bad", [], [1]), "Expected `str`, got `int` - at `$[0]`"),
            (Example("bad", [], None), "Expected `array`, got `null`"),
        ],
    )
    def test_example_that_does_not_fit(self, example: Example, text: str) -> None:
        """What the method would refuse is refused at import, with the place."""
        with pytest.raises(PluginError, match=re.escape(text)) as caught:
            Plugin("pool").method(examples=[example])(names)
        assert str(caught.value).startswith(
            f"{line(names)}: pool.names: example 'bad': "
        )


class TestMethod:
    """Declaring a method."""

    def test_without_parentheses(self) -> None:
        """The function stays what it was, its declaration is the plugin's."""
        plugin = Plugin("pool", version="1.2")
        assert plugin.method(names) is names
        method = plugin.methods["pool.names"]
        assert (method.name, method.plugin) == ("pool.names", "pool")
        assert method.handler is names
        assert method.access == Access()
        assert method.params.names == ("pool",)
        assert method.results.kind == list[str]
        assert method.doc == "List the names.\n\nOf everything."
        assert method.where == line(names)
        assert method.deferred is None

    def test_with_parentheses(self) -> None:
        """Roles, name and namespace may be said."""
        plugin = Plugin("pool", namespaces=("pool", "disk"))
        declare = plugin.method(roles=["READ"], namespace="disk", name="ls")
        assert declare(names) is names
        assert plugin.methods["disk.ls"].access == Access(frozenset({"READ"}))

    @pytest.mark.parametrize(
        ("options", "access"),
        [
            ({"authenticated": True}, Access(authenticated=True)),
            ({"public": True}, Access(public=True)),
            ({"read_only": True}, Access(read_only=True)),
            ({"roles": ("A", "B")}, Access(frozenset({"A", "B"}))),
        ],
    )
    def test_access(self, options: dict[str, Any], access: Access) -> None:
        """Who may call is what was declared, full admins only by default."""
        plugin = Plugin("pool")
        plugin.method(**options)(names)
        assert plugin.methods["pool.names"].access == access

    def test_kind_of_the_handler_chooses_the_executor(self) -> None:
        """Coroutine functions run in the loop, functions in a thread if not at once."""

        def blocking(ctx: Context) -> None:
            """Block."""

        plugin = Plugin("pool")
        plugin.method(names)
        plugin.method(blocking)
        plugin.method(immediate=True, name="now")(names)
        plugin.method(immediate=True, name="at_once")(blocking)
        assert [m.executor for m in plugin.methods.values()] == [
            Executor.ASYNC,
            Executor.THREAD,
            Executor.IMMEDIATE,
            Executor.IMMEDIATE,
        ]

    def test_deferred(self) -> None:
        """What outlives its request is handed to a runner, with its declaration."""
        plugin = Plugin("pool")
        deferred = Deferred(names)
        assert plugin.method(deferred) is deferred
        method = plugin.methods["pool.names"]
        assert method.executor is Executor.DEFERRED
        assert method.deferred is deferred
        assert method.handler is names

    def test_every_namespace_must_be_the_plugins(self) -> None:
        """A name that the plugin does not serve is a mistake."""
        with pytest.raises(PluginError) as caught:
            Plugin("pool", namespaces=("a", "b")).method(namespace="c")(names)
        assert str(caught.value) == (
            f"{line(names)}: namespace 'c' is none of plugin 'pool', "
            "expected one of a, b"
        )

    def test_twice(self) -> None:
        """Two methods of one name are refused, with both places."""

        async def other(ctx: Context) -> None:
            """Be another one."""

        plugin = Plugin("pool")
        plugin.method(names)
        with pytest.raises(PluginError) as caught:
            plugin.method(name="names")(other)
        assert str(caught.value) == (
            f"{line(other)}: pool.names is declared twice, first at {line(names)}"
        )


async def no_docstring(ctx: Context) -> None:
    pass


def untyped(ctx: Context, pool) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - that is the case
    """Forget a type."""


def blocking(ctx: Context) -> None:
    """Block."""


def no_context() -> None:
    """Take nothing."""


def generator(ctx: Context) -> Iterator[int]:
    """Yield."""
    yield 1


async def async_generator(ctx: Context) -> AsyncIterator[int]:
    """Yield, too."""
    yield 1


def unknown_result(ctx: Context) -> "NoSuchType":  # type: ignore[name-defined]  # noqa: F821 - that is the case
    """Promise what is not there."""


class Unfinished(msgspec.Struct):
    """Names a type that is not there."""

    field: "NoSuchType"  # type: ignore[name-defined]  # noqa: F821 - that is the case


def unfinished_param(ctx: Context, value: Unfinished) -> None:
    """Take it."""


def unfinished_result(ctx: Context) -> Unfinished | None:
    """Give it."""
    return None


@pytest.mark.parametrize(
    ("handler", "options", "text"),
    [
        (no_docstring, {}, "pool.no_docstring has no docstring"),
        (untyped, {}, "parameter 'pool' of untyped has no type"),
        (no_context, {}, "no_context takes no context or job"),
        (generator, {}, "generator is a generator, expected a function"),
        (async_generator, {}, "async_generator is a generator, expected a function"),
        (unknown_result, {}, "unknown_result: name 'NoSuchType' is not defined"),
        (unfinished_param, {}, "unfinished_param: name 'NoSuchType' is not defined"),
        (unfinished_result, {}, "unfinished_result: name 'NoSuchType' is not defined"),
        (names, {"namespace": "disk"}, "namespace 'disk' is none of plugin 'pool'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistakes(
    handler: Callable[..., Any], options: dict[str, Any], text: str
) -> None:
    """Each is told with file and line, and nothing is declared."""
    plugin = Plugin("pool")
    with pytest.raises(PluginError, match=re.escape(f"{line(handler)}: {text}")):
        plugin.method(**options)(handler)
    assert not plugin.methods


class Item(msgspec.Struct):
    """An item."""

    id: int


def test_declaration_does_no_work() -> None:
    """A new plugin serves its own name and has nothing."""
    plugin = Plugin("pool")
    assert plugin.namespaces == ("pool",)
    assert plugin.requires == ()
    assert repr(plugin) == "Plugin('pool')"
    declared = (plugin.methods, plugin.collections, plugin.sources, plugin.routes)
    assert not any(declared)
    assert plugin.start is None


def test_collection() -> None:
    """A collection has a name, an item, a sentence, and who may subscribe."""
    plugin = Plugin("pool")
    plugin.collection("pool.query", Item, doc="Sent on changes.", roles=["READ"])
    (found,) = plugin.collections
    assert (found.name, found.item, found.doc) == (
        "pool.query",
        Item,
        "Sent on changes.",
    )
    assert found.access == Access(frozenset({"READ"}), read_only=True)


def test_source() -> None:
    """A source is an async generator with a docstring."""
    plugin = Plugin("pool")

    @plugin.source("pool.tail", arguments=Item, item=Item, authenticated=True)
    async def tail(ctx: Context, arguments: Item) -> AsyncIterator[Item]:
        """Give the argument back."""
        yield arguments

    (found,) = plugin.sources
    assert (found.name, found.stream, found.doc) == (
        "pool.tail",
        tail,
        "Give the argument back.",
    )
    assert found.access == Access(authenticated=True, read_only=True)


def test_source_without_docstring() -> None:
    """A source is documented like a method."""

    async def tail(ctx: Context, arguments: Item) -> AsyncIterator[Item]:
        yield arguments

    with pytest.raises(PluginError) as caught:
        Plugin("pool").source("pool.tail", arguments=Item, item=Item)(tail)
    assert str(caught.value) == f"{line(tail)}: pool.tail has no docstring"


def test_lifespan_once() -> None:
    """A plugin has one start, the second one is told where the first is."""
    plugin = Plugin("pool")

    @asynccontextmanager
    async def start(ctx: Context) -> AsyncIterator[None]:
        yield

    assert plugin.lifespan(start) is start
    assert plugin.start is start
    with pytest.raises(PluginError) as caught:
        plugin.lifespan(start)
    place = f"{__file__}:\\d+"
    text = f"{place}: plugin 'pool' has a lifespan already, at {place}"
    assert re.fullmatch(text, str(caught.value))


def test_built_of_its_table_once() -> None:
    """A plugin has a struct for its table or one function that takes it, not both."""

    def build(table: Mapping[str, Any]) -> Plugin:
        return Plugin("pool")

    plugin = Plugin("pool")
    assert plugin.from_table(build) is build
    assert plugin.build is build
    typed = Plugin("pool", settings=Item)
    for declared, what in ((plugin, "such a function"), (typed, "settings")):
        with pytest.raises(PluginError) as caught:
            declared.from_table(build)
        text = f"{line(build)}: plugin 'pool' has {what} already"
        assert str(caught.value) == text
