"""What a trusted proxy in front says about a client: its address, its scheme, its user.

Whatever the headers say, they count only when the peer is one of ``trusted_proxies``:
anybody else could write them too.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from middlewared.access import Origin
from middlewared.addresses import is_loopback, parse_address
from middlewared.settings import Settings

__all__ = ["UNIX_SOCKET_PROXIED", "Proxies"]

#: A proxy on the unix socket would make a full admin of everybody behind it.
UNIX_SOCKET_PROXIED = "The unix socket is not for proxies; use the port\n"
FOR = "x-forwarded-for"
SCHEME = "x-forwarded-proto"
#: What only a proxy sends.
_SIGNS = (FOR, SCHEME, "x-forwarded-host", "x-real-ip", "forwarded")

#: Proxies in a row; a client can claim any number of them, and each costs a look.
MAX_HOPS = 32

#: All values of a header, by its name in lower case.
Headers = Callable[[str], Sequence[str]]


def _hop(text: str) -> str | None:
    """Read one entry of X-Forwarded-For; some proxies add the port."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(parse_address(host))
    except ValueError:
        return None


def _schemes(headers: Headers) -> list[str]:
    return [s.strip() for text in headers(SCHEME) for s in text.lower().split(",")]


def _all_https(schemes: list[str]) -> bool:
    return bool(schemes) and all(scheme == "https" for scheme in schemes)


class Proxies:
    """The proxies that are trusted."""

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.trusted_networks
        self._user_header = (settings.remote_user_header or "").lower()

    def trusts(self, address: str) -> bool:
        """Tell whether an address is a trusted proxy's."""
        try:
            found = parse_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def came_through(self, headers: Headers) -> bool:
        """Tell whether some proxy forwarded a request, trusted or not."""
        return any(headers(name) for name in _SIGNS)

    def origin(self, peer: Origin, headers: Headers) -> Origin:
        """Say where a request comes from.

        Args:
            peer: who is at the other end of the connection.
            headers: of the request.

        Returns:
            The client that a trusted proxy speaks for; *peer* for everybody else.
        """
        if peer.address is None or not self.trusts(peer.address):
            return peer
        named = headers(FOR)
        schemes = _schemes(headers)
        users = headers(self._user_header) if self._user_header else ()
        # Two of them: the proxy has left standing what its client sent.
        user = users[0].strip() if len(users) == 1 else ""
        origin = replace(peer, remote_user=user or None)
        if not named and not schemes:
            return origin
        chain = ",".join(named).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
        client = self._client(peer.address, chain)
        return replace(
            origin,
            address=client or peer.address,
            secure=_all_https(schemes) or (client is not None and is_loopback(client)),
            # The client has seen the proxy's certificate, not ours.
            channel_binding=None,
        )

    def scheme(self, peer: Origin, headers: Headers) -> str | None:
        """Say which scheme a trusted proxy was asked with, None when it does not."""
        if peer.address is None or not self.trusts(peer.address):
            return None
        schemes = _schemes(headers)
        if not schemes:
            return None
        return "https" if _all_https(schemes) else "http"

    def _client(self, peer: str, chain: list[str]) -> str | None:
        """Go back from proxy to proxy, as far as each one is trusted.

        What stands to the left of the first stranger was written by that stranger.

        Returns:
            None when the nearest proxy names nobody.
        """
        client, speaker = None, peer
        for text in reversed(chain):
            hop = _hop(text)
            if hop is None or not self.trusts(speaker):
                break
            client = speaker = hop
        return client
