"""The parts by themselves: hashing, limits, signed tokens, the table of accounts."""

import hashlib
import hmac
import logging
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from middlewared import CallError, Origin
from middlewared.database import Database
from middlewared_auth.account import Account
from middlewared_auth.accounts import Accounts, NameTaken
from middlewared_auth.hashing import Hashing, derive
from middlewared_auth.keys import split_key
from middlewared_auth.limits import MAX_ADDRESSES, LoginLimits
from middlewared_auth.signing import Claim, Signer

CLAIM = Claim(
    account_id=7,
    generation=3,
    key_id=None,
    issued=1_800_000_000,
    ttl=600,
    match_origin=True,
    reconnect=False,
    login=b"12345678",
    nonce=b"123",
)


def test_verifier_is_the_one_of_rfc_5802() -> None:
    """The verifier lets a SCRAM client prove itself as RFC 5802, section 3, says."""
    verifier = derive("key", b"salt", 4096)
    # The client's side: from the secret to a proof, and from the proof to its key.
    salted = hashlib.pbkdf2_hmac("sha512", b"key", b"salt", 4096)
    client_key = hmac.digest(salted, b"Client Key", "sha512")
    message = b"n=user,r=c,r=cs,s=c2FsdA==,i=4096,c=biws,r=cs"
    signature = hmac.digest(verifier.stored_key, message, "sha512")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    recovered = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha512(recovered).digest() == verifier.stored_key
    server = hmac.digest(salted, b"Server Key", "sha512")
    assert verifier.server_key == server
    assert "salt" not in repr(verifier)


async def test_hashes_are_argon2id_and_salted() -> None:
    """Passwords are argon2id, never hashed to the same text twice."""
    hashing = Hashing()
    first, second = [await hashing.hash_password("pw") for _ in range(2)]
    assert first.startswith("$argon2id$")
    assert first != second
    assert await hashing.check_password(first, "pw")
    assert not await hashing.check_password(first, "pW")
    assert not await hashing.check_password(None, "pw")


async def test_at_most_two_hashes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of logins does not take more than two threads."""
    running: list[int] = []
    most = 0
    compute = hashlib.pbkdf2_hmac

    def count(*args: Any) -> bytes:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        try:
            return compute(*args)
        finally:
            running.pop()

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", count)
    hashing = Hashing()
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(hashing.make_verifier, "x")
    assert most == 2


@pytest.mark.parametrize(
    ("clear", "parts"),
    [
        ("12-abcDEF", (12, "abcDEF")),
        ("12", None),
        ("-abc", None),
        ("12-", None),
        ("12-a b", None),
        ("12-abc\n", None),
        ("٣-abc", None),
        ("1" * 19 + "-abc", None),
        ("1-" + "x" * 129, None),
    ],
)
def test_keys_are_taken_apart(clear: str, parts: tuple[int, str] | None) -> None:
    """Only a number, a dash, letters and digits are a key."""
    assert split_key(clear) == parts


def test_limit_counts_a_minute(clock: Any) -> None:
    """Failures are forgotten one by one, a minute after each."""
    limits, origin = LoginLimits(2, clock), Origin(address="192.0.2.1")
    limits.begin(origin)
    clock.advance(40)
    limits.begin(origin)
    with pytest.raises(CallError, match="Rate Limit Exceeded"):
        limits.begin(origin)
    clock.advance(20)
    limits.begin(origin)
    with pytest.raises(CallError, match="Rate Limit Exceeded"):
        limits.begin(origin)


def test_success_is_refunded_once(clock: Any) -> None:
    """A success gives its own attempt back, not those of others."""
    limits, origin = LoginLimits(2, clock), Origin(address="192.0.2.1")
    limits.begin(origin)
    attempt = limits.begin(origin)
    attempt.refund()
    limits.begin(origin)
    with pytest.raises(CallError, match="Rate Limit Exceeded"):
        limits.begin(origin)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("testclient", "testclient", True),
    ],
)
def test_what_counts_as_one_address(
    clock: Any, first: str, second: str, same: bool
) -> None:
    """IPv4 counts by address, IPv6 by the network that one customer has."""
    limits = LoginLimits(1, clock)
    limits.begin(Origin(address=first))
    if same:
        with pytest.raises(CallError):
            limits.begin(Origin(address=second))
    else:
        limits.begin(Origin(address=second))


def test_memory_for_addresses_is_bounded(clock: Any) -> None:
    """The address that tried least recently is forgotten first."""
    limits = LoginLimits(1, clock)
    for number in range(MAX_ADDRESSES + 1):
        limits.begin(Origin(address=f"host{number}"))
    limits.begin(Origin(address="host0"))
    with pytest.raises(CallError):
        limits.begin(Origin(address=f"host{MAX_ADDRESSES}"))


@pytest.mark.parametrize("match_origin", [False, True])
@pytest.mark.parametrize("key_id", [None, 9])
def test_signed_token_says_what_was_signed(
    match_origin: bool, key_id: int | None
) -> None:
    """A token reads back as what it was made from."""
    claim = replace(CLAIM, match_origin=match_origin, key_id=key_id)
    origin = Origin(address="192.0.2.1")
    token = Signer(b"k" * 32).sign(claim, origin)
    assert len(token) == 64
    assert Signer(b"k" * 32).read(token, origin) == claim
    assert Signer(b"l" * 32).read(token, origin) is None
    elsewhere = Signer(b"k" * 32).read(token, Origin(address="192.0.2.2"))
    assert elsewhere == (None if match_origin else claim)


def test_numbers_that_do_not_fit_are_refused() -> None:
    """An id beyond four bytes is an error, never another account's id."""
    with pytest.raises(OverflowError, match="does not fit"):
        Signer(b"k" * 32).sign(replace(CLAIM, account_id=2**32), Origin())


