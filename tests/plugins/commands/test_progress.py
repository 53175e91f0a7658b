"""Progress that is read from lines of output."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middlewared_commands.progress import (
    Progress,
    compile_pattern,
    number,
    printable,
)
from middlewared_commands.table import Pattern


class Seen:
    """What was reported."""

    def __init__(self, *patterns: str, scale: float = 1.0, log: bool = True) -> None:
        self.found: list[tuple[float | None, str | None]] = []
        self.warnings: list[str] = []
        compiled = [
            compile_pattern(Pattern(pattern=text, scale=scale, log=log))
            for text in patterns
        ]
        self.progress = Progress(
            compiled, lambda *what: self.found.append(what), self.warnings.append
        )

    def look(self, *lines: bytes) -> list[bool]:
        return [self.progress.look(line) for line in lines]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5", 5.0),
        ("45.3", 45.3),
        ("45,3", 45.3),
        ("1,234", 1234.0),
        ("1,234.5", 1234.5),
        ("12,34", 12.34),
        ("1 234 567", 1234567.0),
        ("1_234", 1234.0),
        ("1'234", 1234.0),
        (" 7 ", 7.0),
        ("1e2", 100.0),
        ("", None),
        ("x", None),
        ("1.2.3", None),
        ("inf", None),
        ("nan", None),
        (None, None),
    ],
)
def test_numbers(text: str | None, found: float | None) -> None:
    """Numbers are read as programs print them."""
    assert number(text) == found


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        (r"(?P<percent>[\d.]+)%", b"\r 45.3% done", [(45.3, None)]),
        (r"(?P<done>\d+)/(?P<total>\d+)", b"file 3/12\n", [(25.0, None)]),
        (r"(?P<done>\d+)/(?P<total>\d+)", b"file 3/0\n", []),
        (
            r"^(?P<description>Phase .*)",
            b"Phase  two\tof 3\n",
            [(None, "Phase two of 3")],
        ),
        (r"(?P<percent>\d+)% (?P<description>.*)", b"5% a\xffb", [(5.0, "a\ufffdb")]),
        (r"(?P<percent>\d+)%|(?P<description>end)", b"end", [(None, "end")]),
        (r"(?P<percent>\w+)%", b"x%", []),
        (r"(?P<description>.*)", b"\x1b[31mred\n", [(None, "\ufffd[31mred")]),
        (r"(?P<description>x*)", b"y\n", []),
        (r"(?P<percent>\d+)%", b"nothing", []),
    ],
)
def test_lines(pattern: str, line: bytes, found: list[tuple[object, object]]) -> None:
    """Percent, or the share of done in total, and what is done, are reported."""
    seen = Seen(pattern)
    assert seen.look(line) == [True]
    assert seen.found == found


def test_shares_are_scaled() -> None:
    """A share of one becomes percent."""
    seen = Seen(r'"percent_done":(?P<percent>[0-9.e-]+)', scale=100)
    seen.look(b'{"message_type":"status","percent_done":0.25}')
    assert seen.found == [(25.0, None)]


def test_the_first_pattern_counts() -> None:
    """Patterns are tried in their order."""
    seen = Seen(r"a(?P<percent>\d)", r"(?P<percent>\d)")
    seen.look(b"a1", b"2")
    assert seen.found == [(1.0, None), (2.0, None)]


def test_lines_may_be_kept_out_of_the_log() -> None:
    """Lines that match can be left out of the log, others never."""
    assert Seen(r"(?P<percent>\d)%", log=False).look(b"1%", b"x") == [False, True]


def test_a_pattern_that_takes_too_long_is_given_up() -> None:
    """It is said once, and the command goes on with the other patterns."""
    seen = Seen(r"(?P<description>(a|aa)+$)", r"(?P<percent>\d+)%")
    assert seen.look(b"a" * 40 + b"c", b"a" * 40 + b"c", b"7%") == [True] * 3
    assert len(seen.warnings) == 1
    assert "is not used any more" in seen.warnings[0]
    assert seen.found == [(7.0, None)]


@given(st.binary(max_size=100))
def test_any_bytes(line: bytes) -> None:
    """Nothing that a program prints can break it."""
    seen = Seen(r"(?P<percent>[\d.,]+)%?(?P<description>.*)", r"(?P<description>.+)")
    seen.look(line)
    for percent, description in seen.found:
        assert percent is None or isinstance(percent, float)
        assert description is None or description.isprintable()


@given(st.text())
def test_printable(text: str) -> None:
    """What is shown to people is one line that no terminal obeys."""
    assert printable(text).isprintable()
    assert "\n" not in printable(text)
