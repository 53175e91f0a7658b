"""What there is to call and to watch, described: OpenRPC, AsyncAPI, reference pages."""

from middlewared_openrpc import (  # noqa: F401 - importing them declares them
    methods,
    routes,
)
from middlewared_openrpc.declaration import plugin

__all__ = ["plugin"]
