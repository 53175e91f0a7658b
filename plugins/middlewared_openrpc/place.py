"""Where a caller finds the server."""

import msgspec

from middlewared.server import SOCKET_PATHS

__all__ = ["Place"]


class Place(msgspec.Struct, frozen=True):
    """The address of a server as a caller knows it.

    Attributes:
        host: name and port.
        tls: it is reached by TLS.
        prefix: path in front of the server's own, without a slash at the end.
    """

    host: str
    tls: bool = False
    prefix: str = ""

    @property
    def protocol(self) -> str:
        """The scheme of WebSockets there."""
        return "wss" if self.tls else "ws"

    @property
    def path(self) -> str:
        """The path of the socket."""
        return f"{self.prefix}{SOCKET_PATHS[0]}"

    @property
    def url(self) -> str:
        """The address of the socket."""
        return f"{self.protocol}://{self.host}{self.path}"
