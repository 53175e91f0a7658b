"""IP addresses as text: which are this machine's own, and which are one client's."""

import ipaddress

__all__ = ["IpAddress", "is_loopback", "network_of", "parse_address"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
#: A household or a rented server has this much of IPv6 for itself (RFC 6177).
IPV6_PREFIX = 64


def parse_address(text: str) -> IpAddress:
    """Read an address; IPv4 that is written as IPv6 is IPv4, zones are left out.

    Raises:
        ValueError: it is none.
    """
    found = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return parse_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def network_of(address: str) -> str:
    """Name what counts as one client: an IPv4 address or an IPv6 network."""
    try:
        found = parse_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)
