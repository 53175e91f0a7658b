"""Where the OpenAPI documents of the dialects are; they are for everybody."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from middlewared.http import JsonResponse
from middlewared.settings import Settings
from middlewared_dialects.arcgis.description import DOCUMENT as ARCGIS
from middlewared_dialects.infolink.description import DOCUMENT as INFOLINK
from middlewared_dialects.ocapi.description import DOCUMENT as OCAPI
from middlewared_dialects.webex.description import DOCUMENT as WEBEX

__all__ = ["DOCUMENTS", "ROUTES"]

#: By path.
DOCUMENTS: dict[str, dict[str, Any]] = {
    "/v1/openapi.json": WEBEX,
    "/arcgis/openapi.json": ARCGIS,
    "/dw/openapi.json": OCAPI,
    "/api/v1/openapi.json": INFOLINK,
}


def _serving(
    document: dict[str, Any],
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        settings: Settings = request.state.services.get(Settings)
        servers = [{"url": settings.base_path or "/"}]
        return JsonResponse(document | {"servers": servers})

    return serve


ROUTES: list[BaseRoute] = [
    Route(path, _serving(document)) for path, document in DOCUMENTS.items()
]
