"""What a plain request proves with its header."""

import base64
import errno

import pytest
from msgspec.structs import replace
from starlette.exceptions import HTTPException
from starlette.requests import Request

from middlewared.access import SYSTEM, Authenticator, Credentials, Origin
from middlewared.audit import Trail
from middlewared.authorization import authorize
from middlewared.clock import Clock
from middlewared.context import Services
from middlewared.errors import CallError
from middlewared.settings import Settings
from middlewared.testing import ManualClock

ORIGIN = Origin(address="192.0.2.1", secure=True)


class Doorman:
    """Knows one password, one key and one token, and notes who asks."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.origin: Origin | None = None

    def _answer(self, origin: Origin, *asked: str) -> Credentials | None:
        self.asked.append(asked)
        self.origin = origin
        if asked[-1] == "busy":
            raise CallError("Rate Limit Exceeded", errno.EBUSY)
        if asked[-1] == "locked":
            raise CallError("Not from here", errno.EACCES)
        return SYSTEM if asked[-1] == "right" else None

    async def by_password(
        self, username: str, password: str, origin: Origin
    ) -> Credentials | None:
        return self._answer(origin, "password", username, password)

    async def by_bearer(self, value: str, origin: Origin) -> Credentials | None:
        return self._answer(origin, "bearer", value)

    def by_proxy(self, origin: Origin) -> Credentials | None:
        return self._answer(origin, "proxy", origin.remote_user or "")

    async def by_token(self, token: str, origin: Origin) -> Credentials | None:
        return self._answer(origin, "token", token)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def request(
    doorman: Doorman, header: str | None = None, origin: Origin = ORIGIN
) -> Request:
    services = Services()
    services.provide(Authenticator, doorman)  # type: ignore[type-abstract]  # by protocol
    services.provide(Settings, Settings(data_dir="/nowhere"))
    clock = ManualClock()
    services.provide(Clock, clock)  # type: ignore[type-abstract]  # by protocol
    services.provide(Trail, Trail(clock))
    headers = [] if header is None else [(b"authorization", header.encode())]
    return Request(
        {
            "type": "http",
            "path": "/",
            "headers": headers,
            "state": {"services": services, "origin": origin},
        }
    )


async def test_no_header() -> None:
    """Whoever says nothing is nobody, and is not asked for."""
    doorman = Doorman()
    assert await authorize(request(doorman)) is None
    assert doorman.asked == []


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        (basic("ann:right"), ("password", "ann", "right")),
        (
            basic("ann:a:right").replace("Basic", "basic"),
            ("password", "ann", "a:right"),
        ),
        ("Bearer right", ("bearer", "right")),
        ("token   right", ("token", "right")),
    ],
)
async def test_three_ways(header: str, asked: tuple[str, ...]) -> None:
    """Each scheme goes its way; its name is written as one likes."""
    doorman = Doorman()
    found = authorize(request(doorman, header))
    if asked[-1] == "right":
        assert await found is SYSTEM
        assert doorman.origin == ORIGIN
    else:
        with pytest.raises(HTTPException):
            await found
    assert doorman.asked == [asked]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong",
        "Bearer",
        "Digest x",
        "Basic ???",
        "Basic /w==",
        basic("no colon"),
        basic("ann:wrong"),
    ],
)
async def test_what_is_not_good(header: str) -> None:
    """It is 401, and says how one can prove oneself."""
    with pytest.raises(HTTPException) as caught:
        await authorize(request(Doorman(), header))
    assert caught.value.status_code == 401
    assert caught.value.headers is not None
    assert caught.value.headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(("key", "status"), [("busy", 429), ("locked", 403)])
async def test_refusals(key: str, status: int) -> None:
    """Too many failures and other refusals have codes of their own, and a text."""
    with pytest.raises(HTTPException) as caught:
        await authorize(request(Doorman(), f"Bearer {key}"))
    assert caught.value.status_code == status
    assert caught.value.detail.endswith("\n")


async def test_nothing_is_taken_over_plain_http() -> None:
    """It is 403 before anybody is asked."""
    doorman, plain = Doorman(), replace(ORIGIN, secure=False)
    for sent in (
        request(doorman, "Bearer right", plain),
        request(doorman, None, replace(plain, remote_user="right")),
    ):
        with pytest.raises(HTTPException) as caught:
            await authorize(sent)
        assert caught.value.status_code == 403
    assert await authorize(request(doorman, None, plain)) is None
    assert doorman.asked == []


async def test_proxy_comes_before_the_header() -> None:
    """What the client sends besides is not looked at."""
    doorman, proxied = Doorman(), replace(ORIGIN, remote_user="right")
    assert await authorize(request(doorman, "Bearer wrong", proxied)) is SYSTEM
    nobody = replace(ORIGIN, remote_user="wrong")
    assert await authorize(request(doorman, "Bearer right", nobody)) is None
    assert doorman.asked == [("proxy", "right"), ("proxy", "wrong")]


async def test_token_may_come_otherwise() -> None:
    """The header comes first."""
    doorman = Doorman()
    assert await authorize(request(doorman), token="right") is SYSTEM
    assert await authorize(request(doorman, "Bearer right"), token="wrong") is SYSTEM
    with pytest.raises(HTTPException):
        await authorize(request(doorman), token="")
    assert doorman.asked == [("token", "right"), ("bearer", "right"), ("token", "")]


async def test_unix_socket_knows_its_peer() -> None:
    """Unless the request says who it is."""
    doorman, peer = Doorman(), Origin(uid=0)
    found = await authorize(request(doorman, None, peer))
    assert found is not None
    assert found.type == "UNIX_SOCKET"
    assert await authorize(request(doorman, "Bearer right", peer)) is SYSTEM
    assert await authorize(request(doorman, None, Origin(uid=2**31 - 3))) is None
