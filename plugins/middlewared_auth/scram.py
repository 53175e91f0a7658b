"""The server's side of SCRAM-SHA-512 (RFC 5802), without I/O.

The name is ``<username>:<id of the API key>``, the secret the key's own part. Channel
binding is ``tls-server-end-point`` (RFC 5929, section 4).
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets

import msgspec

from middlewared_auth.hashing import Verifier

__all__ = [
    "BINDING",
    "ClientFirst",
    "MalformedMessage",
    "answer_first",
    "parse_first",
    "verify_final",
]

BINDING = "tls-server-end-point"
NONCE_BYTES = 32
#: Characters of a message of a client; ours need some 200.
MAX_MESSAGE = 4096

#: gs2-cbind-flag "," [authzid] "," client-first-message-bare (RFC 5802, section 7).
_FIRST = re.compile(
    r"(?P<header>(?:n|y|p=(?P<binding>[A-Za-z0-9.-]+)),(?:a=(?P<authzid>[^,]*))?,)"
    r"(?P<bare>n=(?P<name>[^,\x00]+),r=(?P<nonce>[!-+\--~]+)(?:,[A-Za-z]=[^,\x00]+)*)"
)
_FINAL = re.compile(
    r"(?P<unproved>c=(?P<channel>[A-Za-z0-9+/=]+),r=(?P<nonce>[!-+\--~]+)"
    r"(?:,[A-Za-z]=[^,\x00]+)*),p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_NAME = re.compile(r"(?P<username>[^:]+):(?P<key>[0-9]{1,18})", re.ASCII)


class MalformedMessage(Exception):
    """A client's message does not have the form of RFC 5802, section 7."""


class ClientFirst(msgspec.Struct, frozen=True):
    """The client's first message.

    Attributes:
        header: the GS2 header; the final message repeats it.
        bare: the rest, which both sides sign.
        name: as it was sent, with its escapes.
        nonce: the client's.
        binding: name of the channel binding it demands; None when it demands none.
    """

    header: str
    bare: str
    name: str
    nonce: str
    binding: str | None

    @property
    def wants_none(self) -> bool:
        """Whether it would bind, but believes that the server does not."""
        return self.header.startswith("y")

    @property
    def key(self) -> tuple[str, int] | None:
        """User name and id of the key; None when the name is something else."""
        found = _NAME.fullmatch(self.name)
        return None if found is None else (found["username"], int(found["key"]))


def parse_first(text: str) -> ClientFirst:
    """Read the client's first message.

    Raises:
        MalformedMessage: it is none, or speaks for somebody else (an authzid).
    """
    found = _FIRST.fullmatch(text) if len(text) <= MAX_MESSAGE else None
    if found is None:
        raise MalformedMessage("is no client-first-message of SCRAM (RFC 5802)")
    if found["authzid"]:
        raise MalformedMessage("has an authorization identity, expected none")
    return ClientFirst(
        header=found["header"],
        bare=found["bare"],
        name=found["name"],
        nonce=found["nonce"],
        binding=found["binding"],
    )


def answer_first(first: ClientFirst, salt: bytes, iterations: int) -> str:
    """Write the server's first message, with a nonce that begins with the client's."""
    nonce = _joined(first.nonce, secrets.token_bytes(NONCE_BYTES))
    return f"r={nonce},s={_encode(salt)},i={iterations}"


def _joined(nonce: str, more: bytes) -> str:
    """Append to a nonce.

    Clients of this protocol take nonces for the Base64 of 32 bytes and expect the
    Base64 of these and ours; all others expect text that begins with theirs.
    """
    try:
        theirs = base64.b64decode(nonce, validate=True)
    except (binascii.Error, ValueError):
        theirs = b""
    if len(theirs) == NONCE_BYTES:
        return _encode(theirs + more)
    return nonce + _encode(more)


def verify_final(
    first: ClientFirst,
    server_first: str,
    text: str,
    *,
    verifier: Verifier,
    binding: bytes,
) -> str | None:
    """Check the proof in the client's final message.

    Args:
        first: the client's first message.
        server_first: what was answered.
        text: the final message.
        verifier: of the key it is about.
        binding: what the channel is bound to, empty when the client demands none.

    Returns:
        The server's final message, which proves to the client that the server knows
        the verifier; None when the proof, the nonce or the binding is wrong.

    Raises:
        MalformedMessage: it is no final message.
    """
    found = _FINAL.fullmatch(text) if len(text) <= MAX_MESSAGE else None
    if found is None:
        raise MalformedMessage("is no client-final-message of SCRAM (RFC 5802)")
    try:
        proof = base64.b64decode(found["proof"], validate=True)
    except (binascii.Error, ValueError):
        raise MalformedMessage("has a proof that is no Base64") from None
    signed = f"{first.bare},{server_first},{found['unproved']}".encode()
    nonce = server_first.partition(",")[0].removeprefix("r=")
    right = [
        hmac.compare_digest(found["channel"], _encode(first.header.encode() + binding)),
        hmac.compare_digest(found["nonce"], nonce),
        _is_proof(proof, verifier.stored_key, signed),
    ]
    if not all(right):
        return None
    return f"v={_encode(hmac.digest(verifier.server_key, signed, 'sha512'))}"


def _is_proof(proof: bytes, stored_key: bytes, signed: bytes) -> bool:
    """Tell whether H(proof XOR signature) is the stored key (RFC 5802, section 3)."""
    signature = hmac.digest(stored_key, signed, "sha512")
    if len(proof) != len(signature):
        return False
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha512(client_key).digest(), stored_key)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
