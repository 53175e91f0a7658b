"""A way to the server on which its answers can be held back."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Passes bytes between a browser and a server, both ways.

    The page is served through it too, so that it finds its server here.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flow = threading.Event()
        self._flow.set()
        self._sockets: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flow.set()
        for end in self._sockets:
            _close(end)

    def hold(self) -> None:
        """Keep what the server says from now on; requests still pass."""
        self._flow.clear()

    def release(self) -> None:
        """Let the browser hear what was held back."""
        self._flow.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                for source, drain, flow in (
                    (near, far, None),
                    (far, near, self._flow),
                ):
                    threading.Thread(
                        target=_pump, args=(source, drain, flow), daemon=True
                    ).start()


def _pump(
    source: socket.socket, drain: socket.socket, flow: threading.Event | None
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if flow is not None:
                flow.wait()
            drain.sendall(data)
    _close(source)
    _close(drain)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
