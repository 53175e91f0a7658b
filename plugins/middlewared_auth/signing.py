"""Signed tokens: what a login needs to come back after a restart, in 64 characters."""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import struct
from pathlib import Path

import msgspec

from middlewared import Origin
from middlewared.errors import StartError

__all__ = ["Claim", "Signer", "origin_name", "read_key"]

KEY_BYTES = 32
#: flags, account, key, generation, issued (s), ttl (s), login, nonce: 32 bytes.
_LAYOUT = struct.Struct(">BIIIII8s3s")
#: Together with the layout 48 bytes, which are 64 characters without padding.
_MAC_BYTES = 16
_MATCH_ORIGIN = 1
_RECONNECT = 2
_LIMIT = 2**32


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a signed token says.

    Attributes:
        account_id: who logs in with it.
        generation: of the account when the token was made.
        key_id: the API key that the token came from; it narrows and ends with it.
        issued: seconds since 1970-01-01 UTC.
        ttl: seconds.
        match_origin: good from one address only; which one is in the signature.
        reconnect: continues the login that made it, instead of beginning another.
        login: id of the login that made it and ends it, eight bytes.
        nonce: three bytes that make it unlike others.
    """

    account_id: int
    generation: int
    key_id: int | None
    issued: int
    ttl: int
    match_origin: bool
    reconnect: bool
    login: bytes
    nonce: bytes


def origin_name(origin: Origin) -> str:
    """Name where a connection comes from, to compare it with another one.

    The unix socket is one origin: HTTP requests over it do not tell the user.
    """
    return "unix" if origin.address is None else origin.address


def read_key(path: Path) -> bytes:
    """Read the key that tokens are signed with; make it when there is none.

    Args:
        path: of the file, which only its owner may read.

    Raises:
        StartError: the file cannot be read or written, or holds something else.
    """
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            path.chmod(0o600)
        else:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        key = path.read_bytes()
    except OSError as exc:
        raise StartError(f"token key {str(path)!r}: {exc.strerror}") from None
    if len(key) != KEY_BYTES:
        raise StartError(
            f"token key {str(path)!r} has {len(key)} bytes, expected {KEY_BYTES}; "
            "remove it to have a new one made: all session tokens end"
        )
    return key


class Signer:
    """Writes and reads signed tokens. It keeps nothing: the account must be asked."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, claim: Claim, origin: Origin) -> str:
        """Write a token of 64 URL-safe characters.

        Raises:
            OverflowError: an id does not fit; this many accounts are not foreseen.
        """
        numbers = (
            claim.account_id,
            claim.key_id or 0,
            claim.generation,
            claim.issued,
            claim.ttl,
        )
        if not all(0 <= number < _LIMIT for number in numbers):
            raise OverflowError(f"{claim!r} does not fit into a token")
        flags = _MATCH_ORIGIN * claim.match_origin | _RECONNECT * claim.reconnect
        body = _LAYOUT.pack(flags, *numbers, claim.login, claim.nonce)
        return base64.urlsafe_b64encode(body + self._mac(body, origin)).decode()

    def read(self, token: str, origin: Origin) -> Claim | None:
        """Read a token, None when it was not made here or for another origin."""
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) != _LAYOUT.size + _MAC_BYTES:
            return None
        body, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if not hmac.compare_digest(mac, self._mac(body, origin)):
            return None
        flags, account, key, generation, issued, ttl, login, nonce = _LAYOUT.unpack(
            body
        )
        return Claim(
            account_id=account,
            generation=generation,
            key_id=key or None,
            issued=issued,
            ttl=ttl,
            match_origin=bool(flags & _MATCH_ORIGIN),
            reconnect=bool(flags & _RECONNECT),
            login=login,
            nonce=nonce,
        )

    def _mac(self, body: bytes, origin: Origin) -> bytes:
        where = origin_name(origin).encode() if body[0] & _MATCH_ORIGIN else b""
        return hmac.digest(self._key, body + where, hashlib.sha256)[:_MAC_BYTES]
