"""A process of its own that calls ``core.ping`` again and again, and notes how long.

A busy load would make its own waiting look like the server's.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.running import TESTS

__all__ = ["Pings", "pinging"]

PAUSE_SECONDS = 0.005


class Pings:
    """What a process found; complete once it has ended.

    Attributes:
        seconds: how long each call took.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def percentile(self, part: float) -> float:
        """Give the milliseconds that this part of the calls did not exceed."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))]


@contextlib.contextmanager
def pinging(socket: Path) -> Iterator[Pings]:
    """Call all the while; the figures are there at the end."""
    pings = Pings()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pinger", str(socket)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield pings
    finally:
        process.terminate()
        text = process.communicate()[0]
        pings.seconds += [float(line) for line in text.splitlines()[:-1]]


def _main(path: str) -> None:
    from websockets.sync.client import unix_connect  # noqa: PLC0415 - the process's own

    with unix_connect(path, "ws://localhost/api/current") as socket:
        print("ready", flush=True)
        while True:
            began = time.perf_counter()
            socket.send('{"jsonrpc":"2.0","id":1,"method":"core.ping"}')
            socket.recv()
            print(time.perf_counter() - began, flush=True)
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    _main(sys.argv[1])
