"""Passwords: how they are checked, when they are over, and how they are changed."""

import errno
from functools import partial

import msgspec
from msgspec.structs import replace

from middlewared import (
    CallError,
    Context,
    Example,
    Origin,
    Secret,
    ValidationError,
    ValidationErrors,
)
from middlewared.access import not_authorized
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import plugin
from middlewared_auth.hashing import Hashing
from middlewared_auth.identity import Identities
from middlewared_auth.live import LiveSessions
from middlewared_auth.lockouts import Lockouts
from middlewared_auth.proving import begin_attempt, delay, right_password

__all__ = ["check_password"]

MAX_PASSWORD = 1024


class PasswordChange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """A new password; ``old_password`` is needed for one's own."""

    username: str
    new_password: Secret[str]
    old_password: Secret[str] | None = None


def check_password(attribute: str, password: Secret[str]) -> str:
    """Check the length of a new password and give it in clear.

    Raises:
        ValidationErrors: names the attribute and the length.
    """
    clear = password.get()
    if not 0 < len(clear) <= MAX_PASSWORD:
        text = f"has {len(clear)} characters, expected 1 to {MAX_PASSWORD}"
        raise ValidationErrors([ValidationError(attribute, text)])
    return clear


@plugin.method(
    namespace="user",
    public=True,
    examples=[
        Example(
            "one's own",
            [{"username": "ann", "old_password": "secret", "new_password": "better"}],
            None,
        )
    ],
)
async def set_password(ctx: Context, data: PasswordChange) -> None:
    """Set a password: one's own with the old one, anybody's as a full admin.

    Before login the old password proves who asks, so that one that is over can be
    changed; guessing it is limited like a login. It ends all tokens of the account,
    and its sessions besides the calling one and those of API keys.
    """
    if ctx.session is not None:
        ctx.session.require_secure()
    clear = check_password("data.new_password", data.new_password)
    account = await _check_right(ctx, data)
    hashed = await ctx.get(Hashing).hash_password(clear)
    edit = partial(
        _with_password, before=account, hashed=hashed, at=ctx.clock.time_ms()
    )
    if await ctx.get(Accounts).change(account.id, edit) is None:
        raise _gone(data.username)
    ctx.get(LiveSessions).end_logins(account.id, keep=ctx.session)


async def _check_right(ctx: Context, data: PasswordChange) -> Account:
    """Give the account whose password the caller may set.

    Raises:
        CallError: EACCES, it may not; EBUSY, the old password was guessed too often.
        ValidationErrors: the old password is wrong, or there is no such account.
    """
    credentials = ctx.credentials
    account = ctx.get(Accounts).find(data.username)
    if credentials is None:
        return await _check_old(ctx, data)
    if account is None or account.id != credentials.account_id:
        if not credentials.full_admin:
            raise not_authorized()  # before it is said whether the account exists
        if account is None:
            raise _gone(data.username)
        return account
    if account.password_hash is not None:
        return await _check_old(ctx, data)
    if credentials.api_key is not None:
        raise not_authorized()  # a narrow key would become the whole account
    return account


async def _check_old(ctx: Context, data: PasswordChange) -> Account:
    origin = Origin() if ctx.session is None else ctx.session.origin
    attempt = begin_attempt(ctx, origin, data.username)
    old = "" if data.old_password is None else data.old_password.get()
    account = await right_password(ctx, data.username, old)
    if account is None:
        await delay(ctx)
        text = "is not the password of this account"
        raise ValidationErrors([ValidationError("data.old_password", text)])
    ctx.get(Lockouts).forgive(data.username)
    attempt.refund()
    if ctx.get(Identities).roles_of(account.id, None) is None:
        raise not_authorized()  # locked, or its time is over
    if data.new_password.get() == old:
        text = "is the old password"
        raise ValidationErrors([ValidationError("data.new_password", text)])
    return account


def _gone(username: str) -> ValidationErrors:
    text = f"there is no account {username!r}"
    return ValidationErrors([ValidationError(None, text, errno.ENOENT)])


def _with_password(now: Account, *, before: Account, hashed: str, at: int) -> Account:
    if now.password_hash != before.password_hash:
        raise CallError("The password was changed meanwhile", errno.EBUSY)
    return replace(
        now,
        password_hash=hashed,
        password_changed=at,
        must_change_password=False,
        generation=now.generation + 1,
    )
