"""Addresses as people write them."""

from pathlib import Path

import pytest

from middlewared.client import InvalidAddress, parse_address


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("ws://host:6000", "ws://host:6000/api/current"),
        ("ws://host:6000/", "ws://host:6000/api/current"),
        ("wss://host/api/v26.0.0", "wss://host/api/v26.0.0"),
        ("http://127.0.0.1:6000", "ws://127.0.0.1:6000/api/current"),
        ("http://127.0.0.1:6000/ui/#token=abc", "ws://127.0.0.1:6000/api/current"),
        ("https://host/base/ui/", "wss://host/base/api/current"),
        ("HTTPS://host/api/current", "wss://host/api/current"),
        ("http://[::1]:6000/", "ws://[::1]:6000/api/current"),
        ("localhost:6000", "ws://localhost:6000/api/current"),
        ("[::1]:6000", "ws://[::1]:6000/api/current"),
    ],
)
def test_network(text: str, uri: str) -> None:
    """URLs of the endpoint, of the dashboard and HOST:PORT all lead to the endpoint."""
    address = parse_address(text)
    assert (address.uri, address.unix) == (uri, None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/run/m.sock", "/run/m.sock"),
        ("ws+unix:///run/m.sock", "/run/m.sock"),
        ("unix:///run/m.sock", "/run/m.sock"),
        (Path("/run/m.sock"), "/run/m.sock"),
        ("m.sock", str(Path.cwd() / "m.sock")),
        ("~/m.sock", str(Path.home() / "m.sock")),
    ],
)
def test_unix(text: str | Path, path: str) -> None:
    """Paths and unix URLs lead to a socket."""
    address = parse_address(text)
    assert (address.unix, address.text) == (path, path)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("ftp://host", "starts with ftp://"),
        ("ws://", "names no host"),
        ("ws://host:99999", "Port out of range"),
        ("http://a..b", "label empty"),
        ("http://a\udcff/", "Invalid character"),
        ("ws+unix://", "names no unix socket"),
        ("/" + 110 * "x", "111 bytes, the system allows 107"),
    ],
)
def test_invalid(text: str, part: str) -> None:
    """What is no address is refused by name."""
    with pytest.raises(InvalidAddress, match=part):
        parse_address(text)


def test_password_is_not_repeated() -> None:
    """A URL with a user is refused without showing its password."""
    with pytest.raises(InvalidAddress) as caught:
        parse_address("ws://admin:secret@host")
    assert "secret" not in str(caught.value)
