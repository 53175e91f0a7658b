"""The server's side of SCRAM, held against a client written from RFC 5802."""

import base64
import contextlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scram_client import ScramClient

from middlewared_auth.hashing import derive
from middlewared_auth.scram import (
    MAX_MESSAGE,
    MalformedMessage,
    answer_first,
    parse_first,
    verify_final,
)

SALT = b"0123456789abcdef"
#: Few, for speed; keys have more.
ITERATIONS = 4
VERIFIER = derive("secret", SALT, ITERATIONS)
BOUND = "p=tls-server-end-point"
#: What the official client sends: 32 bytes in Base64.
OFFICIAL = base64.b64encode(bytes(range(32))).decode()


def login(client: ScramClient, *, binding: bytes = b"") -> str | None:
    """Run a whole login; give the server's final message."""
    first = parse_first(client.first)
    server_first = answer_first(first, SALT, ITERATIONS)
    final = client.final(server_first)
    return verify_final(first, server_first, final, verifier=VERIFIER, binding=binding)


@pytest.mark.parametrize("nonce", ["abc", "fyko+d2lbbFgONRv9qkxdawL", OFFICIAL])
@pytest.mark.parametrize("flag", ["n", "y", BOUND])
def test_both_sides_prove_themselves(nonce: str, flag: str) -> None:
    """Who knows the secret gets in, and learns that the server knows the key."""
    binding = b"hash of the certificate" if flag == BOUND else b""
    client = ScramClient("ann:1", "secret", nonce=nonce, flag=flag, binding=binding)
    answer = login(client, binding=binding)
    assert answer is not None
    assert client.trusts(answer)


def test_wrong_secret_proves_nothing() -> None:
    """Nor does the right one on another channel, or for another header."""
    assert login(ScramClient("ann:1", "other")) is None
    client = ScramClient("ann:1", "secret", flag=BOUND, binding=b"in between")
    assert login(client, binding=b"server") is None
    client = ScramClient("ann:1", "secret", binding=b"smuggled")
    assert login(client) is None


def test_nonce_of_an_earlier_login_is_refused() -> None:
    """What was recorded cannot be played again."""
    client = ScramClient("ann:1", "secret")
    first = parse_first(client.first)
    earlier = answer_first(first, SALT, ITERATIONS)
    final = client.final(earlier)
    later = answer_first(first, SALT, ITERATIONS)
    assert earlier != later
    for said in (final, client.final(later, nonce=earlier.partition(",")[0][2:])):
        assert verify_final(first, later, said, verifier=VERIFIER, binding=b"") is None


def test_official_nonces_are_joined_as_bytes() -> None:
    """The Base64 of 64 bytes begins with theirs; other nonces are joined as text."""
    first = parse_first(f"n,,n=ann:1,r={OFFICIAL}")
    nonce = answer_first(first, SALT, 4).partition(",")[0].removeprefix("r=")
    joined = base64.b64decode(nonce)
    assert (joined[:32], len(joined)) == (bytes(range(32)), 64)
    first = parse_first("n,,n=ann:1,r=rOprNGfwEbeRWgbNEkqO")
    assert answer_first(first, SALT, 4).startswith("r=rOprNGfwEbeRWgbNEkqO")


def test_first_message_is_taken_apart() -> None:
    """Header, name, nonce and extensions of RFC 5802, section 7."""
    first = parse_first("p=tls-server-end-point,,n=ann.b@c:12,r=x~!,z=later")
    assert first.header == "p=tls-server-end-point,,"
    assert first.bare == "n=ann.b@c:12,r=x~!,z=later"
    assert (first.key, first.binding) == (("ann.b@c", 12), "tls-server-end-point")
    assert not first.wants_none
    assert parse_first("y,,n=ann,r=x").wants_none
    assert parse_first("n,a=,n=a:b:1,r=x").key is None


@pytest.mark.parametrize("name", ["ann", "ann:", ":1", "ann:x", "ann:1:2", "ann:٣"])
def test_names_without_a_key_name_none(name: str) -> None:
    """Only a name, a colon and a number say which key is meant."""
    assert parse_first(f"n,,n={name},r=x").key is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n=ann:1,r=x",
        "n,,n=ann:1",
        "n,,n=,r=x",
        "n,,m=ext,n=ann:1,r=x",
        "n,,n=ann:1,r=a b",
        "n,,n=ann:1,r=x\n",
        "p=,,n=ann:1,r=x",
        "n,a=root,n=ann:1,r=x",
        "n,,n=ann:1,r=" + "x" * MAX_MESSAGE,
    ],
)
def test_malformed_first_messages_are_refused(text: str) -> None:
    """So are demands that this server cannot meet."""
    with pytest.raises(MalformedMessage):
        parse_first(text)


@pytest.mark.parametrize(
    "text",
    ["", "c=biws,r=x", "c=biws,p=eA==,r=x", "c=biws,r=x,p=x", "c=,r=x,p=eA=="],
)
def test_malformed_final_messages_are_refused(text: str) -> None:
    """A final message has channel, nonce and proof, in this order."""
    first = parse_first("n,,n=ann:1,r=x")
    with pytest.raises(MalformedMessage):
        verify_final(first, "r=x", text, verifier=VERIFIER, binding=b"")


@given(st.text() | st.from_regex(r"[nyp=,a]{0,6}n=[^,]{0,5},r=[ -~]{0,9}"), st.text())
def test_any_text_is_taken_or_refused(one: str, other: str) -> None:
    """Nothing else is ever raised, and nothing of it gets in."""
    with contextlib.suppress(MalformedMessage):
        parse_first(one)
    first = parse_first("n,,n=ann:1,r=x")
    for text in (one, other, f"c=biws,r=x,p={other}"):
        with contextlib.suppress(MalformedMessage):
            answer = verify_final(first, "r=x", text, verifier=VERIFIER, binding=b"")
            assert answer is None


@given(st.binary(max_size=100))
def test_no_other_proof_is_one(proof: bytes) -> None:
    """A proof of any length that is not the right one is refused."""
    first = parse_first("n,,n=ann:1,r=x")
    nonce = secrets.token_hex(4)
    text = f"c=biws,r={nonce},p={base64.b64encode(proof or b'x').decode()}"
    answer = verify_final(first, f"r={nonce}", text, verifier=VERIFIER, binding=b"")
    assert answer is None
