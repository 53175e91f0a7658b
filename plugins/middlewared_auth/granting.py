"""The methods of ``privilege``: groups of roles, for administrators."""

import errno
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from middlewared import Context, Date, Example, ValidationError, ValidationErrors
from middlewared.filters import parse_filters, parse_options, run_query
from middlewared.registry import Registry
from middlewared_auth.account import Privilege
from middlewared_auth.accounts import Accounts, NameTaken
from middlewared_auth.declaration import plugin
from middlewared_auth.privileges import Privileges
from middlewared_auth.roles import check_roles
from middlewared_auth.texts import check_line

__all__: list[str] = []


class PrivilegeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A group of roles as ``privilege.query`` shows it.

    Attributes:
        id: never passes to another privilege.
        name: unique.
        roles: what its holders may, sorted.
        users: names of the accounts that hold it.
        created: when it was made.
    """

    id: int
    name: str
    roles: list[str]
    users: list[str]
    created: Date


class PrivilegeCreate(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A new group of roles, which nobody holds yet."""

    name: str
    roles: list[str]


class PrivilegeUpdate(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What to change of a privilege; what is not given stays."""

    name: str | UnsetType = UNSET
    roles: list[str] | UnsetType = UNSET


def _describe(ctx: Context, privilege: Privilege) -> PrivilegeInfo:
    holders = (
        account.username
        for account in ctx.get(Accounts).list_all()
        if privilege.id in account.privileges
    )
    return PrivilegeInfo(
        id=privilege.id,
        name=privilege.name,
        roles=sorted(privilege.roles),
        users=sorted(holders),
        created=Date(privilege.created),
    )


def _taken(name: str) -> ValidationErrors:
    text = f"there is a privilege {name!r} already"
    return ValidationErrors([ValidationError("data.name", text, errno.EEXIST)])


def _no_privilege(number: int) -> ValidationErrors:
    text = f"there is no privilege with id {number}"
    return ValidationErrors([ValidationError(None, text, errno.ENOENT)])


@plugin.method(
    namespace="privilege", read_only=True, examples=[Example("all of them", [])]
)
def query(
    ctx: Context, filters: Sequence[Any] = (), options: dict[str, Any] | None = None
) -> Any:
    """List the privileges that match, by the filters and options of ``core.get_jobs``.

    A privilege is a group of roles; accounts hold it by its name.
    """
    found = ctx.get(Privileges).list_all()
    items = [msgspec.to_builtins(_describe(ctx, p)) for p in found]
    return run_query(items, parse_filters(filters), parse_options(options or {}))


@plugin.method(
    namespace="privilege",
    examples=[
        Example(
            "a group for readers of figures",
            [{"name": "monitoring", "roles": ["METRICS_READ"]}],
        )
    ],
)
async def create(ctx: Context, data: PrivilegeCreate) -> PrivilegeInfo:
    """Make a privilege and return it; ``user.update`` gives it to accounts."""
    check_line("data.name", data.name, least=1)
    roles = check_roles(ctx.get(Registry), data.roles, attribute="data.roles")
    try:
        made = await ctx.get(Privileges).create(data.name, roles)
    except NameTaken:
        raise _taken(data.name) from None
    return _describe(ctx, made)


@plugin.method(
    namespace="privilege",
    examples=[Example("one more role", [1, {"roles": ["METRICS_READ", "JOB_USER"]}])],
)
async def update(
    ctx: Context,
    id: int,  # noqa: A002 - the wire's word
    data: PrivilegeUpdate,
) -> PrivilegeInfo:
    """Change a privilege and return it.

    Its holders gain and lose roles at once; who loses one is logged out everywhere.
    """
    changes: dict[str, Any] = {}
    if data.name is not UNSET:
        check_line("data.name", data.name, least=1)
        changes["name"] = data.name
    if data.roles is not UNSET:
        changes["roles"] = check_roles(
            ctx.get(Registry), data.roles, attribute="data.roles"
        )
    try:
        changed = await ctx.get(Privileges).change(
            id, lambda privilege: replace(privilege, **changes)
        )
    except NameTaken:
        raise _taken(str(data.name)) from None
    if changed is None:
        raise _no_privilege(id)
    return _describe(ctx, changed)


@plugin.method(
    namespace="privilege", examples=[Example("remove privilege 1", [1], True)]
)
async def delete(ctx: Context, id: int) -> bool:  # noqa: A002 - the wire's word
    """Remove a privilege; its holders lose its roles and are logged out."""
    if not await ctx.get(Privileges).remove(id):
        raise _no_privilege(id)
    return True
