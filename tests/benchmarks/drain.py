"""Subscribers in a process of their own: ``drain SOCKET COUNT`` reads and forgets."""

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import call_frame
from benchmarks.running import TESTS

__all__ = ["draining"]

SIZE = 1 << 20
#: Much is read at a time, so that the core is left to who measures.
PAUSE_SECONDS = 0.005
HEAD = (
    b"GET /api/current HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)


@contextlib.contextmanager
def draining(path: Path, count: int) -> Iterator[int]:
    """Keep so many subscribers of all jobs; give the number of their process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.drain", str(path), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def _main(path: str, count: int) -> None:
    selector = selectors.DefaultSelector()
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall(HEAD)
        client.recv(SIZE)
        client.sendall(call_frame(1, "core.subscribe", ["core.get_jobs"]))
        client.recv(SIZE)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ, client)
    print("ready", flush=True)
    buffer = bytearray(SIZE)
    while True:
        for key, _ in selector.select():
            key.data.recv_into(buffer)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
