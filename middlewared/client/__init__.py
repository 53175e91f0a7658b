"""Talk to a server from Python: asyncio here, plain functions in `.sync`.

    async with connect("http://127.0.0.1:8420") as client:
        await client.login("admin", password)
        job = client.job("demo.checksum", "/usr/lib/python3")
        async for item in job:
            print(item["state"], item["progress"]["percent"])
        print(await job)

Values are those of the wire; `to_datetime` and `from_datetime` convert dates.
"""

import os
import ssl as _ssl

from middlewared.client.address import API_PATH, Address, parse_address
from middlewared.client.errors import (
    CannotConnect,
    ClientError,
    ConnectionLost,
    InvalidAddress,
    JobAborted,
    JobFailed,
    JobNotFound,
    JobValidationErrors,
    Lagged,
    LoginFailed,
    NotAJob,
    NotText,
    RemoteError,
    RemoteValidationErrors,
    ResultUnavailable,
)
from middlewared.client.files import Download
from middlewared.client.jobs import FINAL_STATES, JobHandle, is_final
from middlewared.client.logs import LogChunk, LogTail
from middlewared.client.session import Client
from middlewared.client.subscriptions import RESUMED, Subscription
from middlewared.client.wire import from_datetime, to_datetime

__all__ = [
    "API_PATH",
    "FINAL_STATES",
    "RESUMED",
    "Address",
    "CannotConnect",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Download",
    "InvalidAddress",
    "JobAborted",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "JobValidationErrors",
    "Lagged",
    "LogChunk",
    "LogTail",
    "LoginFailed",
    "NotAJob",
    "NotText",
    "RemoteError",
    "RemoteValidationErrors",
    "ResultUnavailable",
    "Subscription",
    "connect",
    "from_datetime",
    "is_final",
    "parse_address",
    "to_datetime",
]


def connect(
    address: str | os.PathLike[str],
    *,
    reconnect: bool = False,
    give_up_after: float | None = None,
    legacy_jobs: bool = False,
    ssl: _ssl.SSLContext | None = None,
    open_timeout: float = 10.0,
) -> Client:
    """Connect to a server for the length of an ``async with`` block.

    Enter and leave the block in the same task. On leaving it, the connection is closed
    in good order; jobs go on.

    Args:
        address: ``ws://``, ``wss://``, ``http://`` or ``https://`` URL, ``HOST:PORT``,
            ``ws+unix://PATH`` or the path of a unix socket; see `parse_address`.
        reconnect: when the connection is lost, make another, log in again, subscribe
            again and read again what became of the jobs. Calls in flight get
            `ConnectionLost` all the same, since they must not run twice. A server that
            closes with 1008 does not want us: no reconnect then.
        give_up_after: seconds after which reconnecting ends with `ConnectionLost`; None
            means never.
        legacy_jobs: let `Client.call` of a job method return the job's id at once
            instead of waiting for its result.
        ssl: TLS settings for ``wss://`` and ``https://``; by default the system's.
        open_timeout: seconds for connect and opening handshake.

    Raises:
        InvalidAddress: the address cannot be read.
        CannotConnect: there is no server, or it refused; raised on entering the block.
    """
    return Client(
        parse_address(address),
        reconnect=reconnect,
        give_up_after=give_up_after,
        legacy_jobs=legacy_jobs,
        ssl=ssl,
        open_timeout=open_timeout,
    )
