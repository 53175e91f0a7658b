"""Seals the params of unfinished jobs that hold secrets (design, section 6)."""

import hmac
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from middlewared.errors import StartError

__all__ = ["Seal"]


class Seal:
    """Encrypts with a key that lives beside the database, readable by its owner only.

    Args:
        path: the key file; made when it does not exist.

    Raises:
        StartError: the key file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            if not path.exists():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - a mode from the start
                    file.write(Fernet.generate_key())
            key = path.read_bytes()
            self._fernet = Fernet(key)
            self._key = key
        except (OSError, ValueError) as exc:
            raise StartError(f"key file {str(path)!r}: {exc}") from None

    def close(self, data: bytes) -> bytes:
        """Encrypt."""
        return self._fernet.encrypt(data)

    def digest(self, data: bytes) -> str:
        """Give a hash that nobody without the key can make or look up."""
        return hmac.digest(self._key, data, "sha256").hex()

    def open(self, sealed: bytes) -> bytes | None:
        """Decrypt; None when another key sealed it."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            return None
