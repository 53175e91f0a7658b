"""Hashes of passwords and keys, made in threads of their own."""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from functools import partial

import anyio
import anyio.to_thread
import argon2
import msgspec

__all__ = ["ITERATIONS", "SALT_BYTES", "Hashing", "Verifier"]

#: Fewer are refused by SCRAM clients of this protocol (protocol page, section 3).
ITERATIONS = 50_000
SALT_BYTES = 16
#: argon2id as the OWASP Password Storage Cheat Sheet recommends it: memory in KiB,
#: and one lane, so that a flood of logins takes `THREADS` cores and no more.
ARGON2_MEMORY, ARGON2_TIME, ARGON2_LANES = 19_456, 2, 1
#: Hashes made at one time (design, section 8).
THREADS = 2
#: Verifiers whose secret is known again without a hash.
MAX_KNOWN = 1000


class Verifier(msgspec.Struct, frozen=True):
    """What a server keeps of a SCRAM-SHA-512 secret (RFC 5802, section 3)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return "Verifier(...)"


def derive(secret: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """Derive the verifier of a secret; takes tens of milliseconds."""
    salted = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha512")
    return Verifier(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.sha512(client_key).digest(),
        server_key=hmac.digest(salted, b"Server Key", "sha512"),
    )


def _nobodys_hash() -> str:
    """Make up a hash that no password has, so that the same is computed."""
    salt, digest = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(32)
    parts = [base64.b64encode(raw).rstrip(b"=").decode() for raw in (salt, digest)]
    cost = f"m={ARGON2_MEMORY},t={ARGON2_TIME},p={ARGON2_LANES}"
    return f"$argon2id$v=19${cost}${parts[0]}${parts[1]}"


class Hashing:
    """Makes and checks hashes in at most two threads, whatever else the server does.

    A cancelled caller waits for its thread: a hash takes tens of milliseconds.
    """

    def __init__(self) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=ARGON2_TIME,
            memory_cost=ARGON2_MEMORY,
            parallelism=ARGON2_LANES,
        )
        self._threads = anyio.CapacityLimiter(THREADS)
        self._known = _Known()

    async def hash_password(self, password: str) -> str:
        """Hash a password with argon2id."""
        return await anyio.to_thread.run_sync(
            self._argon2.hash, password, limiter=self._threads
        )

    async def check_password(self, hashed: str | None, password: str) -> bool:
        """Tell whether *password* is the one that was hashed.

        Args:
            hashed: None takes the same time and is never right, so that nobody learns
                which accounts exist or have a password.
            password: what somebody claims.
        """
        return await anyio.to_thread.run_sync(
            partial(self._check_password, hashed, password),
            limiter=self._threads,
        )

    def _check_password(self, hashed: str | None, password: str) -> bool:
        try:
            return self._argon2.verify(hashed or _nobodys_hash(), password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def make_verifier(self, secret: str) -> Verifier:
        """Derive a new verifier with a fresh salt."""
        salt = secrets.token_bytes(SALT_BYTES)
        return await anyio.to_thread.run_sync(
            derive, secret, salt, limiter=self._threads
        )

    async def check_secret(self, verifier: Verifier | None, secret: str) -> bool:
        """Tell whether *secret* is the verifier's; None takes as long and is not.

        Who polls with a key pays for one hash: a right secret is known again.
        """
        if verifier is not None and self._known.has(verifier, secret):
            return True
        salt = secrets.token_bytes(SALT_BYTES) if verifier is None else verifier.salt
        iterations = ITERATIONS if verifier is None else verifier.iterations
        made = await anyio.to_thread.run_sync(
            derive,
            secret,
            salt,
            iterations,
            limiter=self._threads,
        )
        if verifier is None:
            return False
        right = hmac.compare_digest(made.stored_key, verifier.stored_key)
        if right:
            self._known.add(verifier, secret)
        return right


class _Known:
    """Secrets that were right, as digests with a key that nobody else has.

    They are found by their verifier, so that a changed one has none. The secrets are
    long and random, so a fast digest in memory gives nothing away; passwords, which
    people choose, are never kept here.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._digests: OrderedDict[bytes, bytes] = OrderedDict()

    def has(self, verifier: Verifier, secret: str) -> bool:
        """Tell whether this secret was right for this verifier."""
        digest = self._digests.get(verifier.stored_key)
        if digest is None or not hmac.compare_digest(digest, self._digest(secret)):
            return False
        self._digests.move_to_end(verifier.stored_key)
        return True

    def add(self, verifier: Verifier, secret: str) -> None:
        """Know a right secret again; the one not used for longest is forgotten."""
        self._digests[verifier.stored_key] = self._digest(secret)
        self._digests.move_to_end(verifier.stored_key)
        if len(self._digests) > MAX_KNOWN:
            self._digests.popitem(last=False)

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._key, secret.encode(), "sha256")
