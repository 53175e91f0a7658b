"""The client for programs without an event loop.

    with Client("http://127.0.0.1:6000") as client:
        client.login("admin", password)
        print(client.job("demo.checksum", "/usr/lib/python3", callback=show))

A thread of its own runs the event loop. The methods may be called from any thread.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from middlewared.client import Client as AsyncClient
from middlewared.client import Download as AsyncDownload
from middlewared.client import JobHandle, connect
from middlewared.client.files import Progress, Source
from middlewared.client.jobs import Item

__all__ = ["Client", "Download", "Job"]


class Job:
    """One job, for blocking code; see `middlewared.client.JobHandle`."""

    def __init__(self, portal: BlockingPortal, handle: JobHandle) -> None:
        self._portal = portal
        self._handle = handle

    @property
    def id(self) -> int:
        """Id of the job."""
        return self._handle.id

    @property
    def item(self) -> Item:
        """The newest item."""
        return self._handle.item or {}

    def __iter__(self) -> Iterator[Item]:
        """Give the newest item and each change, until the final one."""
        items = aiter(self._handle)
        while True:
            try:
                yield self._portal.call(_step, items)
            except _Ended:
                return

    def result(self) -> Any:
        """Wait for the end and return the result; raises as `JobHandle` does."""
        return self._portal.call(_result, self._handle)

    def abort(self, *, force: bool = False) -> None:
        """Ask the server to stop the job; its end shows whether that worked."""
        self._portal.call(partial(self._handle.abort, force=force))


class Download:
    """The output of a job, for blocking code; see `middlewared.client.Download`.

    Attributes:
        job: the job.
    """

    def __init__(self, portal: BlockingPortal, download: AsyncDownload) -> None:
        self.job = Job(portal, download.job)
        self._portal = portal
        self._pieces = aiter(download)

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._portal.call(_step, self._pieces)
            except _Ended:
                return


class Client:
    """A session with a server, for blocking code.

    Connects on entering its ``with`` block and closes on leaving it.

    Args:
        address: as for `middlewared.client.connect`.
        options: as for `middlewared.client.connect`.
    """

    def __init__(self, address: str | os.PathLike[str], **options: Any) -> None:
        self._connect = partial(connect, address, **options)
        self._stack = ExitStack()
        self._portal: BlockingPortal
        self._client: AsyncClient

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            self._client = stack.enter_context(
                self._portal.wrap_async_context_manager(self._connect())
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def call(self, method: str, /, *params: Any, **named: Any) -> Any:
        """Call a method and return its result; raises as the asyncio client does."""
        return self._portal.call(partial(self._client.call, method, *params, **named))

    def login(self, username: str, password: str) -> dict[str, Any]:
        """Log in with a password; return ``user_info``."""
        return self._portal.call(self._client.login, username, password)

    def login_api_key(self, key: str, username: str | None = None) -> dict[str, Any]:
        """Log in with an API key."""
        return self._portal.call(self._client.login_api_key, key, username)

    def login_token(self, token: str) -> dict[str, Any]:
        """Log in with a token."""
        return self._portal.call(self._client.login_token, token)

    def start(self, method: str, /, *params: Any, **named: Any) -> Job:
        """Start a job and return when the server has accepted it."""
        handle = self._portal.call(partial(_start, self._client, method, params, named))
        return Job(self._portal, handle)

    def attach(self, job_id: int) -> Job:
        """Follow a job that exists already."""
        handle = self._portal.call(_attach, self._client, job_id)
        return Job(self._portal, handle)

    def job(
        self,
        method: str,
        /,
        *params: Any,
        callback: Callable[[Item], object] | None = None,
        **named: Any,
    ) -> Any:
        """Start a job, wait for its end and return its result.

        Args:
            method: name of a job method.
            params: params by position.
            callback: called in this thread with the first item and each change.
            named: params by name; not together with `params`.
        """
        job = self.start(method, *params, **named)
        if callback is not None:
            for item in job:
                callback(item)
        return job.result()

    def upload(
        self,
        method: str,
        /,
        *params: Any,
        files: Sequence[Source],
        progress: Progress | None = None,
        **named: Any,
    ) -> Job:
        """Start a job that reads files, and upload them; see the asyncio client.

        ``progress`` is called in the thread of the event loop.
        """
        start = partial(
            self._client.upload,
            method,
            *params,
            files=files,
            progress=progress,
            **named,
        )
        return Job(self._portal, self._portal.call(start))

    @contextmanager
    def download(
        self,
        method: str,
        /,
        *params: Any,
        filename: str = "download",
        buffered: bool = False,
    ) -> Iterator["Download"]:
        """Start a job that gives a download, for the length of a ``with`` block."""
        opened = self._client.download(
            method, *params, filename=filename, buffered=buffered
        )
        with self._portal.wrap_async_context_manager(opened) as download:
            yield Download(self._portal, download)

    @contextmanager
    def subscribe(self, name: str, **options: Any) -> Iterator[Iterator[Any]]:
        """Subscribe for the length of a ``with`` block; gives a blocking iterator.

        Args:
            name: the collection.
            options: as for the asyncio client.
        """
        with self._portal.wrap_async_context_manager(
            self._client.subscribe(name, **options)
        ) as subscription:
            yield self._notifications(subscription)

    def _notifications(self, subscription: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._portal.call(_step, subscription)
            except _Ended:
                return


class _Ended(Exception):
    """Stands for StopAsyncIteration, which a future cannot carry."""


async def _step(items: Any) -> Any:
    try:
        return await anext(items)
    except StopAsyncIteration:
        raise _Ended from None


async def _result(handle: JobHandle) -> Any:
    return await handle


async def _start(
    client: AsyncClient, method: str, params: tuple[Any, ...], named: dict[str, Any]
) -> JobHandle:
    handle = client.job(method, *params, **named)
    await handle.wait_accepted()
    return handle


async def _attach(client: AsyncClient, job_id: int) -> JobHandle:
    handle = client.attach(job_id)
    await handle.wait_accepted()
    return handle
