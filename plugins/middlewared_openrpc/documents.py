"""The documents, made once for all callers who may see the same."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import msgspec

from middlewared import Credentials
from middlewared.registry import Registry
from middlewared.schema import Schema
from middlewared_openrpc.asyncapi import asyncapi_at, asyncapi_document
from middlewared_openrpc.openrpc import openrpc_at, openrpc_document
from middlewared_openrpc.place import Place
from middlewared_openrpc.visible import Visible, visible_to

__all__ = ["Documents"]

#: Documents kept; the one that was wanted least recently gives way.
KEPT = 64

_encode = msgspec.json.Encoder().encode


class Documents:
    """Makes the documents of a server, whose methods do not change while it runs.

    What takes time is made once for everybody who may see the same, wherever from.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: OrderedDict[Hashable, Schema] = OrderedDict()

    def visible_to(self, credentials: Credentials | None) -> Visible:
        """Select what a caller may call and watch."""
        return visible_to(self._registry, credentials)

    def openrpc(
        self, credentials: Credentials | None, place: Place | None = None
    ) -> bytes:
        """Give the OpenRPC document of a caller, encoded.

        Args:
            credentials: whose.
            place: where the caller finds the server; None when it is connected.
        """
        document = self._once(openrpc_document, self.visible_to(credentials))
        return _encode(document if place is None else openrpc_at(document, place))

    def asyncapi(self, credentials: Credentials | None, place: Place) -> bytes:
        """Give the AsyncAPI document of a caller, encoded.

        Args:
            credentials: whose.
            place: where the caller finds the server.
        """
        document = self._once(asyncapi_document, self.visible_to(credentials))
        return _encode(asyncapi_at(document, place))

    def _once(self, make: Callable[[Visible], Schema], visible: Visible) -> Schema:
        key = make.__name__, visible.key
        if key not in self._made:
            self._made[key] = make(visible)
            if len(self._made) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]
