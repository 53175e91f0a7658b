"""What the plugin runs while the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from middlewared import CallError, Context
from middlewared.context import Announcements
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import AuthSettings, plugin
from middlewared_auth.first import first_admin, make_link, nobody_can_log_in
from middlewared_auth.hashing import Hashing
from middlewared_auth.identity import Identities
from middlewared_auth.keys import ApiKeys
from middlewared_auth.limits import LoginLimits
from middlewared_auth.live import LiveSessions
from middlewared_auth.signing import Signer, read_key
from middlewared_auth.tokens import Tokens

__all__ = ["start"]


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Load the accounts and offer them; on a first start, offer a way in."""
    accounts = Accounts(ctx.database, ctx.clock)
    keys = ApiKeys(ctx.database, ctx.clock)
    identities = Identities(accounts, keys, ctx.clock)
    tokens = Tokens(
        accounts=accounts,
        identities=identities,
        signer=Signer(read_key(ctx.settings.data_path / "token.key")),
        database=ctx.database,
        clock=ctx.clock,
        limit=ctx.get(AuthSettings).max_tokens,
    )
    live = LiveSessions(identities)
    await accounts.load()
    await keys.load()
    await tokens.load()

    def forget_keys(account_id: int) -> None:
        if accounts.get(account_id) is None:
            keys.forget(account_id)

    accounts.watch(forget_keys)
    accounts.watch(live.refresh)
    keys.watch(live.refresh)
    services = ctx.services
    services.provide(Accounts, accounts)
    services.provide(ApiKeys, keys)
    services.provide(Identities, identities)
    services.provide(Tokens, tokens)
    services.provide(LiveSessions, live)
    services.provide(Hashing, Hashing())
    services.provide(LoginLimits, LoginLimits(ctx.settings.login_attempts, ctx.clock))
    if nobody_can_log_in(ctx):
        # The account is made when the line is printed: a command on a stopped server
        # runs this too, and is no first start.
        ctx.get(Announcements).add(lambda base_url: _first_line(ctx, base_url))
    try:
        yield
    finally:
        live.close()


def _first_line(ctx: Context, base_url: str) -> str:
    try:
        admin = first_admin(ctx)
        link = make_link(ctx, admin)
    except CallError as exc:
        return f"Nobody can log in with a password or a key: {exc.text}"
    return f"First start: log in as {admin.username} at {base_url}{link}"
