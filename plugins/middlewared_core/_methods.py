"""ping, set_options, subscribe, unsubscribe (protocol page, 1.6 and 4)."""

import msgspec
from msgspec import UNSET, UnsetType

from middlewared import CallError, Context, Example
from middlewared.feeds import Subscribed, SubscribeOptions
from middlewared.results import later
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
def ping(ctx: Context) -> str:
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
def set_options(ctx: Context, options: SetOptions) -> Options:
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
        Example(
            "the jobs there are, then their events",
            ["core.get_jobs", {"snapshot": True, "removed": True}],
            {
                "id": "0b5f2b1e-9c62-4f4e-8a57-3f6c1d2e4a90",
                "epoch": "9f86d081884c7d65",
                "seq": 4711,
                "recovered": True,
            },
        ),
    ],
)
def subscribe(
    ctx: Context,
    name: str,
    options: SubscribeOptions = SubscribeOptions(),  # noqa: B008 - frozen
) -> str | Subscribed:
    """Subscribe this connection to a collection.

    ``*`` means every collection. A collection with arguments takes them as JSON after
    a colon: ``job.logs:{"id":1}``; neither of them takes options. Events may come
    before the answer: the subscription's ident, or with any option an object.
    """
    session = _session(ctx)
    if options.given:
        return later(session.follow(name, options))
    return session.subscribe(name)


@plugin.method(
    authenticated=True,
    read_only=True,
    immediate=True,
    examples=[
        Example("end a subscription", ["7f0c4c3e-6f6a-4b9b-8d57-0a6a1b6c6c53"], None)
    ],
)
def unsubscribe(ctx: Context, ident: str) -> None:
    """End a subscription; an unknown ident is ignored."""
    _session(ctx).unsubscribe(ident)
