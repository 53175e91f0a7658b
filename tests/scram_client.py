"""The client's side of SCRAM-SHA-512, written from RFC 5802 alone."""

import base64
import hashlib
import hmac

__all__ = ["ScramClient"]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


class ScramClient:
    """One login.

    Args:
        name: user name, colon, id of the key.
        secret: the part of the key after its id.
        nonce: the client's.
        flag: of the GS2 header: ``n``, ``y`` or ``p=tls-server-end-point``.
        binding: what it believes that the channel is bound to.
    """

    def __init__(
        self,
        name: str,
        secret: str,
        *,
        nonce: str = "fyko+d2lbbFgONRv9qkxdawL",
        flag: str = "n",
        binding: bytes = b"",
    ) -> None:
        self._secret = secret
        self._nonce = nonce
        self._header = f"{flag},,"
        self._binding = binding
        self._bare = f"n={name},r={nonce}"
        self._signature = b""

    @property
    def first(self) -> str:
        """The client's first message."""
        return self._header + self._bare

    def final(self, server_first: str, *, nonce: str | None = None) -> str:
        """Give the client's final message.

        Args:
            server_first: what the server answered.
            nonce: to send instead of the right one.
        """
        parts = dict(part.split("=", 1) for part in server_first.split(","))
        salt, iterations = base64.b64decode(parts["s"]), int(parts["i"])
        secret = self._secret.encode()
        salted = hashlib.pbkdf2_hmac("sha512", secret, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha512")
        channel = _b64(self._header.encode() + self._binding)
        unproved = f"c={channel},r={nonce or parts['r']}"
        message = f"{self._bare},{server_first},{unproved}".encode()
        stored_key = hashlib.sha512(client_key).digest()
        signature = hmac.digest(stored_key, message, "sha512")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", "sha512")
        self._signature = hmac.digest(server_key, message, "sha512")
        return f"{unproved},p={_b64(proof)}"

    def trusts(self, server_final: str) -> bool:
        """Tell whether the server has proved that it knows the key."""
        return server_final == f"v={_b64(self._signature)}"
