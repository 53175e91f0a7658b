"""ping, set_options, subscribe, unsubscribe (protocol page, 1.6 and 4)."""

import msgspec
from msgspec import UNSET, UnsetType

from middlewared import CallError, Context, Example
from middlewared.session import ClientSession, Options
from middlewared_core._declaration import plugin

__all__ = ["SetOptions"]


class SetOptions(msgspec.Struct):
    """What to change; absent keys stay, unknown ones are ignored."""

    legacy_jobs: bool | UnsetType = UNSET
    private_methods: bool | UnsetType = UNSET
    py_exceptions: bool | UnsetType = UNSET


def _session(ctx: Context) -> ClientSession:
    if not isinstance(ctx.session, ClientSession):
        raise CallError("This method needs a connection that stays open")
    return ctx.session


@plugin.method(
    public=True,
    read_only=True,
    immediate=True,
    examples=[Example("is somebody there", [], "pong")],
)
async def ping(ctx: Context) -> str:
    """Answer ``pong``."""
    return "pong"


@plugin.method(
    public=True,
    read_only=True,
    immediate=True,
    examples=[
        Example(
            "answer job calls when the job ends",
            [{"legacy_jobs": False}],
            {"legacy_jobs": False, "private_methods": False, "py_exceptions": False},
        )
    ],
)
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


@plugin.method(
    authenticated=True,
    read_only=True,
    immediate=True,
    examples=[
        Example(
            "the events of jobs",
            ["core.get_jobs"],
            "7f0c4c3e-6f6a-4b9b-8d57-0a6a1b6c6c53",
        ),
        Example("the log of a job", ['job.logs:{"id":1}']),
    ],
)
async def subscribe(ctx: Context, name: str) -> str:
    """Subscribe this connection to a collection and return the subscription's ident.

    ``*`` means every collection. A collection with arguments takes them as JSON after
    a colon: ``job.logs:{"id":1}``. Events may come before the answer.
    """
    return _session(ctx).subscribe(name)


@plugin.method(
    authenticated=True,
    read_only=True,
    immediate=True,
    examples=[
        Example("end a subscription", ["7f0c4c3e-6f6a-4b9b-8d57-0a6a1b6c6c53"], None)
    ],
)
async def unsubscribe(ctx: Context, ident: str) -> None:
    """End a subscription; an unknown ident is ignored."""
    _session(ctx).unsubscribe(ident)
