"""The rights of a schedule's jobs."""

import errno
from typing import Any

import pytest

from middlewared import FULL_ADMIN, CallError, Context, Plugin
from middlewared_auth import Account
from middlewared_jobs import Job, JobChoices, job
from middlewared_schedules.plan import Missed
from middlewared_schedules.rights import RightsLost, check_rights, rights_of
from middlewared_schedules.schedule import Schedule

plugin = Plugin("pool")


@plugin.method(roles=["POOL_WRITE"])
@job
async def scrub(job: Job) -> None:
    """Scrub."""


@plugin.method
async def names(ctx: Context) -> None:
    """List."""


def schedule(owner: int | None, *roles: str) -> Schedule:
    """Make a schedule of somebody."""
    return Schedule(
        id=3,
        name="nightly",
        owner=owner,
        username="ann",
        roles=frozenset(roles),
        method="pool.scrub",
        arguments=b"[]",
        params=b"[]",
        sealed=False,
        options=JobChoices(),
        cron=None,
        timezone=None,
        interval=60,
        start=None,
        end=None,
        jitter=0.0,
        delay=0,
        missed=Missed.ONCE,
        overlap=False,
        enabled=True,
        created=0,
        modified=0,
    )


def account(*roles: str, **more: Any) -> Account:
    """Make an account with roles."""
    return Account(
        id=7, uuid="u", username="ann", roles=frozenset(roles), created=0, **more
    )


@pytest.mark.parametrize(
    ("held", "most", "expected"),
    [
        ({"A", "B"}, {"A"}, {"A"}),
        ({"A"}, {"A", "B"}, {"A"}),
        ({FULL_ADMIN}, {"A"}, {"A"}),
        ({"A"}, {FULL_ADMIN}, {"A"}),
        ({FULL_ADMIN}, {FULL_ADMIN}, {FULL_ADMIN}),
        (set(), {"A"}, set()),
    ],
)
def test_roles_are_those_of_now_within_those_of_then(
    held: set[str], most: set[str], expected: set[str]
) -> None:
    """Neither may a job do what the login could not, nor what the owner cannot now."""
    who = rights_of(schedule(7, *most), account(*held), 5)
    assert who.roles == expected
    assert (who.account_id, who.username, who.login_at) == (7, "ann", 5)
    assert (who.type, who.login_id) == ("SCHEDULE", "schedule-3")


def test_schedule_of_no_account() -> None:
    """What was made over the unix socket has the rights that it was made with."""
    assert rights_of(schedule(None, FULL_ADMIN), None, 0).full_admin
    assert rights_of(schedule(None, "A"), None, 0).roles == {"A"}


def test_removed_account() -> None:
    """A removed owner has lost its rights for good."""
    with pytest.raises(RightsLost, match="the account of 'ann' was removed"):
        rights_of(schedule(7, "A"), None, 0)


@pytest.mark.parametrize(
    ("more", "text"),
    [({"locked": True}, "is locked"), ({"expires": 5}, "has expired")],
)
def test_account_that_may_not_log_in(more: dict[str, Any], text: str) -> None:
    """A locked or expired owner starts nothing, for as long as that lasts."""
    with pytest.raises(CallError, match=text) as caught:
        rights_of(schedule(7, "A"), account("A", **more), 5)
    assert caught.value.errno == errno.EACCES
    assert rights_of(schedule(7, "A"), account("A", expires=6), 5).roles == {"A"}


def test_method_asks_for_roles() -> None:
    """The roles have to be enough for the method."""
    method = plugin.methods["pool.scrub"]
    check_rights(method, rights_of(schedule(7, "POOL_WRITE"), account("POOL_WRITE"), 0))
    with pytest.raises(RightsLost, match=r"'ann' may not call pool\.scrub any more"):
        check_rights(method, rights_of(schedule(7, "POOL_WRITE"), account("B"), 0))
