"""Frames to messages and dates to datetimes."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from middlewared.client import NotText, from_datetime, to_datetime
from middlewared.client.wire import decode_message, encode_request


def test_request() -> None:
    """A request is one JSON object with the four members."""
    assert msgspec.json.decode(encode_request("a-1", "core.ping", ())) == {
        "jsonrpc": "2.0",
        "id": "a-1",
        "method": "core.ping",
        "params": [],
    }


def test_result_null_is_a_result() -> None:
    """A null result is told from no result, and a null id from no id."""
    message = decode_message(b'{"jsonrpc":"2.0","result":null,"id":null}')
    assert message.result is None
    assert message.id is None
    assert message.error is msgspec.UNSET


@pytest.mark.parametrize("text", [b"", b"[]", b"nonsense", b"[" * 100_000])
def test_no_message(text: bytes) -> None:
    """What is no message object raises DecodeError, however deeply nested."""
    with pytest.raises(msgspec.DecodeError):
        decode_message(text)


@pytest.mark.parametrize(
    ("method", "param", "words"),
    [
        ("a\udcff", 1, "the method is no UTF-8 text: it holds the byte 0xff"),
        ("a.b", ["pass\udcfe"], "a param of a.b is .* it holds the byte 0xfe"),
        ("a.b", {"\ud800": 1}, "a param of a.b is .* it holds U\\+D800"),
    ],
)
def test_no_text(method: str, param: object, words: str) -> None:
    """What UTF-8 cannot say is refused, and not repeated: it may be a password."""
    with pytest.raises(NotText, match=words) as caught:
        encode_request("1", method, [param])
    assert "pass" not in str(caught.value)


def test_dates() -> None:
    """Dates survive the way to the wire and back, to the millisecond."""
    moment = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
    wire = from_datetime(moment)
    assert wire == {"$date": 1770091506789}
    assert to_datetime(wire) == moment


def test_date_zones() -> None:
    """Other time zones are converted; naive times count as UTC."""
    aware = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the case under test
    assert from_datetime(aware) == from_datetime(naive)


@pytest.mark.parametrize("value", [None, {}, {"$date": "x"}, {"$time": "10:00"}])
def test_no_date(value: object) -> None:
    """What is no date raises ValueError."""
    with pytest.raises(ValueError, match=r"\$date"):
        to_datetime(value)  # type: ignore[arg-type]  # the case under test
