"""The documents, made once for all callers who may see the same."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import msgspec

from middlewared import Credentials
from middlewared.registry import Registry
from middlewared.schema import Schema
from middlewared_openrpc.asyncapi import asyncapi_at, asyncapi_document
from middlewared_openrpc.openrpc import openrpc_at, openrpc_document
from middlewared_openrpc.place import Place
from middlewared_openrpc.visible import Visible, visible_to

__all__ = ["Documents"]

T = TypeVar("T")

#: Documents kept; the one that was wanted least recently gives way.
KEPT = 64

_encode = msgspec.json.Encoder().encode


class Documents:
    """Makes the documents of a server, whose methods do not change while it runs.

    What takes time is made once for everybody who may see the same, wherever from.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._limiter = anyio.CapacityLimiter(1)
        self._made: OrderedDict[Hashable, Schema] = OrderedDict()

    def visible_to(self, credentials: Credentials | None) -> Visible:
        """Select what a caller may call and watch."""
        return visible_to(self._registry, credentials)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do what takes milliseconds in a thread, one at a time, beside the loop."""
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    async def openrpc(
        self, credentials: Credentials | None, place: Place | None = None
    ) -> bytes:
        """Give the OpenRPC document of a caller, encoded.

        Args:
            credentials: whose.
            place: where the caller finds the server; None when it is connected.
        """
        document = await self._once(openrpc_document, self.visible_to(credentials))
        return _encode(document if place is None else openrpc_at(document, place))

    async def asyncapi(self, credentials: Credentials | None, place: Place) -> bytes:
        """Give the AsyncAPI document of a caller, encoded.

        Args:
            credentials: whose.
            place: where the caller finds the server.
        """
        document = await self._once(asyncapi_document, self.visible_to(credentials))
        return _encode(asyncapi_at(document, place))

    async def _once(
        self, make: Callable[[Visible], Schema], visible: Visible
    ) -> Schema:
        key = make.__name__, visible.key
        document = self._made.pop(key, None)
        if document is None:
            document = await self.aside(partial(make, visible))
        self._made[key] = document  # at the end: it was wanted last
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return document
