"""Waits for a process while its output is taken."""

import os
import select
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from middlewared_commands.output import Stream
from middlewared_commands.process import Process

__all__ = ["Pipes", "pump"]

BLOCK = 1 << 16
#: Seconds that what has left the session may hold the output open after the end.
DRAIN_SECONDS = 0.5


class Pipes:
    """Pipes for the output of a process, for the length of a block.

    Args:
        count: how many.

    Attributes:
        outlets: descriptors to read from.
        inlets: descriptors to write to; they are for the process alone.
    """

    def __init__(self, count: int) -> None:
        self.outlets: list[int] = []
        self.inlets: list[int] = []
        self._count = count

    def __enter__(self) -> Self:
        try:
            for _ in range(self._count):
                outlet, inlet = os.pipe()
                self.outlets.append(outlet)
                self.inlets.append(inlet)
        except OSError:
            self._close_all()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_all()

    def _close_all(self) -> None:
        self.close_inlets()
        _close(self.outlets)

    def close_inlets(self) -> None:
        """Leave the inlets to the process, which has its own descriptors of them."""
        _close(self.inlets)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def pump(
    process: Process, streams: Mapping[int, Stream], ended: Callable[[], None]
) -> None:
    """Take the output of a process until it has ended; uses constant memory.

    Args:
        process: it runs.
        streams: what takes the output of each descriptor.
        ended: called when it has ended, before the last output is taken.
    """
    poll, open_ = select.poll(), dict(streams)
    for descriptor in (process.descriptor, *open_):
        poll.register(descriptor, select.POLLIN)
    running = True
    while running:
        for descriptor, _ in poll.poll():
            if descriptor == process.descriptor:
                running = False
            else:
                _read(descriptor, open_, poll)
    ended()
    poll.unregister(process.descriptor)
    _drain(poll, open_)


def _drain(poll: select.poll, open_: dict[int, Stream]) -> None:
    """Take what is left; somebody else may hold the pipes open for ever."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while open_ and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            _read(descriptor, open_, poll)
    for stream in open_.values():
        stream.end()


def _read(descriptor: int, open_: dict[int, Stream], poll: select.poll) -> None:
    data = os.read(descriptor, BLOCK)
    if data:
        open_[descriptor].feed(data)
    else:
        poll.unregister(descriptor)
        open_.pop(descriptor).end()
