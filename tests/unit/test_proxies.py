"""What proxies say, and whose word counts."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.access import Origin
from middlewared.addresses import parse_address
from middlewared.errors import SettingsError
from middlewared.proxies import Proxies
from middlewared.settings import Settings

PROXY = Origin(address="10.0.0.1", secure=False, channel_binding=b"hash")
CLIENT = "192.0.2.7"


def make(*trusted: str, **settings: Any) -> Proxies:
    return Proxies(Settings(data_dir="/nowhere", trusted_proxies=trusted, **settings))


def headers(**values: str | list[str]) -> Callable[[str], list[str]]:
    """Make headers; underscores stand for dashes."""
    found = {
        name.replace("_", "-"): [value] if isinstance(value, str) else value
        for name, value in values.items()
    }
    return lambda name: found.get(name, [])


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        (CLIENT, CLIENT),
        ([CLIENT], CLIENT),
        (f"{CLIENT}, 10.0.0.2", CLIENT),
        ([CLIENT, "10.0.0.2"], CLIENT),
        (f"198.51.100.1, {CLIENT}, 10.0.0.2", CLIENT),
        (f"10.0.0.9, {CLIENT}", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.7", CLIENT),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (f"{CLIENT}, nonsense", "10.0.0.1"),
        (f"nonsense, {CLIENT}", CLIENT),
        ("nonsense", "10.0.0.1"),
        ("", "10.0.0.1"),
        (f"{CLIENT},", "10.0.0.1"),
    ],
)
def test_client_is_the_last_one_that_nobody_trusts(
    chain: str | list[str], address: str
) -> None:
    """What stands to its left, it may have written itself."""
    proxies = make("10.0.0.0/8")
    found = proxies.origin(PROXY, headers(x_forwarded_for=chain))
    assert found == Origin(address=address, secure=False)


@pytest.mark.parametrize(
    ("schemes", "client", "secure"),
    [
        ("https", CLIENT, True),
        ("HTTPS", CLIENT, True),
        ("https, https", CLIENT, True),
        (["https", "https"], CLIENT, True),
        ("http", CLIENT, False),
        ("https, http", CLIENT, False),
        ("http, https", CLIENT, False),
        (["https", "http"], CLIENT, False),
        ("", CLIENT, False),
        ([], CLIENT, False),
        ("https", "nonsense", True),
        ("http", "nonsense", False),
        ("http", "127.0.0.1", True),
        ([], "::1", True),
        ("http", [], False),
        ("https", [], True),
    ],
)
def test_https_all_the_way_is_secure(
    schemes: str | list[str], client: str | list[str], secure: bool
) -> None:
    """Or a client on the machine of the proxy; a proxy that forgets it is not."""
    proxies = make("127.0.0.0/8", "10.0.0.1")
    said = headers(x_forwarded_proto=schemes, x_forwarded_for=client)
    assert proxies.origin(PROXY, said).secure is secure
    near = Origin(address="127.0.0.1", secure=True)
    assert proxies.origin(near, said).secure is secure


def test_claimed_proxies_are_looked_at_so_far() -> None:
    """Each costs time, and a client may claim thousands."""
    chain = ",".join([CLIENT, *["10.0.0.9"] * 10_000])
    found = make("10.0.0.0/8").origin(PROXY, headers(x_forwarded_for=chain))
    assert found.address == "10.0.0.9"


def test_proxy_that_forwards_nothing_is_itself_the_client() -> None:
    """A check of its own, or a program on the same machine."""
    assert make("10.0.0.1").origin(PROXY, headers()) == PROXY


@given(
    address=st.ip_addresses().map(str),
    chain=st.text(max_size=40),
    scheme=st.text(max_size=10),
    user=st.text(max_size=10),
)
def test_nobody_else_is_believed(
    address: str, chain: str, scheme: str, user: str
) -> None:
    """Whatever it sends."""
    proxies = make("10.0.0.1", remote_user_header="Remote-User")
    peer = Origin(address=address, secure=False)
    if address == "10.0.0.1":
        return
    said = headers(x_forwarded_for=chain, x_forwarded_proto=scheme, remote_user=user)
    assert proxies.origin(peer, said) == peer
    socket = Origin(uid=1000)
    assert proxies.origin(socket, said) == socket


@given(chain=st.lists(st.text(max_size=20), max_size=4), scheme=st.text(max_size=10))
def test_any_text_from_a_proxy_gives_an_address(chain: list[str], scheme: str) -> None:
    """It never raises, and what is no address is never taken for one."""
    said = headers(x_forwarded_for=chain, x_forwarded_proto=scheme)
    found = make("10.0.0.1").origin(PROXY, said)
    assert found.address
    parse_address(found.address)


@pytest.mark.parametrize(
    ("sent", "user"),
    [("ann", "ann"), (" ann ", "ann"), ("", None), ([], None), (["ann", "root"], None)],
)
def test_user_comes_from_one_header(sent: str | list[str], user: str | None) -> None:
    """Two of them: the proxy passed on what its client sent."""
    proxies = make("10.0.0.1", remote_user_header="Remote-User")
    assert proxies.origin(PROXY, headers(remote_user=sent)).remote_user == user
    assert make("10.0.0.1").origin(PROXY, headers(remote_user=sent)) == PROXY


def test_forwarded_requests_are_told_apart() -> None:
    """By what only proxies send."""
    proxies = make()
    assert proxies.came_through(headers(x_forwarded_for=CLIENT))
    assert proxies.came_through(headers(forwarded="for=192.0.2.7"))
    assert not proxies.came_through(headers(host="localhost"))


@pytest.mark.parametrize("trusted", ["proxy.example", "10.0.0.0/33", "", "unix"])
def test_what_is_no_network_is_named(trusted: str) -> None:
    """When the settings are read."""
    with pytest.raises(SettingsError, match="trusted_proxies has") as caught:
        make("10.0.0.1", trusted)
    assert repr(trusted) in str(caught.value)


def test_user_header_needs_somebody_who_may_send_it() -> None:
    """Else it would never be read, and somebody would wonder why."""
    with pytest.raises(SettingsError, match="there are no trusted_proxies"):
        make(remote_user_header="Remote-User")
