"""A job with counts and items that fail: the demo's move of users for Webex."""

import re
from typing import Annotated, Any

import anyio
import msgspec
from msgspec import Meta

from middlewared import Context, Plugin, ValidationError
from middlewared_auth import JOB_USER
from middlewared_jobs import Job, job

__all__ = ["add_move"]

_E164 = re.compile(r"\+[1-9]\d{6,14}")
MAX_USERS = 100
#: Code of a wrong number: a check has the bare one, an error of the job the other.
WRONG_NUMBER = 1017023
WRONG_ITEM = f"BATCH-{WRONG_NUMBER}"


class MovedUser(msgspec.Struct, rename="camel"):
    """A user to move.

    Attributes:
        user_id: who.
        extension: of the new place.
        phone_number: the new one in E.164; empty to take it away.
    """

    user_id: Annotated[str, Meta(min_length=1)]
    extension: str | None = None
    phone_number: str | None = None


class UsersMove(msgspec.Struct, rename="camel"):
    """Users that move to one place.

    Attributes:
        location_id: where to.
        validate: only say what would happen.
        users: who moves.
    """

    location_id: Annotated[str, Meta(min_length=1)]
    validate: bool
    users: Annotated[list[MovedUser], Meta(min_length=1, max_length=MAX_USERS)]


class Moves(msgspec.Struct, rename="camel"):
    """All moves of one request."""

    users_list: Annotated[list[UsersMove], Meta(min_length=1)]


def _mistake(user: MovedUser) -> str | None:
    number = user.phone_number
    if not number or _E164.fullmatch(number):
        return None
    return f"phoneNumber is {number!r}, expected E.164 as +15551234567"


def add_move(plugin: Plugin) -> None:
    """Declare the job on the plugin, and its check."""

    @plugin.method(roles=[JOB_USER], read_only=True)
    async def check_move(ctx: Context, moves: Moves) -> list[dict[str, Any]]:
        """Say for each user what a move would do, and what is in its way."""
        users = [user for move in moves.users_list for user in move.users]
        if len(users) > 1:
            text = f"{len(users)} users are to be checked, expected one"
            raise ValidationError("moves.usersList", text)
        answer = []
        for move in moves.users_list:
            for user in move.users:
                mistake = _mistake(user)
                errors = [{"code": WRONG_NUMBER, "message": mistake}] if mistake else []
                answer.append({"userId": user.user_id, "impacts": [], "errors": errors})
        return answer

    @plugin.method(roles=[JOB_USER])
    @job(
        abortable=True,
        pausable=True,
        restartable=True,
        description="Move users",
        steps=["validateAndMove", "report"],
        counts={
            "totalMoves": "total",
            "moved": "ok",
            "failed": "failed",
            "pending": "pending",
            "skipped": "skipped",
        },
        dialects={
            "webex": {
                "family": "person/moveLocation",
                "body": "moves",
                "validate": "demo.check_move",
            }
        },
    )
    async def move_users(
        job: Job, moves: Moves, seconds: Annotated[float, Meta(ge=0, le=60)] = 0.0
    ) -> None:
        """Move users to other places; a pretended one, to show counts and errors."""
        async with job.step("validateAndMove") as step:
            if not step.skipped:
                await _move(job, moves, seconds)
        async with job.step("report") as step:
            await anyio.sleep(seconds)


async def _move(job: Job, moves: Moves, seconds: float) -> None:
    everybody = [(move, user) for move in moves.users_list for user in move.users]
    job.count("totalMoves", len(everybody))
    for done, (move, user) in enumerate(everybody, 1):
        await anyio.sleep(seconds)
        mistake = _mistake(user)
        if mistake is None:
            job.count("moved")
        else:
            job.count("failed")
            job.error_item(user.user_id, WRONG_ITEM, mistake, location=move.location_id)
        job.set_progress(100 * done / len(everybody), user.user_id)
