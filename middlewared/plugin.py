"""What a plugin author declares: methods, collections, routes, a lifespan."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum
from importlib.resources.abc import Traversable
from typing import Any, Generic, TypeVar, overload

import click
import msgspec
from starlette.routing import BaseRoute

from middlewared.access import Access
from middlewared.context import Context
from middlewared.ejson import dec_hook
from middlewared.errors import PluginError, ValidationErrors
from middlewared.events import Collection, Replay, Snapshot, Source
from middlewared.examination import Check
from middlewared.params import UNRESOLVED, Params, location
from middlewared.results import Results

__all__ = ["Deferred", "Example", "Executor", "Lifespan", "Method", "Plugin"]

H = TypeVar("H", bound=Callable[..., Any])
Lifespan = Callable[[Context], AbstractAsyncContextManager[None]]


class Executor(Enum):
    """How a handler runs."""

    #: Run in the loop without a task; it may not suspend.
    IMMEDIATE = "immediate"
    #: In a task of its own in the loop.
    ASYNC = "async"
    #: In a thread.
    THREAD = "thread"
    #: Handed to the runner that a plugin registered: it outlives the request.
    DEFERRED = "deferred"


class Deferred(Generic[H]):
    """A handler whose run outlives its request; `middlewared_jobs.job` makes them.

    Attributes:
        handler: the author's function.
        read_roles: roles whose holders may see the runs of others.
        spec: how its runs are run, as the runner understands it and documents show it.
    """

    spec: msgspec.Struct | None = None

    def __init__(self, handler: H, read_roles: frozenset[str] = frozenset()) -> None:
        self.handler = handler
        self.read_roles = read_roles


F = TypeVar("F", bound=Callable[..., Any] | Deferred[Any])


class Example(msgspec.Struct, frozen=True):
    """A call as the documents show it.

    Attributes:
        name: what it shows, a few words.
        params: as a client sends them, an array or an object.
        result: what is answered, if that is shown.
    """

    name: str
    params: list[Any] | dict[str, Any]
    result: Any = msgspec.UNSET


class Method(msgspec.Struct, frozen=True, eq=False):
    """One method that clients can call.

    Attributes:
        name: full name, namespace first.
        plugin: name of the plugin.
        handler: the author's function.
        executor: how it runs.
        params: decoder of its params.
        results: encoder of its result.
        access: who may call it.
        doc: its docstring, which is its public documentation.
        where: file and line of the handler.
        deferred: the declaration that the runner understands.
        examples: calls of it, for the documents.
    """

    name: str
    plugin: str
    handler: Callable[..., Any]
    executor: Executor
    params: Params
    results: Results
    access: Access
    doc: str
    where: str
    deferred: Deferred[Any] | None = None
    examples: tuple[Example, ...] = ()


def _results(params: Params, handler: Callable[..., Any]) -> Results:
    try:
        return Results(params.returns)
    except UNRESOLVED as exc:
        raise PluginError(f"{location(handler)}: {handler.__name__}: {exc}") from None


def _check_example(example: Example, params: Params, where: str) -> None:
    """Refuse an example that the method would refuse."""
    given = example.params
    args, named = ([], given) if isinstance(given, dict) else (given, {})
    try:
        params.bind(args, named)
        if example.result is not msgspec.UNSET:
            msgspec.convert(
                example.result, params.returns, str_keys=True, dec_hook=dec_hook
            )
    except (ValidationErrors, msgspec.ValidationError) as exc:
        raise PluginError(f"{where}: example {example.name!r}: {exc}".strip()) from None


def _executor(handler: Callable[..., Any], *, immediate: bool) -> Executor:
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise PluginError(
            f"{location(handler)}: {handler.__name__} is a generator, expected a "
            "function or a coroutine function"
        )
    if immediate:
        return Executor.IMMEDIATE
    return Executor.ASYNC if inspect.iscoroutinefunction(handler) else Executor.THREAD


class Plugin:
    """A plugin's declaration; making it does no work.

    Args:
        name: short name, unique in the server.
        requires: names of plugins that start before this one.
        namespaces: first parts of its method names; by default its own name. A plugin
            may serve several, and two plugins may share one.
        settings: struct of its table in the settings; `Context.get` gives it back.
        migrations: folder of its numbered SQL files.
        version: shown in errors about its jobs.

    Attributes:
        routes: append Starlette's, to serve HTTP.
        commands: append click's, for the program ``middlewared``.
        checks: append what ``middlewared doctor`` shall look at.
    """

    def __init__(
        self,
        name: str,
        *,
        requires: Iterable[str] = (),
        namespaces: Iterable[str] = (),
        settings: type[msgspec.Struct] | None = None,
        migrations: Traversable | None = None,
        version: str = "",
    ) -> None:
        self.name = name
        self.requires = tuple(requires)
        self.namespaces = tuple(namespaces) or (name,)
        self.settings = settings
        self.migrations = migrations
        self.version = version
        self.methods: dict[str, Method] = {}
        self.collections: list[Collection] = []
        self.sources: list[Source] = []
        self.routes: list[BaseRoute] = []
        self.commands: list[click.Command] = []
        self.checks: list[Check] = []
        self.start: Lifespan | None = None
        self.build: Callable[[Mapping[str, Any]], Plugin] | None = None

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"

    @overload
    def method(self, handler: F, /) -> F: ...

    @overload
    def method(
        self,
        /,
        *,
        roles: Iterable[str] = (),
        authenticated: bool = False,
        public: bool = False,
        read_only: bool = False,
        immediate: bool = False,
        namespace: str | None = None,
        name: str | None = None,
        examples: Iterable[Example] = (),
    ) -> Callable[[F], F]: ...

    def method(
        self,
        handler: F | None = None,
        /,
        *,
        roles: Iterable[str] = (),
        authenticated: bool = False,
        public: bool = False,
        read_only: bool = False,
        immediate: bool = False,
        namespace: str | None = None,
        name: str | None = None,
        examples: Iterable[Example] = (),
    ) -> F | Callable[[F], F]:
        """Declare a method; the handler is returned unchanged.

        Args:
            handler: the function, when used without parentheses.
            roles: one of them is needed; without any, only full admins may call it.
            authenticated: open to every login.
            public: open to all.
            read_only: changes nothing but the caller's own connection and login:
                read-only admins may call it too, and calls are not audited.
            immediate: run in the loop without a task, a plain function too; the
                handler may not suspend.
            namespace: first part of the name, one of the plugin's namespaces.
            name: last part of the name; by default the function's.
            examples: calls of it, for the documents.

        Raises:
            PluginError: no docstring, a duplicate, an untyped parameter, an example
                that does not fit; with the file and the line.
        """
        access = Access(
            frozenset(roles),
            authenticated=authenticated,
            public=public,
            read_only=read_only,
        )

        def declare(declared: F) -> F:
            if isinstance(declared, Deferred):
                deferred, function = declared, declared.handler
            else:
                deferred, function = None, declared
            full = self._name(function, namespace, name)
            doc = inspect.getdoc(function)
            if not doc:
                raise PluginError(f"{location(function)}: {full} has no docstring")
            if full in self.methods:
                raise PluginError(
                    f"{location(function)}: {full} is declared twice, first at "
                    f"{self.methods[full].where}"
                )
            params = Params(function)
            shown = tuple(examples)
            for example in shown:
                _check_example(example, params, f"{location(function)}: {full}")
            self.methods[full] = Method(
                name=full,
                plugin=self.name,
                handler=function,
                executor=Executor.DEFERRED
                if deferred
                else _executor(function, immediate=immediate),
                params=params,
                results=_results(params, function),
                access=access,
                doc=doc,
                where=location(function),
                deferred=deferred,
                examples=shown,
            )
            return declared

        return declare if handler is None else declare(handler)

    def _name(
        self, function: Callable[..., Any], namespace: str | None, name: str | None
    ) -> str:
        namespace = self.namespaces[0] if namespace is None else namespace
        if namespace not in self.namespaces:
            raise PluginError(
                f"{location(function)}: namespace {namespace!r} is none of plugin "
                f"{self.name!r}, expected one of {', '.join(self.namespaces)}"
            )
        return f"{namespace}.{name or function.__name__}"

    def collection(
        self,
        name: str,
        item: type,
        *,
        doc: str,
        roles: Iterable[str] = (),
        authenticated: bool = False,
        snapshot: Snapshot | None = None,
        replay: Replay | None = None,
        removed_on_request: bool = False,
        noun: str = "item",
    ) -> None:
        """Declare a collection whose events this plugin publishes.

        Args:
            name: what clients subscribe to.
            item: struct of an item; its fields and docs are the reference.
            doc: one sentence that says when events are sent.
            roles: one of them is needed; without any, only full admins may subscribe.
            authenticated: open to every login.
            snapshot: gives the items that there are, see `events.Snapshot`.
            replay: gives events that were missed, see `events.Replay`; the plugin
                numbers them, and says with `EventBus.begin` where the numbers go on.
            removed_on_request: ``removed`` goes only to subscribers that ask for it.
            noun: what an item is called in the documents.
        """
        access = Access(frozenset(roles), authenticated=authenticated, read_only=True)
        self.collections.append(
            Collection(
                name, item, access, doc, snapshot, replay, removed_on_request, noun
            )
        )

    def source(
        self,
        name: str,
        *,
        arguments: type,
        item: type,
        roles: Iterable[str] = (),
        authenticated: bool = False,
    ) -> Callable[
        [Callable[[Context, Any], AsyncIterator[Any]]],
        Callable[[Context, Any], AsyncIterator[Any]],
    ]:
        """Declare a collection with arguments from an async generator.

        Raises:
            PluginError: the generator has no docstring.
        """
        access = Access(frozenset(roles), authenticated=authenticated, read_only=True)

        def declare(
            stream: Callable[[Context, Any], AsyncIterator[Any]],
        ) -> Callable[[Context, Any], AsyncIterator[Any]]:
            doc = inspect.getdoc(stream)
            if not doc:
                raise PluginError(f"{location(stream)}: {name} has no docstring")
            self.sources.append(Source(name, stream, arguments, item, access, doc))
            return stream

        return declare

    def lifespan(self, start: Lifespan) -> Lifespan:
        """Declare what runs while the server runs, as an async context manager.

        Raises:
            PluginError: there is one already.
        """
        if self.start is not None:
            raise PluginError(
                f"{location(start)}: plugin {self.name!r} has a lifespan already, at "
                f"{location(self.start)}"
            )
        self.start = start
        return start

    def from_table(
        self, build: Callable[[Mapping[str, Any]], "Plugin"]
    ) -> Callable[[Mapping[str, Any]], "Plugin"]:
        """Declare how the plugin is made of its table, when its methods depend on it.

        At each start, before anything is opened, *build* is called with the table as
        the settings have it, empty when they have none. What it returns takes the
        place of this plugin in that server; it has the same name.

        Raises:
            PluginError: there is one already, or the plugin has a settings struct.
        """
        if self.build is not None or self.settings is not None:
            other = "settings" if self.build is None else "such a function"
            raise PluginError(
                f"{location(build)}: plugin {self.name!r} has {other} already"
            )
        self.build = build
        return build
