"""Which Host and Origin headers are let in."""

from typing import Any

import pytest

from middlewared.access import Origin
from middlewared.errors import SettingsError
from middlewared.hosts import client_allowed, host_allowed, origin_allowed
from middlewared.settings import Settings


def make(**values: Any) -> Settings:
    return Settings(data_dir="/nowhere", **values)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8420",
        "192.0.2.7:80",
        "[::1]",
        "[::1]:8420",
        "[2001:db8::1]:80",
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "server.example",
        "Server.Example:8420",
        "jobs.example",
    ],
)
def test_own_names_and_addresses_are_let_in(host: str) -> None:
    """An address cannot be rebound; names must be known, in any case."""
    settings = make(listen="server.example:8420", allowed_hosts=("jobs.example",))
    assert host_allowed(host, settings)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":80",
        "evil.example",
        "localhost.evil.example",
        "evil.example:8420",
        "127.0.0.1.evil.example",
        "[::1",
        "::1]",
        "[x]",
        "a b",
        "jobs.example@evil.example",
        "evil.example#jobs.example",
    ],
)
def test_other_names_are_not(host: str | None) -> None:
    """A page of theirs may point its name at this machine (DNS rebinding)."""
    assert not host_allowed(host, make(allowed_hosts=("jobs.example",)))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "localhost"),
        (None, None),
        ("http://localhost:8420", "localhost:8420"),
        ("https://localhost:8420", "localhost:8420"),
        ("http://LOCALHOST:8420", "localhost:8420"),
        ("http://[::1]:8420", "[::1]:8420"),
        ("https://ui.example", "localhost:8420"),
    ],
)
def test_own_and_allowed_origins_are_let_in(
    origin: str | None, host: str | None
) -> None:
    """Absent, equal to the Host, or in ``allowed_origins``."""
    assert origin_allowed(origin, host, make(allowed_origins=("https://ui.example",)))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "localhost:8420"),
        ("http://localhost:9999", "localhost:8420"),
        ("http://localhost", "localhost:8420"),
        ("null", "localhost:8420"),
        ("", "localhost:8420"),
        ("http://", ""),
        ("http://[::1", "localhost"),
        ("http://user@localhost:8420", "localhost:8420"),
        ("http://ui.example", "localhost:8420"),
        ("https://ui.example.evil.example", "localhost:8420"),
        ("http://localhost:8420", None),
        ("file://", "localhost:8420"),
    ],
)
def test_other_origins_are_not(origin: str, host: str | None) -> None:
    """A page of another site may not use its visitor's way in."""
    settings = make(allowed_origins=("https://ui.example",))
    assert not origin_allowed(origin, host, settings)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (Origin(address="192.0.2.7"), True),
        (Origin(address="::ffff:192.0.2.7"), True),
        (Origin(address="2001:db8::5"), True),
        (Origin(address="127.0.0.1"), True),
        (Origin(address="::1"), True),
        (Origin(uid=1000), True),
        (Origin(address="192.0.3.7"), False),
        (Origin(address="2001:db9::5"), False),
        (Origin(address="unknown"), False),
    ],
)
def test_clients_come_from_allowed_networks(origin: Origin, allowed: bool) -> None:
    """And from this machine, or nobody could mend a mistake."""
    settings = make(allowed_clients=("192.0.2.0/24", "2001:db8::/32"))
    assert client_allowed(origin, settings) is allowed
    assert client_allowed(origin, make())


@pytest.mark.parametrize("setting", ["allowed_clients", "trusted_proxies"])
def test_what_is_no_network_is_named(setting: str) -> None:
    """When the settings are read."""
    with pytest.raises(SettingsError, match=f"{setting} has 'x.example'"):
        make(**{setting: ("10.0.0.1", "x.example")})
