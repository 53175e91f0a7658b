"""Which Host, Origin, client and transport are let in."""

import errno
import ipaddress
from urllib.parse import urlsplit

from middlewared.access import Origin
from middlewared.addresses import is_loopback, parse_address
from middlewared.errors import CallError
from middlewared.settings import Settings

__all__ = [
    "NOT_ALLOWED",
    "client_allowed",
    "host_allowed",
    "origin_allowed",
    "require_secure",
]

_LOCAL = "localhost"
#: What a client is told that may not come from where it is; clients know this text.
NOT_ALLOWED = "You are not allowed to access this resource"


def _host_name(host: str) -> str:
    """Cut the port off a Host header; IPv6 addresses lose their brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def host_allowed(host: str | None, settings: Settings) -> bool:
    """Tell whether a Host header is an address, localhost, or a name we go by.

    Any other may be a page's own name that was rebound to our address.
    """
    if host is None:
        return False
    name = _host_name(host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = {_LOCAL, settings.listen_address[0].lower()}
        return bool(name) and name in own | {
            _host_name(allowed) for allowed in settings.allowed_hosts
        }
    return True


def origin_allowed(origin: str | None, host: str | None, settings: Settings) -> bool:
    """Tell whether a page of this origin may connect.

    Absent (no browser), equal to the Host, or one of ``allowed_origins``.
    """
    if origin is None or origin in settings.allowed_origins:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == str(host).lower()
    except ValueError:
        return False


def client_allowed(origin: Origin, settings: Settings) -> bool:
    """Tell whether clients may come from somewhere; from this machine they may."""
    networks = settings.allowed_networks
    if not networks or origin.address is None or is_loopback(origin.address):
        return True
    try:
        address = parse_address(origin.address)
    except ValueError:
        return False
    return any(address in network for network in networks)


def require_secure(origin: Origin, settings: Settings) -> None:
    """Refuse to take credentials that others on the way could read.

    Raises:
        CallError: EPERM, the connection is plain HTTP from elsewhere.
    """
    if not (origin.secure or settings.insecure):
        raise CallError(
            "Logins over plain HTTP are refused; use TLS, have a trusted proxy say "
            "that it does, or allow them with insecure",
            errno.EPERM,
        )
