"""Where a server is: URLs and socket paths, as people write them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from middlewared.client.errors import InvalidAddress

__all__ = ["API_PATH", "Address", "parse_address"]

#: Path of the WebSocket endpoint on every listener of a server.
API_PATH = "/api/current"

#: Bytes of a unix socket path, without the final NUL (unix(7)).
UNIX_PATH_LIMIT = 107

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d+")


@dataclass(frozen=True)
class Address:
    """A server's address, ready to dial.

    Attributes:
        uri: the ``ws://`` or ``wss://`` URI of the endpoint. For a unix socket it only
            supplies the Host header.
        unix: path of the unix socket; None means TCP.
        text: how people are told about it.
    """

    uri: str
    unix: str | None
    text: str


def parse_address(address: str | os.PathLike[str]) -> Address:
    """Read an address in any of the forms that people use.

    Args:
        address: ``ws://``, ``wss://``, ``http://`` or ``https://`` URL (the endpoint's
            path may be left out, the address of the dashboard works too),
            ``HOST:PORT``, ``ws+unix://PATH``, ``unix://PATH`` or the path of a unix
            socket.

    Raises:
        InvalidAddress: it is none of these; the message names it.
    """
    text = os.fspath(address)
    scheme, separator, rest = text.partition("://")
    if not separator:
        if _HOST_PORT.fullmatch(text):
            return _network("ws", f"ws://{text}", text)
        return _unix(text, text)
    if scheme in {"ws+unix", "unix"}:
        return _unix(rest, text)
    if scheme.lower() not in _SCHEMES:
        raise InvalidAddress(
            f"address {text!r} starts with {scheme}://, expected ws://, wss://, "
            "http://, https://, ws+unix:// or the path of a unix socket"
        )
    return _network(scheme.lower(), text, text)


def _network(scheme: str, url: str, text: str) -> Address:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:  # UnicodeError is one
        raise InvalidAddress(f"address {text!r}: {error}") from None
    if not host:
        raise InvalidAddress(f"address {text!r} names no host")
    if parts.username is not None:
        raise InvalidAddress(
            f"address of {host!r} contains a user name; log in with login() instead"
        )
    path = parts.path
    if scheme in {"http", "https"} and "/api/" not in path:
        # What people paste is the address of the dashboard.
        path = path.partition("/ui")[0].rstrip("/") + API_PATH
    elif path in {"", "/"}:
        path = API_PATH
    uri = urlunsplit((_SCHEMES[scheme], parts.netloc, path, parts.query, ""))
    return Address(uri=uri, unix=None, text=uri)


def _unix(path: str, text: str) -> Address:
    if not path:
        raise InvalidAddress(f"address {text!r} names no unix socket")
    absolute = str(Path(path).expanduser().absolute())
    size = len(os.fsencode(absolute))
    if size > UNIX_PATH_LIMIT:
        raise InvalidAddress(
            f"the unix socket path {absolute!r} has {size} bytes, "
            f"the system allows {UNIX_PATH_LIMIT}"
        )
    return Address(f"ws://localhost{API_PATH}", absolute, absolute)
