"""Conditions, fields and positions as one types them."""

from typing import Any

import click
import pytest

from middlewared.cli.conditions import parse_conditions, parse_fields, parse_position


@pytest.mark.parametrize(
    ("word", "condition"),
    [
        ("state=FAILED", ["state", "=", "FAILED"]),
        ("id>5", ["id", ">", 5]),
        ("id >= 5", ["id", ">=", 5]),
        ("method^demo.", ["method", "^", "demo."]),
        ("method!^demo.", ["method", "!^", "demo."]),
        ("method$.sleep", ["method", "$", ".sleep"]),
        ("state!=SUCCESS", ["state", "!=", "SUCCESS"]),
        ("error~.*disk", ["error", "~", ".*disk"]),
        ("owner=null", ["owner", "=", None]),
        ("lock=", ["lock", "=", ""]),
        ("description=a=b", ["description", "=", "a=b"]),
        ("arguments.0=x y", ["arguments.0", "=", "x y"]),
        ('["state","in",["FAILED"]]', ["state", "in", ["FAILED"]]),
        ('["OR",[["id","=",1]]]', ["OR", [["id", "=", 1]]]),
    ],
)
def test_conditions(word: str, condition: list[Any]) -> None:
    """Path, operator and value; or the condition as the wire has it."""
    assert parse_conditions([word]) == [condition]


@pytest.mark.parametrize("word", ["", "state", "=5", "[]", "[1,2,3,4]", "{}"])
def test_what_is_no_condition_is_refused(word: str) -> None:
    """With an example of one."""
    with pytest.raises(click.BadParameter, match=r"expected one like state=FAILED"):
        parse_conditions([word])


def test_fields() -> None:
    """With commas, or one by one."""
    assert parse_fields(["id,state", "error"]) == ["id", "state", "error"]
    assert parse_fields([]) == []


def test_position() -> None:
    """Epoch and number."""
    assert parse_position(None) is None
    assert parse_position("9f86:17") == {"epoch": "9f86", "seq": 17}
    for word in ("", "17", "9f86:", ":17", "9f86:x"):
        with pytest.raises(click.BadParameter, match="expected EPOCH:SEQ"):
            parse_position(word)