async def test_names_are_claimed_before_they_are_written(
    world: Any, clock: Any
) -> None:
    """Two accounts made at the same moment never get one name."""
    accounts = world.get(Accounts)
    outcomes: list[str] = []

    async def create() -> None:
        try:
            await accounts.create("ann")
        except NameTaken:
            outcomes.append("taken")
        else:
            outcomes.append("made")

    async with anyio.create_task_group() as group:
        group.start_soon(create)
        group.start_soon(create)
        while accounts._pending is None:
            await anyio.lowlevel.checkpoint()
        try:
            accounts.create_nowait("ann", roles=frozenset())
        except NameTaken:
            outcomes.append("taken at once")
    assert sorted(outcomes) == ["made", "taken", "taken at once"]


async def test_account_that_cannot_be_written_is_forgotten(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """When the queued row is refused, memory does not keep the account."""
    caplog.set_level(logging.CRITICAL)
    accounts = world.get(Accounts)
    accounts.create_nowait("ann", roles=frozenset())
    await world.context.database.wait_committed()
    accounts._last_id -= 1  # the next row breaks the primary key
    doomed = accounts.create_nowait("bob", roles=frozenset())
    assert accounts.get(doomed.id) is doomed
    await world.context.database.wait_committed()
    assert accounts.find("bob") is None


async def test_listeners_hear_of_changes_after_the_commit(world: Any) -> None:
    """Whoever watches accounts finds the change in the table."""
    accounts, heard = world.get(Accounts), []
    number = await world.user("ann", password=None)
    accounts.watch(lambda changed: heard.append((changed, accounts.get(changed))))
    await world.call("user.update", number, {"full_name": "Ann"})
    await world.call("user.delete", number)
    assert [entry[0] for entry in heard] == [number, number]
    assert heard[0][1].full_name == "Ann"
    assert heard[1][1] is None


async def test_change_and_removal_of_nobody(world: Any) -> None:
    """An id without an account changes nothing and tells nobody."""
    accounts = world.get(Accounts)
    assert await accounts.change(5, lambda account: account) is None
    assert await accounts.remove(5) is False


def test_account_does_not_show_its_hash() -> None:
    """An account in a log or a traceback shows its id and name only."""
    account = Account(
        id=1, uuid="u", username="ann", password_hash="$argon2id$x", created=0
    )
    assert repr(account) == "Account(1, 'ann')"


async def test_table_refuses_what_the_program_would_not_write(
    world: Any, tmp_path: Path
) -> None:
    """Roles that are no JSON and two accounts with one name do not get in."""
    await world.user("ann", password=None)
    database: Database = world.context.database
    row = (
        "INSERT INTO accounts (uuid, username, full_name, roles, locked, generation, "
        "created) VALUES (?, ?, '', ?, 0, 0, 0)"
    )
    with pytest.raises(sqlite3.IntegrityError):
        await database.execute((row, ("u1", "bob", "nonsense")))
    with pytest.raises(sqlite3.IntegrityError):
        await database.execute((row, ("u2", "ann", "[]")))
