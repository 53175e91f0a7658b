"""get_methods and get_services: what there is to call (protocol page, 7)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio.to_thread
import msgspec

from middlewared import Context, Example
from middlewared.docstrings import summary
from middlewared.plugin import Deferred, Method
from middlewared.registry import Registry
from middlewared.schema import params_schema, result_schema
from middlewared_core._declaration import plugin

__all__ = ["Catalogue", "MethodInfo", "ServiceInfo"]

Target = Literal["WS", "CLI", "REST"]

#: First params of a method that takes filters (protocol page, 6).
FILTERED = ("filters", "options")
#: Methods that make a service one of items that come and go, or one of settings.
CRUD = frozenset({"create", "update", "delete"})
CONFIG = frozenset({"config", "update"})


class MethodInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A method as ``core.get_methods`` shows it.

    Attributes:
        description: its documentation.
        cli_description: the first paragraph of it.
        examples: calls of it, with what they answer.
        no_auth_required: open to all.
        no_authz_required: open to every login.
        cli_private: hidden from terminals; none is.
        filterable: takes filters and options, as ``core.get_jobs`` does.
        filterable_schema: JSON Schema of what the filters speak of; null when it is
            not known, or not filterable.
        pass_application: it knows the connection that calls; all do.
        job: its answer is a job.
        downloadable: the job gives a file.
        uploadable: the job takes a file.
        check_pipes: the job does not begin without its files.
        roles: one of them is needed, besides FULL_ADMIN.
        accepts: JSON Schema of each param, in order.
        returns: JSON Schema of the result.
    """

    description: str
    cli_description: str
    examples: list[Example]
    no_auth_required: bool
    no_authz_required: bool
    cli_private: bool = False
    filterable: bool
    filterable_schema: dict[str, Any] | None
    pass_application: bool = True
    job: bool
    downloadable: bool
    uploadable: bool
    check_pipes: bool
    roles: list[str]
    accepts: list[dict[str, Any]]
    returns: dict[str, Any]


class ServiceInfo(msgspec.Struct, frozen=True):
    """A namespace as ``core.get_services`` shows it.

    Attributes:
        type: ``crud``, its items can be made, changed and removed; ``config``, it has
            settings that can be changed; ``service``, anything else.
        config: its name, and that it is for everybody.
    """

    type: Literal["crud", "config", "service"]
    config: dict[str, Any]


class Catalogue:
    """Describes methods, each once: schemas take a while to make."""

    def __init__(self, registry: Registry) -> None:
        self._items = {c.name: c.item for p in registry.plugins for c in p.collections}
        self._made: dict[str, MethodInfo] = {}

    async def describe_all(self, methods: Sequence[Method]) -> dict[str, MethodInfo]:
        """Give what ``core.get_methods`` shows of methods, by name."""
        new = [method for method in methods if method.name not in self._made]
        if new:
            made = await anyio.to_thread.run_sync(lambda: [*map(self._make, new)])
            self._made |= {
                method.name: info for method, info in zip(new, made, strict=True)
            }
        return {method.name: self._made[method.name] for method in methods}

    def _make(self, method: Method) -> MethodInfo:
        item = self._items.get(method.name)
        filterable = method.params.names[: len(FILTERED)] == FILTERED
        pipes = _spec_value(method.deferred, "pipes", ())
        return MethodInfo(
            description=method.doc,
            cli_description=summary(method.doc),
            examples=list(method.examples),
            no_auth_required=method.access.public,
            no_authz_required=method.access.authenticated,
            filterable=filterable,
            filterable_schema=result_schema(item) if filterable and item else None,
            job=method.deferred is not None,
            downloadable="output" in pipes,
            uploadable="input" in pipes,
            check_pipes=bool(pipes)
            and bool(_spec_value(method.deferred, "check_pipes", True)),
            roles=sorted(method.access.roles),
            accepts=params_schema(method.params),
            returns=result_schema(method.results.kind),
        )


def _spec_value(deferred: Deferred[Any] | None, name: str, default: Any) -> Any:
    """Read what a runner's declaration says, if it speaks of that at all."""
    spec = None if deferred is None else deferred.spec
    return default if spec is None else getattr(spec, name, default)


def _callable(ctx: Context) -> list[Method]:
    methods = ctx.get(Registry).methods
    return [m for _, m in sorted(methods.items()) if m.access.allows(ctx.credentials)]


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Offer the catalogue."""
    ctx.services.provide(Catalogue, Catalogue(ctx.get(Registry)))
    yield


@plugin.method(
    authenticated=True,
    read_only=True,
    examples=[Example("the methods of one service", ["auth"])],
)
async def get_methods(
    ctx: Context, service: str | None = None, target: Target = "WS"
) -> dict[str, MethodInfo]:
    """List the methods that the caller may call, by name.

    *service* narrows to one namespace; *target* is accepted for the reference
    clients and changes nothing.
    """
    methods = [
        method
        for method in _callable(ctx)
        if service is None or _service_of(method) == service
    ]
    return await ctx.get(Catalogue).describe_all(methods)


@plugin.method(
    authenticated=True, read_only=True, examples=[Example("all services", [])]
)
async def get_services(ctx: Context, target: Target = "WS") -> dict[str, ServiceInfo]:
    """List the services, the first parts of method names, that the caller may use.

    *target* is accepted for the reference clients and changes nothing.
    """
    verbs: dict[str, set[str]] = {}
    for method in _callable(ctx):
        verb = method.name.rpartition(".")[2]
        verbs.setdefault(_service_of(method), set()).add(verb)
    return {
        name: ServiceInfo(_type_of(found), {"namespace": name, "private": False})
        for name, found in verbs.items()
    }


def _service_of(method: Method) -> str:
    return method.name.rpartition(".")[0]


def _type_of(verbs: set[str]) -> Literal["crud", "config", "service"]:
    if "query" in verbs and verbs & CRUD:
        return "crud"
    return "config" if verbs >= CONFIG else "service"
