"""Time tells nobody which names, passwords and keys there are."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any

import pytest
from msgspec.structs import replace

from middlewared import Origin
from middlewared_auth.accounts import Accounts

UNIX = Origin()  # not limited by address


async def work_of(call: Callable[[], Awaitable[Any]]) -> float:
    """Give the CPU time of a call, of all threads: other programs do not disturb it."""
    times = []
    for _ in range(5):
        began = time.process_time()
        await call()
        times.append(time.process_time() - began)
    return median(times)


@pytest.mark.parametrize("kind", ["password", "no password", "locked", "key"])
async def test_strangers_cost_as_much_as_accounts(run: Any, kind: str) -> None:
    """A wrong password or key of somebody is as much work as one of nobody."""
    async with run(lockout_failures=0) as world:
        number = await world.user("ann")
        if kind == "no password":
            accounts = world.get(Accounts)
            await accounts.change(number, lambda a: replace(a, password_hash=None))
        if kind == "locked":
            await world.call("user.update", number, {"locked": True})
        await world.call("api_key.create", {"username": "ann", "name": "k"})
        call = world.connect(UNIX).context.call
        if kind == "key":
            known = partial(call, "auth.login_with_api_key", "1-x")
            unknown = partial(call, "auth.login_with_api_key", "9-x")
        else:
            known = partial(call, "auth.login", "ann", "no")
            unknown = partial(call, "auth.login", "nobody", "no")
        one, other = await work_of(known), await work_of(unknown)
        assert 0.5 < one / other < 2
