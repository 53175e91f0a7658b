"""``GET /metrics``: the figures, for whoever may read them."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from middlewared import Context
from middlewared.addresses import is_loopback
from middlewared.authorization import authorize
from middlewared.context import Services
from middlewared.proxies import Proxies
from middlewared_metrics.declaration import MetricsSettings, plugin
from middlewared_metrics.methods import write_metrics

__all__: list[str] = []

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="middlewared"'}


def _is_open(request: Request) -> bool:
    """Tell whether the place that a request comes from is enough.

    Loopback is open when the settings say so; what a proxy on this machine forwards
    does not come from here.
    """
    services: Services = request.state.services
    address = request.state.origin.address
    return (
        services.get(MetricsSettings).open_to_loopback
        and address is not None
        and is_loopback(address)
        and not services.get(Proxies).came_through(request.headers.getlist)
    )


async def metrics(request: Request) -> Response:
    """Send the figures.

    Raises:
        HTTPException: 401, a login is needed; 403, it lacks the role.
    """
    if not _is_open(request):
        who = await authorize(request)
        if who is None:
            raise HTTPException(401, "Send the API key of a reader\n", CHALLENGE)
        if not plugin.methods["metrics.read"].access.allows(who):
            raise HTTPException(403, "The login lacks the role METRICS_READ\n")
    context = Context(request.state.services)
    text, kind = await write_metrics(context, request.headers.get("Accept", ""))
    headers = {"Content-Type": kind, "Cache-Control": "no-store"}
    return Response(text, headers=headers)


plugin.routes.append(Route("/metrics", metrics))
