"""Who may see a schedule, and who may change it."""

import errno

from middlewared import CallError, Context, Credentials, ValidationError
from middlewared_schedules.schedules import Entry, Schedules

__all__ = ["caller_of", "find_own", "find_readable", "is_readable"]


def caller_of(ctx: Context) -> Credentials:
    """Give who calls; the methods need a login."""
    assert ctx.credentials is not None  # noqa: S101 - said by their declaration
    return ctx.credentials


def is_readable(ctx: Context, entry: Entry) -> bool:
    """Tell whether the caller may see a schedule."""
    return ctx.get(Schedules).audience(entry).includes(ctx.credentials)


def _find(ctx: Context, number: int) -> Entry:
    entry = ctx.get(Schedules).get(number)
    if entry is None:
        raise ValidationError(
            None, f"Schedule with id {number} does not exist", errno.ENOENT
        )
    return entry


def find_readable(ctx: Context, number: int) -> Entry:
    """Give a schedule that the caller may see.

    Raises:
        ValidationError: ENOENT, there is none.
        CallError: EPERM, it belongs to somebody else.
    """
    entry = _find(ctx, number)
    if not is_readable(ctx, entry):
        raise _foreign(number)
    return entry


def find_own(ctx: Context, number: int) -> Entry:
    """Give a schedule that the caller may change: an own one, any for full admins.

    Raises:
        ValidationError: ENOENT, there is none.
        CallError: EPERM, it belongs to somebody else.
    """
    entry, who = _find(ctx, number), caller_of(ctx)
    owner = entry.schedule.owner
    if not (who.full_admin or (owner is not None and owner == who.account_id)):
        raise _foreign(number)
    return entry


def _foreign(number: int) -> CallError:
    return CallError(f"Schedule {number} belongs to somebody else", errno.EPERM)
