"""rpc.discover, and what the plugin keeps while the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import msgspec
from msgspec import Meta

from middlewared import Context, Example
from middlewared.registry import Registry
from middlewared_openrpc.declaration import plugin
from middlewared_openrpc.documents import Documents

__all__ = ["Document", "start"]

#: An object that is kept as it was encoded.
Document = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


@plugin.lifespan
@asynccontextmanager
async def start(ctx: Context) -> AsyncIterator[None]:
    """Offer the documents."""
    ctx.services.provide(Documents, Documents(ctx.get(Registry)))
    yield


@plugin.method(public=True, read_only=True, examples=[Example("what one may call", [])])
async def discover(ctx: Context) -> Document:
    """Describe the methods that the caller may call, as an OpenRPC document.

    Before login those are the ones that are for everybody.
    """
    return msgspec.Raw(await ctx.get(Documents).openrpc(ctx.credentials))
