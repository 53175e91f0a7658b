"""The client: calls, jobs and subscriptions over a connection that may come back."""

import logging
import secrets
import ssl as _ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from errno import EOPNOTSUPP
from itertools import count
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from middlewared.client.access import TOKEN_TTL, Access
from middlewared.client.address import Address
from middlewared.client.backoff import Backoff, redial
from middlewared.client.connection import Connection, dial
from middlewared.client.errors import (
    ClientError,
    ConnectionLost,
    JobNotFound,
    NotAJob,
    RemoteError,
)
from middlewared.client.files import (
    Download,
    Progress,
    Source,
    Web,
    upload_files,
)
from middlewared.client.jobs import JobHandle, JobTracker
from middlewared.client.logs import LogTail
from middlewared.client.subscriptions import Reader, Subscription, Subscriptions

__all__ = ["Client"]

#: Seconds that the token of an upload is good for; it is used at once.
UPLOAD_TTL = 60

log = logging.getLogger("middlewared.client")

#: Subscribing to this name gives the events of all collections.
ALL_EVENTS = "*"

#: Close code of a server that does not want this client (RFC 6455: policy violation).
POLICY_VIOLATION = 1008

#: Seconds to tell the server goodbye while the caller is being cancelled.
FAREWELL = 2.0


class Client:
    """A session with a server; made by `middlewared.client.connect`.

    All methods may be called from any task of the event loop. Cancelling a call stops
    the waiting; what the server has begun goes on.

    Attributes:
        address: where the server is.
        reconnects: how often the connection came back.
    """

    def __init__(
        self,
        address: Address,
        *,
        reconnect: bool = False,
        give_up_after: float | None = None,
        legacy_jobs: bool = False,
        ssl: _ssl.SSLContext | None = None,
        open_timeout: float = 10.0,
    ) -> None:
        self.address = address
        self.reconnects = 0
        self._reconnect = reconnect
        self._give_up_after = give_up_after
        self._options = {"legacy_jobs": legacy_jobs}
        self._ssl = ssl
        self._open_timeout = open_timeout
        self._web = Web(address, ssl, open_timeout)
        self._connection: Connection | None = None
        self._ready = anyio.Event()
        self._failure: Exception | None = None
        self._closing = False
        self._backoff = Backoff()
        # Unique among all clients: jobs of others appear with their ids, too.
        prefix = secrets.token_hex(8)
        self._message_ids = (f"{prefix}-{number}" for number in count(1))
        self._access = Access()
        self._subscriptions = Subscriptions(self.call)
        self._jobs = JobTracker()
        self._watching = False
        self._watch_lock = anyio.Lock()
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> Self:
        self._connection = await self._dial()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._run, self._connection)
        try:
            await self._wait_ready()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        with anyio.move_on_after(FAREWELL, shield=True):
            if self._connection is not None:
                await self._connection.close()
        self._group.cancel_scope.cancel()
        # The error of the body is not given to the group, which would wrap it.
        await self._group.__aexit__(None, None, None)
        self._finish(self._failure or ConnectionLost("the client was closed"))

    # Calls

    async def call(self, method: str, /, *params: Any, **named: Any) -> Any:
        """Call a method and return its result; of a job method, the job's.

        With the option ``legacy_jobs`` the result of a job method is the job's id.
        While the connection is being restored, the call waits for it. A call that was
        sent is never sent twice.

        Args:
            method: name of the method.
            params: params by position.
            named: params by name; not together with `params`.

        Raises:
            RemoteError: the server answered with an error; `RemoteValidationErrors`
                when it refused the params.
            ConnectionLost: there will be no answer; whether the call took effect is
                not known.
        """
        if params and named:
            raise TypeError(f"{method}: params go by position or by name, not both")
        connection = await self._wait_ready()
        return await connection.request(
            next(self._message_ids), method, named or params
        )

    # Access

    async def login(self, username: str, password: str) -> dict[str, Any]:
        """Log in with a password; return ``user_info``.

        With the option ``reconnect`` a token for the next connection is fetched too,
        and the credentials stay in memory for the case that the token is not accepted.

        Raises:
            LoginFailed: the server does not accept the credentials.
        """
        return await self._login(
            {
                "mechanism": "PASSWORD_PLAIN",
                "username": username,
                "password": password,
            }
        )

    async def login_api_key(
        self, key: str, username: str | None = None
    ) -> dict[str, Any]:
        """Log in with an API key; return ``user_info``, empty without a user name.

        Raises:
            LoginFailed: the server does not accept the key.
        """
        if username is None:
            return await self._login({"api_key": key})
        return await self._login(
            {"mechanism": "API_KEY_PLAIN", "username": username, "api_key": key}
        )

    async def login_token(self, token: str) -> dict[str, Any]:
        """Log in with a token of ``auth.generate_token``; return ``user_info``.

        Raises:
            LoginFailed: the server does not accept the token, or no longer.
        """
        return await self._login({"mechanism": "TOKEN_PLAIN", "token": token})

    async def logout(self) -> None:
        """End the login; the connection stays, and forgets how to log in again."""
        self._access.forget()
        await self.call("auth.logout")

    async def _login(self, credentials: dict[str, Any]) -> dict[str, Any]:
        user = await self._access.login(self.call, credentials)
        if self._reconnect:
            first = not self._access.known
            await self._access.remember(self.call, credentials)
            if first:
                self._group.start_soon(self._keep_token)
        return user

    async def _keep_token(self) -> None:
        while self._access.known:
            await anyio.sleep(TOKEN_TTL / 2)
            if self._access.known:
                await self._access.renew(self.call)

    # Jobs

    def job(self, method: str, /, *params: Any, **named: Any) -> JobHandle:
        """Start a job, and return at once a handle to follow it by.

        Args:
            method: name of a job method.
            params: params by position.
            named: params by name; not together with `params`.
        """
        if params and named:
            raise TypeError(f"{method}: params go by position or by name, not both")
        handle = JobHandle(self.call, method=method, message_id=next(self._message_ids))
        self._group.start_soon(self._start_job, handle, method, named or params)
        return handle

    def attach(self, job_id: int) -> JobHandle:
        """Follow a job that exists already; the handle fails with `JobNotFound`."""
        handle = JobHandle(self.call, job_id=job_id)
        self._group.start_soon(self._find_job, handle)
        return handle

    async def _start_job(
        self,
        handle: JobHandle,
        method: str,
        params: Sequence[Any] | Mapping[str, Any],
    ) -> None:
        sent = False
        try:
            await self._watch_jobs()
            connection = await self._wait_ready()
            self._jobs.add(handle)
            sent = True
            result = await connection.request(handle.message_id or "", method, params)
        except ConnectionLost as lost:
            # Once it was sent, `JobTracker.restore` finds out, or `_finish` ends it.
            if not sent:
                self._drop(handle, lost)
        except (RemoteError, ClientError, TypeError) as error:
            # Of a job that exists, the final event tells the same.
            if not handle.accepted:
                self._drop(handle, error)
        else:
            if not handle.accepted:
                self._drop(handle, NotAJob(method, result))

    async def _find_job(self, handle: JobHandle) -> None:
        self._jobs.add(handle)
        try:
            await self._watch_jobs()
            items = await self.call("core.get_jobs", [["id", "=", handle.id]])
        except ConnectionLost as lost:
            # Else `JobTracker.restore` reads it, or `_finish` ends it.
            if self._failure is not None:
                self._drop(handle, lost)
            return
        except (RemoteError, ClientError) as error:
            self._drop(handle, error)
            return
        for item in items:
            self._jobs.update(item)
        if not items:
            self._drop(handle, JobNotFound(f"there is no job {handle.id}"))

    def _drop(self, handle: JobHandle, error: Exception) -> None:
        self._jobs.discard(handle)
        handle.fail(error)

    async def _watch_jobs(self) -> None:
        """Subscribe to ``core.get_jobs`` before the first job is started."""
        async with self._watch_lock:
            if not self._watching:
                await self._subscriptions.add("core.get_jobs", self._jobs)
                self._watching = True

    # Files

    async def upload(
        self,
        method: str,
        /,
        *params: Any,
        files: Sequence[Source],
        progress: Progress | None = None,
        **named: Any,
    ) -> JobHandle:
        """Start a job that reads files, upload them, and return a handle of it.

        Returns when the server has read all of them; the job may still run. Cancelled
        before, the job fails.

        Args:
            method: name of a job method that takes an upload.
            params: params by position.
            files: one to five: paths, or names with their bytes, which may come from an
                async iterator.
            progress: called with the bytes that are sent so far.
            named: params by name; not together with `params`.

        Raises:
            RemoteError: the server refused.
            CannotConnect, ConnectionLost: it is not known what became of the job.
            OSError: a file cannot be read.
        """
        if params and named:
            raise TypeError(f"{method}: params go by position or by name, not both")
        token = await self.call("auth.generate_token", UPLOAD_TTL, {}, False, True)
        wanted = {"method": method, "params": named or params}
        return self.attach(
            await upload_files(self._web, token, wanted, files, progress)
        )

    @asynccontextmanager
    async def download(
        self,
        method: str,
        /,
        *params: Any,
        filename: str = "download",
        buffered: bool = False,
    ) -> AsyncIterator[Download]:
        """Start a job that gives a download, for the length of a ``with`` block.

        Args:
            method: name of a job method that gives a download.
            params: params by position.
            filename: what browsers would call it.
            buffered: let the server keep it in a file: the job does not wait for us,
                and a broken connection is made good.

        Raises:
            RemoteError: the server refused.
        """
        job_id, target = await self.call(
            "core.download", method, params, filename, buffered
        )
        job = self.attach(job_id)
        download = Download(self._web, target, job, buffered=buffered)
        try:
            yield download
        finally:
            await download.aclose()

    @asynccontextmanager
    async def download_result(self, job_id: int) -> AsyncIterator[Download]:
        """Download what a job returned, as JSON, for the length of a ``with`` block.

        That is the way to a result that is too large for an answer.

        Args:
            job_id: id of a job that succeeded.

        Raises:
            RemoteError: there is no such job, or no such result.
        """
        target = await self.call("job.result", job_id)
        download = Download(self._web, target, self.attach(job_id), buffered=False)
        try:
            yield download
        finally:
            await download.aclose()

    # Subscriptions

    @asynccontextmanager
    async def subscribe(
        self,
        name: str,
        *,
        since: Mapping[str, Any] | None = None,
        snapshot: bool = False,
        filters: Sequence[Any] = (),
        select: Sequence[Any] = (),
        max_rate: float | None = None,
        removed: bool | None = None,
    ) -> AsyncIterator[Subscription]:
        """Subscribe to a collection for the length of a ``with`` block.

        After a reconnect what was missed is sent. Names with arguments such as
        ``job.logs:{"id":42}``, of which a client has one at a time, and ``*`` take no
        options, and go on without what was missed.

        Args:
            name: the collection.
            since: go on from the `Subscription.position` of an earlier subscription.
            snapshot: give the items that there are first, and again when what was
                missed cannot be sent.
            filters: only items that match, conditions as in queries.
            select: the fields to give, as in queries.
            max_rate: updates a second about one item.
            removed: whether ``removed`` is wanted; None is the collection's default.

        Raises:
            RemoteError: the server refused.
        """
        options: dict[str, Any] = {"since": since}
        given = {"snapshot": snapshot, "filters": filters, "select": select}
        options |= {key: value for key, value in given.items() if value}
        if max_rate is not None:
            options["max_rate"] = max_rate
        if removed is not None:
            options["removed"] = removed
        plain = name == ALL_EVENTS or ":" in name
        if plain and (len(options) > 1 or since is not None):
            raise ValueError(f"{name} takes no options")
        subscription = Subscription(name, None if plain else options)
        async with self._subscribed(name, subscription):
            yield subscription

    @asynccontextmanager
    async def tail_log(
        self, job_id: int, *, offset: int | None = None
    ) -> AsyncIterator[LogTail]:
        """Follow the log of a job until the job has ended.

        Args:
            job_id: id of the job.
            offset: byte offset to start at; None starts at the last lines.

        Raises:
            RemoteError: there is no such job, or it keeps no log.
        """
        tail = LogTail(job_id, offset)
        async with self._subscribed(tail.name, tail):
            yield tail

    @asynccontextmanager
    async def _subscribed(self, name: str, reader: Reader) -> AsyncIterator[None]:
        await self._subscribe(name, reader)
        try:
            yield
        finally:
            with anyio.move_on_after(FAREWELL, shield=True):
                try:
                    await self._subscriptions.discard(reader)
                except (RemoteError, ConnectionLost) as error:
                    log.debug("unsubscribing from %s: %s", name, error)

    async def _subscribe(self, name: str, reader: Reader) -> None:
        if isinstance(reader, Subscription) and reader.options is not None:
            try:
                await self._subscriptions.follow(reader)
            except RemoteError as error:
                # A collection that would take arguments, but needs none.
                if error.errno != EOPNOTSUPP or reader.wants_something:
                    raise
            else:
                return
        await self._subscriptions.add(name, reader)

    # The connection

    async def _dial(self) -> Connection:
        return await dial(
            self.address,
            self._subscriptions.notify,
            ssl=self._ssl,
            open_timeout=self._open_timeout,
        )

    async def _wait_ready(self) -> Connection:
        """Wait for a connection that is set up.

        Raises:
            ConnectionLost: there will be none, or another error that says why.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._ready.is_set() and self._connection is not None:
                return self._connection
            await self._ready.wait()

    async def _run(self, connection: Connection) -> None:
        """Serve one connection after the other."""
        while True:
            lost = await self._serve(connection)
            refused = lost.code == POLICY_VIOLATION
            if not self._reconnect or self._closing or refused or self._failure:
                break
            log.warning("%s; connecting again", lost)
            try:
                following = await redial(
                    self._dial, self._backoff, give_up_after=self._give_up_after
                )
            except TimeoutError as error:
                self._failure = ConnectionLost(f"{lost}; {error}", lost.code)
                break
            self._connection = connection = following
            self.reconnects += 1
        self._finish(self._failure or lost)

    async def _serve(self, connection: Connection) -> ConnectionLost:
        """Set a connection up and read it to its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._set_up, connection)
            lost = await connection.read()
            # From here on calls wait for the next connection; those that wait
            # already, since it never got ready, go on waiting for the same event.
            if self._ready.is_set():
                self._ready = anyio.Event()
            self._subscriptions.forget_idents()
            group.cancel_scope.cancel()
        return lost

    async def _set_up(self, connection: Connection) -> None:
        """Bring a new connection to where the last one was."""

        async def call(method: str, *params: Any) -> Any:
            return await connection.request(next(self._message_ids), method, params)

        try:
            await call("core.set_options", self._options)
            await self._access.restore(call)
            await self._subscriptions.restore(call)
            await self._jobs.restore(call)
            self._backoff.reset()
            self._ready.set()
            await self._subscriptions.resume(call)
        except ConnectionLost:
            return  # `_run` knows, too, and tries again
        except (ClientError, RemoteError) as error:
            self._failure = error
            await connection.close()

    def _finish(self, failure: Exception) -> None:
        """Tell everybody that the session is over."""
        self._failure = failure
        self._ready.set()
        self._subscriptions.end_all(failure)
        self._jobs.end(failure)
