"""Logins with SCRAM, from the client's first message to its final one."""

import errno
import hmac
import secrets
from weakref import WeakKeyDictionary

import msgspec

from middlewared import CallError, Context, ValidationError, ValidationErrors
from middlewared.context import Session
from middlewared_auth.accounts import Accounts
from middlewared_auth.hashing import ITERATIONS, SALT_BYTES, Verifier
from middlewared_auth.keys import ApiKey, ApiKeys
from middlewared_auth.limits import Attempt
from middlewared_auth.proving import Proof, admit_key, begin_attempt, refuse
from middlewared_auth.scram import (
    BINDING,
    ClientFirst,
    MalformedMessage,
    answer_first,
    parse_first,
    verify_final,
)

__all__ = ["Exchanges"]

#: Seconds that a client may take for its final message.
PATIENCE = 60.0


class _Exchange(msgspec.Struct, frozen=True, eq=False):
    """A login that waits for the client's final message.

    Attributes:
        first: what the client said first.
        server_first: what was answered.
        key: the key it is about; None when there is no such key of this account.
        binding: what the channel is bound to, empty when the client demands nothing.
        attempt: counts as failed until it succeeds.
        began: seconds of the monotonic clock.
    """

    first: ClientFirst
    server_first: str
    key: ApiKey | None
    binding: bytes
    attempt: Attempt
    began: float


class Exchanges:
    """The logins with SCRAM that have begun, one at most for each connection.

    A name that nobody has, or a key that is none of its account, is answered like any
    other, with a salt that is always the same for this name: only the proof fails.

    Args:
        secret: known to this server alone; what such salts are made from.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._open: WeakKeyDictionary[Session, _Exchange] = WeakKeyDictionary()

    def begin(self, ctx: Context, session: Session, text: str) -> str:
        """Take the client's first message and answer it; an earlier one is forgotten.

        Raises:
            CallError: EBUSY, too many logins failed from this address; EOPNOTSUPP, the
                client demands a channel binding that this connection does not have.
            ValidationErrors: it is no first message.
        """
        self._open.pop(session, None)
        try:
            first = parse_first(text)
        except MalformedMessage as exc:
            raise _malformed(exc) from None
        binding = _binding(session, first)
        attempt = begin_attempt(ctx, session.origin)
        key = _find_key(ctx, first)
        salt = hmac.digest(self._secret, first.name.encode(), "sha512")[:SALT_BYTES]
        iterations = ITERATIONS
        if key is not None:
            salt, iterations = key.verifier.salt, key.verifier.iterations
        server_first = answer_first(first, salt, iterations)
        began = ctx.clock.monotonic()
        self._open[session] = _Exchange(
            first, server_first, key, binding, attempt, began
        )
        return server_first

    async def finish(
        self, ctx: Context, session: Session, text: str
    ) -> tuple[Proof, str]:
        """Take the client's final message; a failure is logged and answered late.

        Returns:
            What was proved, and the server's final message when it was right.

        Raises:
            CallError: EINVAL, no exchange has begun, or too long ago.
            ValidationErrors: it is no final message; the exchange is over.
        """
        begun = self._open.pop(session, None)
        if begun is None or ctx.clock.monotonic() - begun.began > PATIENCE:
            raise CallError("SCRAM: no authentication in progress", errno.EINVAL)
        origin, key = session.origin, begun.key
        try:
            answer = verify_final(
                begun.first,
                begun.server_first,
                text,
                verifier=_nobodys() if key is None else key.verifier,
                binding=begun.binding,
            )
        except MalformedMessage as exc:
            raise _malformed(exc) from None
        key = None if key is None else ctx.get(ApiKeys).get(key.id)
        account = None if key is None else ctx.get(Accounts).get(key.account_id)
        if (
            answer is None
            or key is None
            or account is None
            or _is_downgraded(session, begun.first)
        ):
            return await refuse(ctx, origin, "AUTH_ERR", "SCRAM", account), ""
        return await admit_key(ctx, origin, begun.attempt, account, key), answer


def _binding(session: Session, first: ClientFirst) -> bytes:
    """Give what the connection is bound to, empty when the client demands nothing.

    Raises:
        CallError: EOPNOTSUPP, it demands what there is not.
    """
    if first.binding is None:
        return b""
    binding = session.origin.channel_binding
    if first.binding != BINDING or binding is None:
        raise CallError(
            f"This connection has no channel binding {first.binding!r}",
            errno.EOPNOTSUPP,
        )
    return binding


def _is_downgraded(session: Session, first: ClientFirst) -> bool:
    """Tell whether somebody made the client believe that nothing can be bound.

    Such a login must fail (RFC 5802, section 6).
    """
    return first.wants_none and session.origin.channel_binding is not None


def _find_key(ctx: Context, first: ClientFirst) -> ApiKey | None:
    if first.key is None:
        return None
    username, key_id = first.key
    key = ctx.get(ApiKeys).get(key_id)
    account = ctx.get(Accounts).find(username)
    owned = key is not None and account is not None and key.account_id == account.id
    return key if owned else None


def _nobodys() -> Verifier:
    """Make a verifier that nothing proves, so that the same is computed."""
    return Verifier(b"", ITERATIONS, secrets.token_bytes(64), secrets.token_bytes(64))


def _malformed(exc: MalformedMessage) -> ValidationErrors:
    return ValidationErrors([ValidationError("login_data.rfc_str", str(exc))])
