"""Logging in: the mechanisms, and the methods that take them."""

import errno
import logging
from typing import Literal

import msgspec
from msgspec.structs import replace

from middlewared import CallError, Context, Credentials, Example, Secret
from middlewared.audit import OK, Trail
from middlewared.context import Session
from middlewared_auth.declaration import AuthSettings, plugin
from middlewared_auth.exchange import Exchanges
from middlewared_auth.live import LiveSessions
from middlewared_auth.profile import UserInfo, describe_user
from middlewared_auth.proving import Proof, prove_key, prove_password, prove_token
from middlewared_auth.signing import origin_name
from middlewared_auth.tokens import Tokens

__all__ = ["MECHANISMS"]

logger = logging.getLogger(__name__)

MECHANISMS = ("API_KEY_PLAIN", "TOKEN_PLAIN", "PASSWORD_PLAIN", "SCRAM")


ScramAnswer = Literal["SERVER_FIRST_RESPONSE", "SERVER_FINAL_RESPONSE"]


class LoginOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer of a login shall hold.

    Attributes:
        user_info: what ``auth.me`` says.
        reconnect_token: a token that continues this login.
    """

    user_info: bool = True
    reconnect_token: bool = False


class PasswordPlain(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="PASSWORD_PLAIN",
    forbid_unknown_fields=True,
):
    """A login with a name and a password."""

    username: str
    password: Secret[str]
    login_options: LoginOptions = LoginOptions()


class ApiKeyPlain(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="API_KEY_PLAIN",
    forbid_unknown_fields=True,
):
    """A login with an API key, ``<id>-<64 letters and digits>``."""

    username: str
    api_key: Secret[str]
    login_options: LoginOptions = LoginOptions()


class TokenPlain(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="TOKEN_PLAIN",
    forbid_unknown_fields=True,
):
    """A login with a token that ``auth.generate_token`` or a login gave out."""

    token: Secret[str]
    login_options: LoginOptions = LoginOptions()


class Scram(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="SCRAM",
    forbid_unknown_fields=True,
):
    """One of the two messages of a login with an API key that is never sent.

    Attributes:
        scram_type: which message it is.
        rfc_str: the message, as RFC 5802 says; the hash is SHA-512 and the name is
            ``<username>:<id of the key>``.
        login_options: of the final message.
    """

    scram_type: Literal["CLIENT_FIRST_MESSAGE", "CLIENT_FINAL_MESSAGE"]
    rfc_str: str
    login_options: LoginOptions = LoginOptions()


class OtpToken(
    msgspec.Struct,
    frozen=True,
    tag_field="mechanism",
    tag="OTP_TOKEN",
    forbid_unknown_fields=True,
):
    """A second factor, which this server never asks for."""

    otp_token: Secret[str]
    login_options: LoginOptions = LoginOptions()


class LoginAnswer(msgspec.Struct, frozen=True):
    """What became of a login.

    Attributes:
        response_type: SUCCESS; SCRAM_RESPONSE, the next message of SCRAM; AUTH_ERR,
            wrong; EXPIRED, right but the time of the key, the password or the account
            is over; DENIED, right but the account is locked.
        user_info: what ``auth.me`` says; of a success, if asked for, else null.
        authenticator: LEVEL_1: one factor; of a success.
        reconnect_token: of a success, if asked for, else null.
        scram_type: which message of SCRAM it is; the final one is a success.
        rfc_str: the message.
    """

    # What has no value is left out: a refusal has its type alone.
    response_type: Literal["SUCCESS", "SCRAM_RESPONSE", "AUTH_ERR", "EXPIRED", "DENIED"]
    user_info: UserInfo | msgspec.UnsetType | None = msgspec.UNSET
    authenticator: Literal["LEVEL_1"] | msgspec.UnsetType = msgspec.UNSET
    reconnect_token: Secret[str] | msgspec.UnsetType | None = msgspec.UNSET
    scram_type: ScramAnswer | msgspec.UnsetType = msgspec.UNSET
    rfc_str: str | msgspec.UnsetType = msgspec.UNSET


def _session(ctx: Context) -> Session:
    if ctx.session is None:
        raise CallError("Only a connection can log in", errno.EINVAL)
    ctx.session.require_secure()
    return ctx.session


def _enter(ctx: Context, proof: Proof) -> Proof:
    """Log the connection in, if the proof says so; nothing is awaited in between."""
    if isinstance(proof, Credentials):
        session = _session(ctx)
        ctx.get(LiveSessions).login(session, proof)
        where = origin_name(session.origin)
        logger.info("%s logged in by %s from %s", proof.username, proof.type, where)
        ctx.get(Trail).note("LOGIN", OK, who=proof, origin=session.origin)
    return proof


async def _with_password(ctx: Context, username: str, password: str) -> Proof:
    origin = _session(ctx).origin
    return _enter(ctx, await prove_password(ctx, origin, username, password))


async def _with_key(ctx: Context, username: str | None, key: str) -> Proof:
    return _enter(ctx, await prove_key(ctx, _session(ctx).origin, username, key))


async def _with_token(ctx: Context, token: str) -> Proof:
    session = _session(ctx)
    proof = _enter(ctx, await prove_token(ctx, session.origin, token))
    if ctx.get(Tokens).continues(token, session.origin):
        ctx.get(LiveSessions).mark_maker(session)
    return proof


async def _with_scram(ctx: Context, message: Scram) -> LoginAnswer:
    session, exchanges = _session(ctx), ctx.get(Exchanges)
    if message.scram_type == "CLIENT_FIRST_MESSAGE":
        answer = exchanges.begin(ctx, session, message.rfc_str)
        return LoginAnswer(
            response_type="SCRAM_RESPONSE",
            scram_type="SERVER_FIRST_RESPONSE",
            rfc_str=answer,
            user_info=None,
        )
    proof, answer = await exchanges.finish(ctx, session, message.rfc_str)
    success = _answer(ctx, _enter(ctx, proof), message.login_options)
    if not isinstance(proof, Credentials):
        return success
    return replace(
        success,
        response_type="SCRAM_RESPONSE",
        scram_type="SERVER_FINAL_RESPONSE",
        rfc_str=answer,
    )


def _answer(ctx: Context, proof: Proof, options: LoginOptions) -> LoginAnswer:
    if not isinstance(proof, Credentials):
        return LoginAnswer(proof)
    session = _session(ctx)
    token = None
    if options.reconnect_token:
        ttl = ctx.get(AuthSettings).reconnect_ttl
        token = ctx.get(Tokens).generate_reconnect(
            proof, ttl=ttl, origin=session.origin
        )
        ctx.get(LiveSessions).mark_maker(session)
    return LoginAnswer(
        response_type="SUCCESS",
        user_info=describe_user(ctx, proof, session) if options.user_info else None,
        authenticator="LEVEL_1",
        reconnect_token=None if token is None else Secret(token),
    )


@plugin.method(
    public=True,
    read_only=True,
    immediate=True,
    examples=[Example("how one may log in", [])],
)
def mechanism_choices(ctx: Context) -> list[str]:
    """List the mechanisms that ``auth.login_ex`` takes."""
    return list(MECHANISMS)


@plugin.method(
    public=True,
    read_only=True,
    examples=[
        Example(
            "with a password",
            [{"mechanism": "PASSWORD_PLAIN", "username": "ann", "password": "secret"}],
        ),
        Example(
            "with an API key",
            [
                {
                    "mechanism": "API_KEY_PLAIN",
                    "username": "ann",
                    "api_key": "1-JFcaYE6lkMSs...",
                }
            ],
        ),
        Example(
            "with a token, and a token for the next time",
            [
                {
                    "mechanism": "TOKEN_PLAIN",
                    "token": "4SvDxbm0...",
                    "login_options": {"reconnect_token": True},
                }
            ],
        ),
    ],
)
async def login_ex(
    ctx: Context,
    login_data: PasswordPlain | ApiKeyPlain | TokenPlain | Scram | OtpToken,
) -> LoginAnswer:
    """Log this connection in; it replaces an earlier login.

    Wrong credentials are an answer, not an error. Past the limit on failures the error
    is EBUSY. SCRAM takes two calls on one connection, within a minute.
    """
    if isinstance(login_data, Scram):
        return await _with_scram(ctx, login_data)
    if isinstance(login_data, OtpToken):
        raise CallError("OTP_TOKEN: no authentication in progress", errno.EINVAL)
    if isinstance(login_data, PasswordPlain):
        secret = login_data.password.get()
        proof = await _with_password(ctx, login_data.username, secret)
    elif isinstance(login_data, ApiKeyPlain):
        secret = login_data.api_key.get()
        proof = await _with_key(ctx, login_data.username, secret)
    else:
        proof = await _with_token(ctx, login_data.token.get())
    return _answer(ctx, proof, login_data.login_options)


@plugin.method(public=True, read_only=True)
async def login_ex_continue(ctx: Context, login_data: Scram | OtpToken) -> LoginAnswer:
    """Go on with a login that ``auth.login_ex`` has begun, which takes this as well."""
    return await login_ex(ctx, login_data)


@plugin.method(
    public=True,
    read_only=True,
    examples=[Example("with a password", ["ann", "secret"], True)],
)
async def login(
    ctx: Context,
    username: str,
    password: Secret[str],
    otp_token: Secret[str] | None = None,
) -> bool:
    """Log this connection in with a password and tell whether it worked.

    ``otp_token`` is there for clients that always send it: this server has no second
    factors, so anything but null is refused with EOPNOTSUPP.
    """
    if otp_token is not None:
        raise CallError("Second factors are not supported", errno.EOPNOTSUPP)
    proof = await _with_password(ctx, username, password.get())
    return isinstance(proof, Credentials)


@plugin.method(
    public=True,
    read_only=True,
    examples=[Example("with an API key", ["1-JFcaYE6lkMSs..."], True)],
)
async def login_with_api_key(ctx: Context, api_key: Secret[str]) -> bool:
    """Log this connection in with an API key and tell whether it worked."""
    return isinstance(await _with_key(ctx, None, api_key.get()), Credentials)


@plugin.method(
    public=True,
    read_only=True,
    examples=[Example("with a token", ["4SvDxbm0..."], True)],
)
async def login_with_token(ctx: Context, token: Secret[str]) -> bool:
    """Log this connection in with a token and tell whether it worked."""
    return isinstance(await _with_token(ctx, token.get()), Credentials)
