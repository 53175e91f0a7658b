"""The rights that the jobs of a schedule run with: its owner's, as they are now."""

import errno

from middlewared import FULL_ADMIN, CallError, Credentials
from middlewared.errors import MiddlewareError
from middlewared.plugin import Method
from middlewared_auth import Account
from middlewared_schedules.schedule import Schedule

__all__ = ["RightsLost", "check_rights", "rights_of"]


class RightsLost(MiddlewareError):
    """The owner of a schedule may not start its jobs any more."""


def rights_of(schedule: Schedule, account: Account | None, now: int) -> Credentials:
    """Give the rights of a schedule's jobs.

    They are those of the owner, as far as the login had them that made it.

    Args:
        schedule: whose jobs.
        account: its owner, as it is now; None when there is none.
        now: milliseconds since 1970-01-01 UTC.

    Raises:
        RightsLost: the account was removed.
        CallError: EACCES, the account is locked or has expired.
    """
    if schedule.owner is None:
        return _credentials(schedule, schedule.username, schedule.roles, now)
    if account is None:
        raise RightsLost(f"the account of {schedule.username!r} was removed")
    if account.locked:
        raise CallError(f"The account {account.username!r} is locked", errno.EACCES)
    if account.expires is not None and account.expires <= now:
        raise CallError(f"The account {account.username!r} has expired", errno.EACCES)
    roles = _both(account.roles, schedule.roles)
    return _credentials(schedule, account.username, roles, now)


def _both(held: frozenset[str], most: frozenset[str]) -> frozenset[str]:
    """Give the roles that are in two sets; a full admin's has them all."""
    if FULL_ADMIN in most:
        return held
    return most if FULL_ADMIN in held else held & most


def _credentials(
    schedule: Schedule, username: str, roles: frozenset[str], now: int
) -> Credentials:
    return Credentials(
        type="SCHEDULE",
        account_id=schedule.owner,
        username=username,
        roles=roles,
        login_id=f"schedule-{schedule.id}",
        login_at=now,
    )


def check_rights(method: Method, who: Credentials) -> None:
    """Let the rights pass that are enough for a method.

    Raises:
        RightsLost: they are not.
    """
    if not method.access.allows(who):
        raise RightsLost(f"{who.username!r} may not call {method.name} any more")
