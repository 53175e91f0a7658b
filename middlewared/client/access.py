"""Logging in, and logging in again after a reconnect."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from middlewared.client.errors import ConnectionLost, LoginFailed, RemoteError

__all__ = ["TOKEN_TTL", "Access"]

log = logging.getLogger("middlewared.client")

#: Seconds a token for reconnecting lives; it is renewed at half its life.
TOKEN_TTL = 600

Call = Callable[..., Awaitable[Any]]


class Access:
    """The login of a client, over all its connections."""

    def __init__(self) -> None:
        self._credentials: dict[str, Any] | None = None
        self._token: str | None = None

    @property
    def known(self) -> bool:
        """Whether there is something to log in again with."""
        return self._credentials is not None

    async def login(self, call: Call, credentials: dict[str, Any]) -> dict[str, Any]:
        """Log in; return ``user_info``, empty where the server tells none.

        Args:
            call: calls a method of the server.
            credentials: what ``auth.login_ex`` takes; an API key without a user name
                goes to ``auth.login_with_api_key``.

        Raises:
            LoginFailed: the server does not accept them.
        """
        if "mechanism" not in credentials:
            if not await call("auth.login_with_api_key", credentials["api_key"]):
                raise LoginFailed("AUTH_ERR")
            return {}
        answer = await call("auth.login_ex", credentials)
        if answer["response_type"] != "SUCCESS":
            raise LoginFailed(answer["response_type"])
        return answer.get("user_info") or {}

    async def remember(self, call: Call, credentials: dict[str, Any]) -> None:
        """Keep what logs in again: a token, and the credentials should it fail."""
        self._credentials = credentials
        await self.renew(call)

    async def renew(self, call: Call) -> None:
        """Fetch a new token."""
        try:
            self._token = await call("auth.generate_token", TOKEN_TTL)
        except (RemoteError, ConnectionLost) as error:
            # The credentials still log in again.
            log.info("no token for reconnecting: %s", error)

    def forget(self) -> None:
        """Stay logged out after a reconnect."""
        self._credentials = self._token = None

    async def restore(self, call: Call) -> None:
        """Log in on a new connection, if the last one was logged in.

        Raises:
            LoginFailed: the server no longer accepts us.
        """
        if self._token is not None:
            try:
                await self.login(
                    call, {"mechanism": "TOKEN_PLAIN", "token": self._token}
                )
            except LoginFailed:
                self._token = None
            else:
                return
        if self._credentials is not None:
            await self.login(call, self._credentials)
