"""The path in front of all others."""

import pytest

from middlewared.basepath import check_base_path, with_base, without_base
from middlewared.errors import SettingsError


@pytest.mark.parametrize("base", ["", "/jobs", "/a/b.c/~d_e-f"])
def test_paths_are_accepted(base: str) -> None:
    """Nothing at all, or plain segments."""
    check_base_path(base)


@pytest.mark.parametrize(
    "base",
    ["/", "jobs", "/jobs/", "//jobs", "/a//b", "/a b", "/..", "/./x", "/j?x", "."],
)
def test_other_forms_are_named(base: str) -> None:
    """One clear sentence, with the value."""
    with pytest.raises(
        SettingsError, match="expected a path such as '/jobs'"
    ) as caught:
        check_base_path(base)
    assert repr(base) in str(caught.value)


@pytest.mark.parametrize(
    ("path", "inside", "full"),
    [
        ("/jobs/api/current", "/api/current", "/jobs/api/current"),
        ("/api/current", "/api/current", "/jobs/api/current"),
        ("/jobs", "/jobs", "/jobs/"),
        ("/jobs/", "/", "/jobs/"),
        ("/jobsy", "/jobsy", "/jobs/jobsy"),
        ("/", "/", "/jobs/"),
    ],
)
def test_proxies_may_cut_it_off_or_not(path: str, inside: str, full: str) -> None:
    """Both forms of a path mean the same."""
    assert without_base(path, "/jobs") == inside
    assert with_base(path, "/jobs") == full


@pytest.mark.parametrize("path", ["/", "/ui/", "/api/current"])
def test_without_one_nothing_changes(path: str) -> None:
    """The usual case."""
    assert without_base(path, "") == with_base(path, "") == path
