"""Who may do and see what."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared.access import (
    FULL_ADMIN,
    READONLY_ADMIN,
    SYSTEM,
    Access,
    Audience,
    Credentials,
    Origin,
    not_authorized,
)
from middlewared.errors import CallError, NotAuthenticated

ROLES = st.frozensets(
    st.sampled_from(["READ", "WRITE", "JOBS", FULL_ADMIN, READONLY_ADMIN])
)
ACCOUNTS = st.none() | st.integers(1, 3)


def credentials(*roles: str, account_id: int | None = 7) -> Credentials:
    return Credentials(
        type="LOGIN_PASSWORD",
        account_id=account_id,
        username="ann",
        roles=frozenset(roles),
        login_id="login",
        login_at=1,
    )


def test_origin_is_trusted_by_default() -> None:
    """Inside the server nobody listens in between."""
    assert Origin() == Origin(address=None, uid=None, secure=True)


@pytest.mark.parametrize(
    ("roles", "asked", "has"),
    [
        ((), (), False),
        (("READ",), (), False),
        (("READ",), ("READ",), True),
        (("READ",), ("WRITE", "READ"), True),
        (("READ",), ("WRITE",), False),
        ((FULL_ADMIN,), ("WRITE",), True),
        ((FULL_ADMIN,), (), True),
    ],
)
def test_has_any(roles: tuple[str, ...], asked: tuple[str, ...], has: bool) -> None:
    """One of the roles is enough, and full admins hold all of them."""
    assert credentials(*roles).has_any(frozenset(asked)) is has


def test_system_is_full_admin() -> None:
    """The server itself may do everything and owns nothing."""
    assert SYSTEM.full_admin
    assert SYSTEM.account_id is None


def test_public_needs_nothing() -> None:
    """What is public is open before the login."""
    Access(public=True).check(None)
    Access(public=True).check(credentials())


@pytest.mark.parametrize(
    "access", [Access(), Access(authenticated=True), Access(frozenset({"READ"}))]
)
def test_everything_else_needs_a_login(access: Access) -> None:
    """Without a login the error is 207, on which clients rely."""
    with pytest.raises(NotAuthenticated) as caught:
        access.check(None)
    assert caught.value.errno == 207


def test_nothing_said_means_full_admins_only() -> None:
    """A method without roles refuses every other login."""
    Access().check(credentials(FULL_ADMIN))
    with pytest.raises(CallError, match=r"^\[EACCES\] Not authorized$") as caught:
        Access().check(credentials("READ"))
    assert caught.value.errno == errno.EACCES


def test_authenticated_is_open_to_every_login() -> None:
    """A login without any role is enough."""
    Access(authenticated=True).check(credentials())


def test_roles() -> None:
    """One of the roles opens the method, another one does not."""
    access = Access(frozenset({"READ", "WRITE"}))
    access.check(credentials("WRITE"))
    with pytest.raises(CallError, match="Not authorized"):
        access.check(credentials("JOBS"))


def test_read_only_admins_read() -> None:
    """They may do what is declared read-only, whatever its roles, and no more."""
    reader = credentials(READONLY_ADMIN)
    assert reader.reads_all
    assert not reader.full_admin
    assert credentials(FULL_ADMIN).reads_all
    Access(read_only=True).check(reader)
    Access(frozenset({"READ"}), read_only=True).check(reader)
    for access in (Access(), Access(frozenset({"WRITE"}))):
        with pytest.raises(CallError, match="Not authorized"):
            access.check(reader)
    with pytest.raises(CallError, match="Not authorized"):
        Access(read_only=True).check(credentials("WRITE"))


def test_not_authorized_is_a_new_error_each_time() -> None:
    """Tracebacks of two refusals do not grow together."""
    assert not_authorized() is not not_authorized()


@given(owner=ACCOUNTS, readers=ROLES, account=ACCOUNTS, roles=ROLES)
def test_audience(
    owner: int | None,
    readers: frozenset[str],
    account: int | None,
    roles: frozenset[str],
) -> None:
    """An item shows to the admins, holders of its roles and its owner, no one else."""
    who = credentials(*roles, account_id=account)
    expected = (
        not roles.isdisjoint({FULL_ADMIN, READONLY_ADMIN})
        or bool(readers & roles)
        or (owner is not None and owner == account)
    )
    assert Audience(owner, readers).includes(who) is expected


def test_audience_without_a_login() -> None:
    """Nobody sees an item before the login, not even one that no account owns."""
    assert not Audience(None).includes(None)
    assert not Audience(1, frozenset({"READ"})).includes(None)


def test_item_without_owner_belongs_to_no_one() -> None:
    """A login without an account does not own what has no owner."""
    assert not Audience(None).includes(credentials(account_id=None))


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(public=True), "For everybody, also before login."),
        (Access(authenticated=True), "For every login."),
        (Access(), "For full admins."),
        (Access(frozenset({"B", "A"})), "For `A` or `B`, and full admins."),
        (
            Access(frozenset({"A"}), read_only=True),
            "For `A`, and full and read-only admins.",
        ),
    ],
)
def test_access_in_words(access: Access, words: str) -> None:
    """Documents say who may."""
    assert str(access) == words


@given(ROLES, st.booleans(), st.booleans(), st.booleans(), st.none() | ROLES)
def test_allows_is_what_check_lets_pass(
    asked: frozenset[str],
    authenticated: bool,
    public: bool,
    read_only: bool,
    held: frozenset[str] | None,
) -> None:
    """Both agree, whatever is asked and held."""
    access = Access(asked, authenticated, public, read_only)
    who = None if held is None else credentials(*held)
    try:
        access.check(who)
    except CallError:
        assert not access.allows(who)
    else:
        assert access.allows(who)
