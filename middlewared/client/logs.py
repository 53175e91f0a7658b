"""The log of a job while it grows."""

from collections.abc import Mapping
from typing import Any

import msgspec

from middlewared.client.subscriptions import RESUMED, Reader, Subscription

__all__ = ["LogChunk", "LogTail", "tail_name"]


class LogChunk(msgspec.Struct, frozen=True):
    """A piece of a log.

    Attributes:
        data: the text.
        offset: byte offset in the log after this piece; where to go on reading.
    """

    data: str
    offset: int


def tail_name(job_id: int, offset: int | None) -> str:
    """Name the collection that follows a log from a byte offset."""
    arguments = {"id": job_id} if offset is None else {"id": job_id, "offset": offset}
    return f"job.logs:{msgspec.json.encode(arguments).decode()}"


class LogTail(Reader):
    """An async iterator of `LogChunk`s that ends when the job has ended.

    After a reconnect it goes on where it was: nothing is lost and nothing comes twice.
    """

    def __init__(self, job_id: int, offset: int | None) -> None:
        self.job_id = job_id
        self.name = tail_name(job_id, offset)
        self._offset = offset
        self._chunks = Subscription(self.name)

    def deliver(self, notification: Mapping[str, Any]) -> None:
        """Queue one piece."""
        if notification["msg"] != RESUMED:
            self._offset = notification["fields"]["offset"]
            self._chunks.deliver(notification)

    def end(self, error: Exception | None) -> None:
        """End after what is queued."""
        self._chunks.end(error)

    def next_name(self, name: str) -> str:
        """Go on after the last piece."""
        return tail_name(self.job_id, self._offset)

    def __aiter__(self) -> "LogTail":
        return self

    async def __anext__(self) -> LogChunk:
        fields = (await self._chunks.__anext__())["fields"]
        return LogChunk(fields["data"], fields["offset"])
