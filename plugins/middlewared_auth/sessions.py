"""What a login asks about itself: me, attributes, logout, tokens, links."""

import errno
from typing import Annotated, Any

import msgspec
from msgspec.structs import replace

from middlewared import (
    CallError,
    Context,
    Credentials,
    Example,
    Origin,
    Secret,
    ValidationError,
    ValidationErrors,
    ejson,
)
from middlewared.errors import NotAuthenticated
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import plugin
from middlewared_auth.ending import end_logins
from middlewared_auth.first import first_admin, make_link
from middlewared_auth.live import LiveSessions
from middlewared_auth.profile import UserInfo, describe_user
from middlewared_auth.tokens import MAX_TTL, Tokens

__all__: list[str] = []

#: Bytes of a token's attrs, as JSON.
MAX_ATTRS = 4096
#: Bytes of the attributes of an account, as JSON.
MAX_ATTRIBUTES = 64 * 1024

Ttl = Annotated[int, msgspec.Meta(gt=0, le=MAX_TTL)]


def _credentials(ctx: Context) -> Credentials:
    if ctx.credentials is None:
        raise NotAuthenticated
    return ctx.credentials


@plugin.method(
    authenticated=True,
    read_only=True,
    immediate=True,
    examples=[Example("who one is", [])],
)
def me(ctx: Context) -> UserInfo:
    """Tell who this connection is logged in as, and what it may do."""
    return describe_user(ctx, _credentials(ctx), ctx.session)


@plugin.method(
    authenticated=True, read_only=True, examples=[Example("log out", [], True)]
)
async def logout(ctx: Context) -> bool:
    """Log this connection out; its subscriptions end, and every token it made."""
    credentials = _credentials(ctx)
    if ctx.session is None:
        raise CallError("Only a connection can log out", errno.EINVAL)
    await end_logins(ctx, [(ctx.session, credentials)])
    return True


@plugin.method(authenticated=True)
async def set_attribute(ctx: Context, key: str, value: Any) -> None:
    """Keep a value for clients under *key*, in the ``attributes`` of ``auth.me``.

    They belong to the account, 64 KiB at most in all; a login without an account has
    none.
    """
    account_id = _credentials(ctx).account_id
    if account_id is None:
        raise CallError("This login has no account", errno.EOPNOTSUPP)
    stored = ejson.to_wire(value)

    def edit(account: Account) -> Account:
        attributes = account.attributes | {key: stored}
        size = len(msgspec.json.encode(attributes))
        if size > MAX_ATTRIBUTES:
            text = f"the attributes have {size} bytes, the limit is {MAX_ATTRIBUTES}"
            raise ValidationErrors([ValidationError("value", text)])
        return replace(account, attributes=attributes)

    await ctx.get(Accounts).change(account_id, edit)


@plugin.method(
    authenticated=True,
    read_only=True,
    immediate=True,
    examples=[
        Example(
            "an hour, from anywhere",
            {"ttl": 3600, "match_origin": False},
            "4SvDxbm0...",
        )
    ],
)
def generate_token(
    ctx: Context,
    ttl: Ttl | None = 600,
    attrs: dict[str, Any] | None = None,
    match_origin: bool = True,
    single_use: bool = False,
) -> Secret[str]:
    """Make a token that stands for this login: 64 URL-safe characters.

    ``ttl`` is in seconds and begins anew with each use; null means 30 days, the most
    there is. With ``attrs`` the token is for that purpose only and does not log in.
    ``match_origin`` binds it to the address this connection comes from. Without attrs
    and ``single_use`` it outlives a restart of the server, if its account does. It
    ends when this login logs out, not when the connection is closed.
    """
    attrs = attrs or {}
    size = len(msgspec.json.encode(attrs))
    if size > MAX_ATTRS:
        text = f"has {size} bytes as JSON, the limit is {MAX_ATTRS}"
        raise ValidationErrors([ValidationError("attrs", text)])
    if ctx.session is not None:
        ctx.get(LiveSessions).mark_maker(ctx.session)
    token = ctx.get(Tokens).generate(
        _credentials(ctx),
        ttl=MAX_TTL if ttl is None else ttl,
        attrs=attrs,
        match_origin=match_origin,
        single_use=single_use,
        origin=Origin() if ctx.session is None else ctx.session.origin,
    )
    return Secret(token)


@plugin.method(
    immediate=True,
    examples=[Example("a link for ann", ["ann"], "/ui/#token=4SvDxbm0...")],
)
def login_link(ctx: Context, username: str | None = None) -> Secret[str]:
    """Make a link to the browser page that logs in once, within an hour.

    The answer is the path, to append to the server's address. Without ``username`` the
    link is for the caller's own account, or for the first administrator when the
    caller has none, as on the unix socket.
    """
    accounts = ctx.get(Accounts)
    if username is None:
        account = accounts.get(_credentials(ctx).account_id) or first_admin(ctx)
    else:
        found = accounts.find(username)
        if found is None:
            text = f"there is no account {username!r}"
            raise ValidationErrors([ValidationError("username", text, errno.ENOENT)])
        account = found
    return Secret(make_link(ctx, account))
