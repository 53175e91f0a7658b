"""What each operator becomes in SQL for each kind of column."""

from typing import Any

import pytest

from middlewared.filters import Column, compile_sql, parse_filters

COLUMNS = {
    "n": Column("n", "int"),
    "size": Column("size", "int", nullable=True),
    "flag": Column("flag", "bool"),
    "state": Column("state", "text"),
    "note": Column("note", "text", nullable=True),
    "t": Column("t", "time_ms"),
    "end": Column("ended", "time_ms", nullable=True),
    "args": Column("args", "json"),
}


@pytest.mark.parametrize(
    ("leaf", "where", "params"),
    [
        (["n", "=", 1], "n = ?", [1]),
        (["n", "=", True], "n = ?", [1]),
        (["n", "=", 1.0], "n = ?", [1]),
        (["n", "=", 1.5], "0", []),
        (["n", "=", "1"], "0", []),
        (["n", "=", 2**63], "0", []),
        (["n", "=", float("inf")], "0", []),
        (["n", "!=", "1"], "1", []),
        (["size", "=", None], "size IS NULL", []),
        (["size", "!=", None], "size IS NOT NULL", []),
        (["size", "!=", 5], "size IS NOT ?", [5]),
        (["n", ">", 5], "n > ?", [5]),
        (["n", ">", 5.5], "n > ?", [5]),
        (["n", ">=", 5.5], "n > ?", [5]),
        (["n", "<", -5.5], "n <= ?", [-6]),
        (["n", "<=", -5.5], "n <= ?", [-6]),
        (["n", ">=", 1e300], "0", []),
        (["n", "<", 2**63], "1", []),
        (["n", ">", -(2**64)], "1", []),
        (["n", "<", float("-inf")], "0", []),
        (["n", "<", float("nan")], "0", []),
        (["n", "in", [1, "x", 2.0, 2**64]], "n IN (?, ?)", [1, 2]),
        (["n", "in", ["x"]], "0", []),
        (["size", "in", [1, None]], "(size IN (?) OR size IS NULL)", [1]),
        (["size", "in", []], "0", []),
        (["size", "nin", [1, None]], "size NOT IN (?)", [1]),
        (["size", "nin", []], "size IS NOT NULL", []),
        (["flag", "=", True], "flag = ?", [1]),
        (["state", "=", "x"], "state = ?", ["x"]),
        (["state", "=", 5], "0", []),
        (["state", "=", "\ud800"], "0", []),
        (["state", ">", "a"], "state > ?", ["a"]),
        (["state", "^", "ab"], "(state >= ? AND state < ?)", ["ab", "ac"]),
        (
            ["state", "^", "a\ud7ff"],
            "(state >= ? AND state < ?)",
            ["a\ud7ff", "a\ue000"],
        ),
        (
            ["state", "^", "a\U0010ffff"],
            "(state >= ? AND state < ?)",
            ["a\U0010ffff", "b"],
        ),
        (["state", "^", "\U0010ffff"], "state >= ?", ["\U0010ffff"]),
        (["state", "^", ""], "state IS NOT NULL", []),
        (["state", "^", "\udfff"], "0", []),
        (["state", "!^", "ab"], "(state < ? OR state >= ?)", ["ab", "ac"]),
        (["state", "!^", "\U0010ffff"], "state < ?", ["\U0010ffff"]),
        (["note", "!^", ""], "0", []),
        (["note", "!^", "\udfff"], "note IS NOT NULL", []),
        (["note", "$", "é"], "substr(CAST(note AS BLOB), -2) = ?", ["é".encode()]),
        (
            ["note", "!$", "b"],
            "(note IS NOT NULL AND substr(CAST(note AS BLOB), -1) IS NOT ?)",
            [b"b"],
        ),
        (["note", "rin", "b"], "instr(CAST(note AS BLOB), ?) > 0", [b"b"]),
        (["note", "rnin", "b"], "instr(CAST(note AS BLOB), ?) = 0", [b"b"]),
        (["t.$date", ">", "1970-01-01T00:00:01"], "t > ?", [1000]),
        (["t.$date", "<", "1970-01-01T00:00:01.0001"], "t <= ?", [1000]),
        (["t.$date", "=", 1000], "t = ?", [1000]),
        (["t", "=", {"$date": 1000}], "t = ?", [1000]),
        (["t", ">", {"$date": 1000}], "t > ?", [1000]),
        (["t", "in", [{"$date": 1}, {"$date": None}, 5]], "t IN (?)", [1]),
        (["end", "=", None], "ended IS NULL", []),
        (["end.$date", "!=", "1970-01-01"], "ended IS NOT ?", [0]),
        (["args", "=", None], "(args IS NULL OR args = 'null')", []),
        (["args", "!=", None], "(args IS NOT NULL AND args <> 'null')", []),
    ],
)
def test_exact(leaf: list[Any], where: str, params: list[Any]) -> None:
    """These conditions are decided by SQL alone."""
    compiled = compile_sql(parse_filters([leaf]), COLUMNS)
    assert (compiled.where, compiled.params, compiled.exact) == (where, params, True)


@pytest.mark.parametrize(
    ("leaf", "where", "params"),
    [
        (["size", ">", 5], "(size > ? OR size IS NULL)", [5]),
        (["note", "<", "b"], "(note < ? OR note IS NULL)", ["b"]),
        (["end.$date", ">", 5], "(ended > ? OR ended IS NULL)", [5]),
        (["args", "=", "x-1"], "instr(args, ?) > 0", ["x-1"]),
        (["args.0.name", "=", "x-1"], "instr(args, ?) > 0", ["x-1"]),
        (
            ["args", "rin", "x-1"],
            "(instr(args, ?) > 0 OR substr(args, 1, 1) NOT IN ('[', '{', '\"'))",
            ["x-1"],
        ),
    ],
)
def test_narrowing(leaf: list[Any], where: str, params: list[Any]) -> None:
    """These conditions drop most of what does not match, and nothing that raises."""
    compiled = compile_sql(parse_filters([leaf]), COLUMNS)
    assert (compiled.where, compiled.params, compiled.exact) == (where, params, False)


@pytest.mark.parametrize(
    "leaf",
    [
        ["nope", "=", 1],
        ["state.deeper", "=", "x"],
        ["state", "~", "x"],
        ["state", "C=", "x"],
        ["n", "C=", "x"],
        ["n", "C>", "x"],
        ["state", ">", 5],
        ["state", ">", "\ud800"],
        ["state", "in", "xyz"],
        ["state", "in", {"x": 1}],
        ["n", ">", "5"],
        ["n", "in", 5],
        ["n", "^", "5"],
        ["n", "rin", 5],
        ["state", "^", 5],
        ["t", ">", 5],
        ["t", ">", {"$date": "x"}],
        ["t", "rin", "$date"],
        ["t.other", "=", 5],
        ["args", "=", 5],
        ["args", "=", 'x"y'],
        ["args", "=", "é"],
        ["args", "=", ""],
        ["args", "!=", "x"],
        ["args", "C=", "x"],
        ["args.0", "=", None],
        ["args.0", "rin", "x"],
        ["args", "rin", 5],
    ],
)
def test_left_to_matches(leaf: list[Any]) -> None:
    """These conditions drop nothing, because SQL cannot say the same."""
    compiled = compile_sql(parse_filters([leaf]), COLUMNS)
    assert (compiled.where, compiled.params, compiled.exact) == ("1", [], False)
