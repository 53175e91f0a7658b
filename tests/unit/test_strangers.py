"""How often strangers may call."""

import pytest

from middlewared import Origin
from middlewared.strangers import MAX_PAIRS, Strangers
from middlewared.testing import ManualClock

HERE = Origin(address="192.0.2.7")


def refused(strangers: Strangers, origin: Origin, method: str = "m") -> bool:
    found = strangers.refusal(origin, method)
    assert found is None or str(found) == "[EBUSY] Rate Limit Exceeded"
    return found is not None


def test_calls_are_counted_by_address_and_method_for_a_minute() -> None:
    """Another method, another address and another minute have counts of their own."""
    clock = ManualClock()
    strangers = Strangers(2, clock)
    answers = [refused(strangers, HERE) for _ in range(4)]
    assert answers == [False, False, True, True]
    assert not refused(strangers, HERE, "other")
    assert not refused(strangers, Origin(address="192.0.2.8"))
    clock.advance(60)
    assert not refused(strangers, HERE)


def test_ipv6_counts_by_network() -> None:
    """As everywhere."""
    strangers = Strangers(1, ManualClock())
    assert not refused(strangers, Origin(address="2001:db8::1"))
    assert refused(strangers, Origin(address="2001:db8::2"))
    assert not refused(strangers, Origin(address="2001:db8:0:1::1"))


@pytest.mark.parametrize("origin", [Origin(uid=5), Origin(address="127.0.0.1")])
def test_this_machine_is_exempt(origin: Origin) -> None:
    """Its programs share an address."""
    strangers = Strangers(1, ManualClock())
    assert not any(refused(strangers, origin) for _ in range(5))


def test_memory_is_bounded() -> None:
    """However many addresses call."""
    strangers = Strangers(1, ManualClock())
    for number in range(MAX_PAIRS + 10):
        origin = Origin(address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert not refused(strangers, origin)
    assert len(strangers._counts) == MAX_PAIRS
