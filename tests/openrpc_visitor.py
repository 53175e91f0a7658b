"""Somebody who looks at the reference pages."""

import httpx

from middlewared_openrpc.entrance import COOKIE

#: Of all accounts that the tests make.
PASSWORD = "pw"


async def log_in(http: httpx.AsyncClient, name: str) -> httpx.Response:
    """Fill in the form."""
    form = {"username": name, "password": PASSWORD}
    answer = await http.post("login", data=form)
    assert COOKIE in http.cookies
    return answer
