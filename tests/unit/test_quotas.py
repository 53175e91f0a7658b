"""How much one address and one account may have, and who is exempt."""

from collections.abc import Collection

import pytest

from middlewared.access import FULL_ADMIN, Credentials, Origin
from middlewared.errors import CallError
from middlewared.quotas import Quotas
from middlewared.settings import Settings

HERE = Origin(address="192.0.2.7")
LIMITS = {
    "max_address_connections": 3,
    "max_user_connections": 2,
    "max_address_subscriptions": 5,
    "max_user_subscriptions": 4,
}


class Session:
    """A session, as far as quotas care."""

    def __init__(
        self, origin: Origin = HERE, credentials: Credentials | None = None
    ) -> None:
        self.origin = origin
        self.credentials = credentials
        self.subscriptions: Collection[str] = []


def somebody(account: int | None = 1, *roles: str) -> Credentials:
    return Credentials(
        type="LOGIN_PASSWORD",
        account_id=account,
        username=f"user{account}",
        roles=frozenset(roles),
        login_id="login",
        login_at=0,
    )


@pytest.fixture
def quotas() -> Quotas:
    return Quotas(Settings(data_dir="/nowhere", **LIMITS))  # type: ignore[arg-type]  # they are integers


def refusal(error: pytest.ExceptionInfo[CallError]) -> str:
    assert error.value.errno == 122  # EDQUOT
    return error.value.text


def test_connections_of_an_address_are_counted(quotas: Quotas) -> None:
    """The next one is refused, until one is gone; others are not concerned."""
    sessions = [Session() for _ in range(3)]
    for session in sessions:
        quotas.check_origin(HERE)
        quotas.add(session)
    with pytest.raises(CallError) as caught:
        quotas.check_origin(HERE)
    assert refusal(caught) == "192.0.2.7 has 3 connections already"
    quotas.check_origin(Origin(address="192.0.2.8"))
    quotas.discard(sessions[0])
    quotas.discard(sessions[0])
    quotas.check_origin(HERE)


def test_ipv6_counts_by_network(quotas: Quotas) -> None:
    """Whoever has one address of it has them all."""
    for host in range(3):
        quotas.add(Session(Origin(address=f"2001:db8::{host}")))
    with pytest.raises(CallError) as caught:
        quotas.check_origin(Origin(address="2001:db8::ffff"))
    assert refusal(caught) == "2001:db8::/64 has 3 connections already"
    quotas.check_origin(Origin(address="2001:db8:0:1::1"))


def test_connections_of_an_account_are_counted(quotas: Quotas) -> None:
    """From wherever they come; logging out or becoming somebody else gives one back."""
    sessions = [Session(Origin(address=f"192.0.2.{n}")) for n in range(2)]
    who = somebody()
    for session in sessions:
        quotas.check_login(who)
        quotas.change(session, who)
        session.credentials = who
    with pytest.raises(CallError) as caught:
        quotas.check_login(who)
    assert refusal(caught) == "'user1' has 2 connections already"
    quotas.check_login(somebody(2))
    quotas.change(sessions[0], somebody(2))
    sessions[0].credentials = somebody(2)
    quotas.check_login(who)
    quotas.change(sessions[1], None)
    sessions[1].credentials = None
    assert set(quotas._members) == {2}


def test_subscriptions_are_counted_over_connections(quotas: Quotas) -> None:
    """Of an account, and of an address."""
    who = somebody()
    first, second, stranger = Session(), Session(), Session()
    for session in (first, second):
        quotas.add(session)
        quotas.change(session, who)
        session.credentials = who
        session.subscriptions = ["a", "b"]
    with pytest.raises(CallError) as caught:
        quotas.check_subscription(first)
    assert refusal(caught) == "This account has 4 subscriptions already"
    quotas.add(stranger)
    quotas.check_subscription(stranger)
    stranger.subscriptions = ["a"]
    with pytest.raises(CallError) as caught:
        quotas.check_subscription(stranger)
    assert refusal(caught) == "This address has 5 subscriptions already"
    first.subscriptions = []
    quotas.check_subscription(second)


@pytest.mark.parametrize(
    "origin", [Origin(uid=0), Origin(address="127.0.0.1"), Origin(address="::1")]
)
def test_this_machine_is_exempt(quotas: Quotas, origin: Origin) -> None:
    """Its programs share an address."""
    for _ in range(10):
        quotas.check_origin(origin)
        quotas.add(Session(origin))
        assert quotas.take_socket(origin)
    assert quotas._members == {}
    quotas.return_socket(origin)


def test_full_admins_and_the_system_are_exempt(quotas: Quotas) -> None:
    """Who may do everything is kept from nothing."""
    for who in (somebody(1, FULL_ADMIN), somebody(None)):
        for _ in range(10):
            quotas.check_login(who)
            quotas.change(Session(), who)
    assert quotas._members == {}


def test_sockets_of_an_address_are_counted(quotas: Quotas) -> None:
    """Twice as many as connections, whatever is spoken on them."""
    for _ in range(6):
        assert quotas.take_socket(HERE)
    assert not quotas.take_socket(HERE)
    assert quotas.take_socket(Origin(address="192.0.2.8"))
    quotas.return_socket(HERE)
    assert quotas.take_socket(HERE)
    for _ in range(6):
        quotas.return_socket(HERE)
    assert set(quotas._sockets) == {"192.0.2.8"}
