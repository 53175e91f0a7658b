"""ping, set_options, subscribe, unsubscribe, get_methods (protocol page, 1.6 and 7)."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from middlewared import CallError, Context, Plugin
from middlewared.errors import NotAuthenticated
from middlewared.plugin import Method
from middlewared.registry import Registry
from middlewared.schema import params_schema, result_schema
from middlewared.session import ClientSession, Options

__all__ = ["plugin"]

plugin = Plugin("core")


class SetOptions(msgspec.Struct):
    """What to change; absent keys stay, unknown ones are ignored."""

    legacy_jobs: bool | UnsetType = UNSET
    private_methods: bool | UnsetType = UNSET
    py_exceptions: bool | UnsetType = UNSET


class MethodInfo(msgspec.Struct):
    """A method as ``core.get_methods`` shows it.

    Attributes:
        description: its documentation.
        job: its answer is a job.
        roles: one of them is needed, besides FULL_ADMIN.
        no_auth_required: open to all.
        no_authz_required: open to every login.
        accepts: JSON Schema of each param, in order.
        returns: JSON Schema of the result.
    """

    description: str
    job: bool
    roles: list[str]
    no_auth_required: bool
    no_authz_required: bool
    accepts: list[dict[str, Any]]
    returns: dict[str, Any]


def _session(ctx: Context) -> ClientSession:
    if not isinstance(ctx.session, ClientSession):
        raise CallError("This method needs a connection that stays open")
    return ctx.session


@plugin.method(public=True, read_only=True, immediate=True)
async def ping(ctx: Context) -> str:
    """Answer ``pong``."""
    return "pong"


@plugin.method(public=True, read_only=True, immediate=True)
async def set_options(ctx: Context, options: SetOptions) -> Options:
    """Set options of this connection and return all of them.

    With ``legacy_jobs`` off, a job method is answered when its job ends.
    ``py_exceptions`` always answers false: no pickles cross the wire.
    """
    session = _session(ctx)
    changes = {
        name: value
        for name, value in msgspec.structs.asdict(options).items()
        if value is not UNSET
    }
    changes["py_exceptions"] = False
    session.options = msgspec.structs.replace(session.options, **changes)
    return session.options


@plugin.method(authenticated=True, read_only=True, immediate=True)
async def subscribe(ctx: Context, name: str) -> str:
    """Subscribe this connection to a collection and return the subscription's ident.

    ``*`` means every collection. A collection with arguments takes them as JSON after
    a colon: ``job.logs:{"id":1}``. Events may come before the answer.
    """
    return _session(ctx).subscribe(name)


@plugin.method(authenticated=True, read_only=True, immediate=True)
async def unsubscribe(ctx: Context, ident: str) -> None:
    """End a subscription; an unknown ident is ignored."""
    _session(ctx).unsubscribe(ident)


def _may_call(ctx: Context, method: Method) -> bool:
    try:
        method.access.check(ctx.credentials)
    except (CallError, NotAuthenticated):
        return False
    return True


@plugin.method(authenticated=True, read_only=True)
async def get_methods(
    ctx: Context, service: str | None = None, target: str = "WS"
) -> dict[str, MethodInfo]:
    """List the methods that the caller may call, by name.

    *service* narrows to one namespace; *target* is accepted for the reference
    clients and changes nothing.
    """
    return {
        name: MethodInfo(
            description=method.doc,
            job=method.deferred is not None,
            roles=sorted(method.access.roles),
            no_auth_required=method.access.public,
            no_authz_required=method.access.authenticated,
            accepts=params_schema(method.params),
            returns=result_schema(method.results.kind),
        )
        for name, method in sorted(ctx.get(Registry).methods.items())
        if (service is None or name.rpartition(".")[0] == service)
        and _may_call(ctx, method)
    }
