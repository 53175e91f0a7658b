"""IP addresses as text."""

import pytest

from middlewared.addresses import is_loopback, network_of, parse_address


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - not bound
        ("::", False),
        ("192.0.2.7", False),
        ("fe80::1%eth0", False),
        ("localhost.example", False),
        ("unknown", False),
    ],
)
def test_loopback(host: str, local: bool) -> None:
    """What never leaves the machine."""
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_network_is_what_one_client_has(address: str, network: str) -> None:
    """Nobody is given less of IPv6 than a /64."""
    assert network_of(address) == network


def test_what_is_no_address_is_refused() -> None:
    """A name is none."""
    assert str(parse_address("::ffff:192.0.2.7")) == "192.0.2.7"
    with pytest.raises(ValueError, match="localhost"):
        parse_address("localhost")
