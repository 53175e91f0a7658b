"""Jobs as a client sees them: handles that follow the events of ``core.get_jobs``."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from itertools import chain
from typing import Any

import anyio

from middlewared.client.errors import ConnectionLost, JobNotFound, job_error
from middlewared.client.subscriptions import RESUMED, Reader

__all__ = ["FINAL_STATES", "Item", "JobHandle", "JobTracker", "is_final"]

#: One item of ``core.get_jobs`` (protocol page, 5.1), as it is on the wire.
Item = Mapping[str, Any]

FINAL_STATES = frozenset({"SUCCESS", "FAILED", "ABORTED"})

#: Items that may wait in one iterator; see `JobHandle`.
MAX_ITEMS = 100

#: Jobs per query after a reconnect; a server answers with at most 1000 items.
SLICE = 500

Call = Callable[..., Awaitable[Any]]


def is_final(item: Item) -> bool:
    """Say whether the job of an item has ended."""
    return item["state"] in FINAL_STATES


class _Mailbox:
    """The items that one iterator has not read yet."""

    def __init__(self) -> None:
        self.items: deque[Item] = deque(maxlen=MAX_ITEMS)
        self.wakeup = anyio.Event()

    def put(self, item: Item) -> None:
        """Add an item; of the same state, the newest is enough."""
        if self.items and self.items[-1]["state"] == item["state"]:
            self.items[-1] = item
        else:
            self.items.append(item)
        self.wakeup.set()


class JobHandle:
    """One job: awaitable for its result, an async iterator of its items.

    ``result = await handle`` gives what the job returned, or raises `JobFailed`,
    `JobValidationErrors`, `JobAborted` or `ResultUnavailable`; `RemoteError` when the
    server refused the call, so that there is no job; `NotAJob`; `ConnectionLost`.

    ``async for item in handle`` gives the newest item first, then each change, and ends
    after the final item without raising for it. A reader that is behind gets, of
    consecutive items with the same state, the newest.

    Cancelling a wait only stops the waiting: jobs outlive clients. `abort` stops a job.

    Attributes:
        method: its method; empty for a job that was attached to and not yet read.
        message_id: id of the request that started it, None when attached to.
        item: the newest item, None until the server accepted the job.
    """

    def __init__(
        self,
        call: Call,
        *,
        method: str = "",
        message_id: str | None = None,
        job_id: int | None = None,
    ) -> None:
        self._call = call
        self._id = job_id
        self._known = anyio.Event()
        self._ended = anyio.Event()
        self._error: Exception | None = None
        self._mailboxes: set[_Mailbox] = set()
        self.method = method
        self.message_id = message_id
        self.item: Item | None = None

    def __repr__(self) -> str:
        state = "not accepted" if self.item is None else self.item["state"]
        return f"<JobHandle {self._id} {self.method} {state}>"

    @property
    def id(self) -> int:
        """Id of the job.

        Raises:
            RuntimeError: the server has not accepted the job yet; await
                `wait_accepted` first.
        """
        if self._id is None:
            raise RuntimeError(f"the server has not accepted {self.method} yet")
        return self._id

    @property
    def accepted(self) -> bool:
        """Whether the server said that the job exists."""
        return self.item is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: a final state, or an error."""
        return self._ended.is_set()

    async def wait_accepted(self) -> int:
        """Wait until the server has the job on disk, and return its id.

        Raises:
            RemoteError: the server refused the call.
            NotAJob: the method answered without a job.
            ConnectionLost: it is not known whether the job exists.
        """
        await self._known.wait()
        if self.item is None and self._error is not None:
            raise self._error
        return self.id

    async def wait_ended(self) -> Item:
        """Wait for the end, whatever it is, and return the final item.

        Raises:
            RemoteError, NotAJob, JobNotFound, ConnectionLost: as for `wait_accepted`,
                or the job was lost sight of.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        return self.item or {}

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def _result(self) -> Any:
        item = await self.wait_ended()
        error = job_error(item)
        if error is not None:
            raise error
        return item["result"]

    async def __aiter__(self) -> AsyncIterator[Item]:
        mailbox = _Mailbox()
        if self.item is not None:
            mailbox.put(self.item)
        self._mailboxes.add(mailbox)
        try:
            while True:
                while mailbox.items:
                    yield mailbox.items.popleft()
                if self.ended:
                    break
                mailbox.wakeup = anyio.Event()
                await mailbox.wakeup.wait()
        finally:
            self._mailboxes.discard(mailbox)
        if self._error is not None:
            raise self._error

    async def abort(self, *, force: bool = False) -> None:
        """Ask the server to stop the job; its end shows whether that worked.

        Args:
            force: also stop a job that is not abortable; for full admins.

        Raises:
            RemoteError: not allowed, or the job is not abortable.
        """
        job_id = await self.wait_accepted()
        await self._call("job.abort", job_id, {"force": force})

    def update(self, item: Item) -> None:
        """Take a newer item; one that is older than the end is ignored."""
        if self.ended:
            return
        self._id, self.method, self.item = item["id"], item["method"], item
        self._known.set()
        for mailbox in self._mailboxes:
            mailbox.put(item)
        if is_final(item):
            self._ended.set()

    def fail(self, error: Exception) -> None:
        """End without a final item."""
        if self.ended:
            return
        self._error = error
        self._known.set()
        self._ended.set()
        for mailbox in self._mailboxes:
            mailbox.wakeup.set()


class JobTracker(Reader):
    """Hands the events of ``core.get_jobs`` to the handles they concern.

    Handles are forgotten when they end; jobs of others are not kept.
    """

    def __init__(self) -> None:
        self._by_message: dict[str, JobHandle] = {}
        self._by_id: dict[int, list[JobHandle]] = {}

    def add(self, handle: JobHandle) -> None:
        """Follow a job: by its id if that is known, else by its request's."""
        if handle.message_id is not None and not handle.accepted:
            self._by_message[handle.message_id] = handle
        else:
            self._by_id.setdefault(handle.id, []).append(handle)

    def discard(self, handle: JobHandle) -> None:
        """Stop following a handle."""
        if handle.message_id is not None:
            self._by_message.pop(handle.message_id, None)
        if handle._id is not None:
            followers = self._by_id.get(handle.id, [])
            if handle in followers:
                followers.remove(handle)
            if not followers:
                self._by_id.pop(handle.id, None)

    def deliver(self, notification: Mapping[str, Any]) -> None:
        """Take one event of ``core.get_jobs``."""
        if notification["msg"] != RESUMED:
            item = notification.get("fields")
            if item:
                self.update(item)

    def update(self, item: Item) -> None:
        """Take an item from an event or from a list."""
        for message_id in item.get("message_ids") or ():
            handle = self._by_message.pop(message_id, None)
            if handle is not None:
                self._by_id.setdefault(item["id"], []).append(handle)
        followers = self._by_id.get(item["id"], ())
        for handle in tuple(followers):
            handle.update(item)
        if followers and is_final(item):
            del self._by_id[item["id"]]

    def end(self, error: Exception | None) -> None:
        """End every handle without a final item."""
        waiting = list(self._by_message.values())
        followed = list(chain.from_iterable(self._by_id.values()))
        self._by_message.clear()
        self._by_id.clear()
        for handle in waiting + followed:
            handle.fail(error or ConnectionLost("the server ended core.get_jobs"))

    async def restore(self, call: Call) -> None:
        """Read again, after a reconnect, what became of the jobs.

        A job whose request was on its way when the connection was lost is found by the
        id of that request; is there none, its handle gets `ConnectionLost`.

        Args:
            call: calls a method on the new connection.
        """
        for ids in _slices(sorted(self._by_id)):
            found = await call("core.get_jobs", [["id", "in", ids]])
            for item in found:
                self.update(item)
            for job_id in set(ids) - {item["id"] for item in found}:
                for handle in self._by_id.pop(job_id, ()):
                    handle.fail(JobNotFound(f"job {job_id} no longer exists"))
        for message_id, handle in list(self._by_message.items()):
            for item in await call(
                "core.get_jobs", [["message_ids", "rin", message_id]]
            ):
                self.update(item)
            if self._by_message.pop(message_id, None) is not None:
                handle.fail(
                    ConnectionLost(
                        f"connection lost before the server accepted {handle.method}"
                    )
                )


def _slices(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + SLICE] for start in range(0, len(ids), SLICE)]
