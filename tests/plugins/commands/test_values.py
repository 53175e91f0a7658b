"""Values: what no type can refuse, and the texts that programs get."""

from pathlib import Path
from typing import Any

import pytest

from middlewared import Secret, ValidationErrors
from middlewared_commands.params import (
    BoolParam,
    FloatParam,
    IntParam,
    ListParam,
    Param,
    PathParam,
    SecretParam,
    StrParam,
)
from middlewared_commands.values import checked, texts_of


@pytest.mark.parametrize(
    ("param", "value", "texts"),
    [
        (StrParam(), None, None),
        (StrParam(), "", [""]),
        (StrParam(), "a b", ["a b"]),
        (IntParam(), -5, ["-5"]),
        (FloatParam(), 0.1, ["0.1"]),
        (FloatParam(), 1, ["1"]),
        (FloatParam(), -0.0, ["0.0"]),
        (BoolParam(), True, ["true"]),
        (BoolParam(), False, ["false"]),
        (ListParam(), ["a", "b"], ["a", "b"]),
        (ListParam(), [], None),
        (SecretParam(), Secret("x"), None),
    ],
)
def test_texts(param: Param, value: Any, texts: list[str] | None) -> None:
    """Each value has its words, and a secret has none."""
    assert texts_of(param, value) == texts


@pytest.mark.parametrize(
    ("param", "value"),
    [
        (StrParam(), "a\0b"),
        (StrParam(), "\ud800"),
        (PathParam(), "/a\0"),
        (ListParam(), ["a", "b\0"]),
        (SecretParam(), Secret("hunter\0two")),
        (SecretParam(), Secret("hunter\ud800two")),
    ],
)
def test_what_no_word_can_hold(param: Param, value: Any) -> None:
    """NUL and halves of characters are refused; a secret is not shown."""
    with pytest.raises(ValidationErrors) as raised:
        checked("it", param, value)
    (error,) = raised.value.errors
    assert error.attribute in ("it", "it.1")
    assert "hunter" not in error.text


def test_other_values_pass() -> None:
    """What is no text, or has no limits, is left alone."""
    for value in (None, 5, 0.5, True, "a b", ["x"], Secret("x")):
        assert checked("it", StrParam(), value) == value


def test_paths_stay_in_their_folders(tmp_path: Path) -> None:
    """A path is resolved, links and dots and all, before it is looked at."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
    (inside / "link").symlink_to(outside)
    (tmp_path / "way").symlink_to(inside)
    param = PathParam(under=(str(tmp_path / "way"),))
    assert checked("p", param, f"{inside}/a/../b") == f"{inside}/b"
    assert checked("p", param, str(tmp_path / "way/x")) == f"{inside}/x"
    assert checked("p", param, str(inside)) == str(inside)
    paths = ListParam(items="path", under=(str(inside), "/nowhere"))
    assert checked("p", paths, [f"{inside}/x"]) == [f"{inside}/x"]
    for path in ("/", "link", "link/x", "../out", "../in2", "x/../../out"):
        for declared, value in ((param, None), (paths, [])):
            full = str(inside / path)
            given = full if value is None else [full]
            with pytest.raises(
                ValidationErrors, match="is outside, expected a path in"
            ):
                checked("p", declared, given)
