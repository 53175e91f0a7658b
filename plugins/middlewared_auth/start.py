"""What the plugin runs while the server runs."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from middlewared import CallError, Context
from middlewared.access import Authenticator
from middlewared.audit import Trail
from middlewared.context import Announcements
from middlewared.sessions import Sessions
from middlewared_auth.accounts import Accounts
from middlewared_auth.declaration import AuthSettings, plugin
from middlewared_auth.exchange import Exchanges
from middlewared_auth.first import first_admin, make_link, nobody_can_log_in
from middlewared_auth.hashing import Hashing
from middlewared_auth.identity import Identities
from middlewared_auth.keys import ApiKeys
from middlewared_auth.limits import LoginLimits
from middlewared_auth.live import LiveSessions
from middlewared_auth.lockouts import Lockouts
from middlewared_auth.privileges import Privileges
from middlewared_auth.proving import Proofs
from middlewared_auth.signing import Signer, read_key
from middlewared_auth.tokens import Tokens

__all__ = ["start"]


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Load the accounts and offer them; on a first start, offer a way in."""
    settings = ctx.get(AuthSettings)
    accounts = Accounts(ctx.database, ctx.clock)
    privileges = Privileges(accounts, ctx.database, ctx.clock)
    keys = ApiKeys(ctx.database, ctx.clock)
    identities = Identities(accounts, keys, settings, ctx.clock)
    key = read_key(ctx.settings.data_path / "token.key")
    tokens = Tokens(
        accounts=accounts,
        identities=identities,
        signer=Signer(key),
        database=ctx.database,
        clock=ctx.clock,
        limit=settings.max_tokens,
    )
    live = LiveSessions(ctx.get(Sessions), identities, ctx.get(Trail))
    await accounts.load(await privileges.load())
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
    services.provide(Privileges, privileges)
    services.provide(ApiKeys, keys)
    services.provide(Identities, identities)
    services.provide(Tokens, tokens)
    services.provide(LiveSessions, live)
    services.provide(Hashing, Hashing())
    secret = hmac.digest(key, b"salts of SCRAM", "sha512")
    services.provide(Exchanges, Exchanges(secret))
    services.provide(LoginLimits, LoginLimits(ctx.settings.login_attempts, ctx.clock))
    lockouts = Lockouts(
        settings.lockout_failures,
        settings.lockout_seconds,
        ctx.clock,
        lambda username: accounts.find(username) is not None,
    )
    services.provide(Lockouts, lockouts)
    services.provide(Authenticator, Proofs(ctx))  # type: ignore[type-abstract]  # by protocol
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
