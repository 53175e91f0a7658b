"""The first administrator, and one-time links to log in with."""

from middlewared import FULL_ADMIN, CallError, Context, Origin
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts, NameTaken
from middlewared_auth.identity import Identities
from middlewared_auth.keys import ApiKeys
from middlewared_auth.tokens import TOKEN, Tokens

__all__ = ["FIRST_ADMIN", "first_admin", "make_link", "nobody_can_log_in"]

FIRST_ADMIN = "admin"
LINK_SECONDS = 3600


def nobody_can_log_in(ctx: Context) -> bool:
    """Tell whether there is no password and no API key to log in with."""
    accounts = ctx.get(Accounts).list_all()
    return not (ctx.get(ApiKeys).list_all() or any(a.password_hash for a in accounts))


def first_admin(ctx: Context) -> Account:
    """Find the oldest administrator that can log in; make one when there is none.

    Raises:
        CallError: there is an account with the name, but it is no administrator.
    """
    accounts = ctx.get(Accounts)
    for account in accounts.list_all():
        if account.lasting_admin:
            return account
    try:
        return accounts.create_nowait(FIRST_ADMIN, roles=frozenset({FULL_ADMIN}))
    except NameTaken:
        raise CallError(
            f"no account has the role {FULL_ADMIN}, and {FIRST_ADMIN!r} is another one"
        ) from None


def make_link(ctx: Context, account: Account) -> str:
    """Make a link that logs in once within an hour, from wherever it is opened.

    Returns:
        Path and fragment; browsers do not send the fragment to servers or proxies.

    Raises:
        CallError: the account is locked.
    """
    credentials = ctx.get(Identities).credentials(TOKEN, account)
    if credentials is None:
        raise CallError(f"account {account.username!r} is locked")
    token = ctx.get(Tokens).generate(
        credentials,
        ttl=LINK_SECONDS,
        attrs={},
        match_origin=False,
        single_use=True,
        origin=Origin(),
    )
    return ctx.path(f"/ui/#token={token}")
