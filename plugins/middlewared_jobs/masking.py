"""Masks values of secrets in texts, and in bytes that come in pieces."""

import io
import os
import re
import threading
from collections.abc import Iterable
from typing import BinaryIO

__all__ = ["MASK", "Masker", "MaskingPipe"]

MASK = "********"
_BLOCK = 1 << 16
#: Seconds that a body's own children may hold the pipe open after its end.
PUMP_SECONDS = 1.0


class Masker:
    """Replaces secrets by asterisks, the longest first; pure.

    `feed` takes pieces of one stream: a secret is found across their borders as well.

    Args:
        secrets: the texts; empty ones are ignored.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {secret.encode(errors="surrogatepass") for secret in secrets if secret}
        self._secrets = sorted(found, key=len, reverse=True)
        self._any = re.compile(b"|".join(map(re.escape, self._secrets)) or b"(?!)")
        self._longest = len(self._secrets[0]) if found else 0
        self._rest = b""

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def mask(self, text: str) -> str:
        """Mask a whole text."""
        if not self._secrets:
            return text
        raw = text.encode(errors="surrogatepass")
        masked = self._any.sub(MASK.encode(), raw)
        return masked.decode(errors="surrogatepass")

    def feed(self, data: bytes) -> bytes:
        """Mask a piece; what may be the beginning of a secret is kept back."""
        found, place, done = self._rest + data, 0, []
        # Before the edge no secret can be cut, so a look from there is a look from 0.
        edge = len(found) - self._longest + 1
        held = self._begin_of_held(found, 0)
        while True:
            match = self._any.search(found, place)
            if match is None or match.start() >= held:
                break
            done += [found[place : match.start()], MASK.encode()]
            place = match.end()
            if place > edge:
                held = self._begin_of_held(found, place)
        self._rest = found[held:]
        return b"".join([*done, found[place:held]])

    def end(self) -> bytes:
        """Give what was kept back: the stream has ended."""
        rest, self._rest = self._rest, b""
        return self._any.sub(MASK.encode(), rest)

    def _begin_of_held(self, data: bytes, place: int) -> int:
        """Find the first place from which a secret may go on in the next piece."""
        for begin in range(max(place, len(data) - self._longest + 1), len(data)):
            tail = data[begin:]
            if any(len(s) > len(tail) and s.startswith(tail) for s in self._secrets):
                return begin
        return len(data)


class MaskingPipe:
    """A pipe whose bytes arrive in a file with their secrets masked.

    Args:
        target: the file; owned from now on.
        masker: what to mask.

    Attributes:
        file: the end to write to; unbuffered.
    """

    def __init__(self, target: BinaryIO | io.FileIO, masker: Masker) -> None:
        self._target = target
        self._source, inlet = os.pipe()
        self._masker = masker
        self.file: BinaryIO = io.FileIO(inlet, "w")
        self._thread = threading.Thread(
            target=self._pump, name="log of a job with secrets", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close the pipe and wait until what was written is in the file.

        A child of the body that still holds the pipe is not waited for longer than
        `PUMP_SECONDS`; what it writes later is masked and stored all the same.
        """
        self.file.close()
        self._thread.join(PUMP_SECONDS)

    def _pump(self) -> None:
        try:
            while data := os.read(self._source, _BLOCK):
                self._store(self._masker.feed(data))
            self._store(self._masker.end())
        finally:
            os.close(self._source)
            self._target.close()

    def _store(self, data: bytes) -> None:
        while data:
            data = data[self._target.write(data) or 0 :]
