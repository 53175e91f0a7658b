"""What can be downloaded now, by whom, and for how long."""

import asyncio
import hashlib
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from middlewared import Context, Credentials, Origin
from middlewared_auth import Tokens
from middlewared_jobs.places import Places

__all__ = ["ONCE_SECONDS", "Download", "Downloads"]

#: Seconds that the token of something to fetch once is good for.
ONCE_SECONDS = 300
#: Seconds, from its last use, that the token of something to fetch again is good for.
AGAIN_SECONDS = 86_400
#: Downloads on offer at one time.
MAX_OFFERS = 10_000


class Download(Protocol):
    """Something of a job that can be fetched over HTTP.

    Attributes:
        job: the job.
        again: it can be fetched more than once, and in parts.
    """

    job: int
    again: bool

    async def answer(self, request: Request) -> Response:
        """Answer a request that may have it."""
        ...

    def close(self) -> None:
        """Give it up: nobody fetches it any more."""
        ...


class _Offer:
    """A download that can be fetched, until it is withdrawn."""

    __slots__ = ("digest", "download", "output", "timer")

    def __init__(self, download: Download, digest: bytes, *, output: bool) -> None:
        self.download = download
        self.digest = digest
        self.output = output
        self.timer: asyncio.TimerHandle | None = None


class Downloads:
    """The downloads on offer.

    The path of one names the job and has a token, which says who fetches, and what. A
    token that a client made for the job itself gives the job's output.

    Args:
        tokens: makes the tokens and takes them back.
        limit: outputs of jobs that may be on offer, or on their way, at one time.

    Attributes:
        places: for outputs; taken before there is a job.
    """

    def __init__(self, tokens: Tokens, limit: int) -> None:
        self.places = Places(limit, "downloads of jobs")
        self._tokens = tokens
        self._offers: dict[bytes, _Offer] = {}
        self._outputs: dict[int, _Offer] = {}

    def offer(
        self, download: Download, ctx: Context, *, seconds: float | None, output: bool
    ) -> str:
        """Offer a download to whoever asks for it; give its path.

        Args:
            download: what it is.
            ctx: who may fetch it.
            seconds: until it is withdrawn; None for not before `withdraw_after`.
            output: it is the output of its job; the job has one.
        """
        who = ctx.credentials
        assert who is not None  # noqa: S101 - methods that offer need a login
        origin = Origin() if ctx.session is None else ctx.session.origin
        token = self._tokens.generate(
            who,
            ttl=AGAIN_SECONDS if download.again else ONCE_SECONDS,
            attrs={"job": download.job},
            # The unix socket has no address that a download could match.
            match_origin=origin.address is not None,
            single_use=not download.again,
            origin=origin,
        )
        self._make_room()
        offer = _Offer(download, _digest(token), output=output)
        self._offers[offer.digest] = offer
        if output:
            self._outputs[download.job] = offer
        if seconds is not None:
            self.withdraw_after(download, seconds)
        return ctx.path(f"/_download/{download.job}?auth_token={token}")

    def _make_room(self) -> None:
        """Forget the oldest log or result on offer when there are too many."""
        if len(self._offers) >= MAX_OFFERS:
            for offer in list(self._offers.values()):
                if not offer.output:
                    self._withdraw(offer)
                    return

    def identify(self, job: int, token: str, origin: Origin) -> Credentials | None:
        """Use a token; give the rights that it gives, None when it is not good.

        They say nothing of the job: anybody can make a token for any.

        Args:
            job: the job in the path.
            token: what somebody sent.
            origin: from where.
        """
        return self._tokens.take(token, origin, attrs={"job": job})

    def take(self, job: int, token: str) -> Download | None:
        """Give what a token is for, None when that is not on offer.

        What can be fetched once is not on offer any more: the caller has made sure that
        whose token it is may see the job.
        """
        offer = self._offers.get(_digest(token)) or self._outputs.get(job)
        if offer is None:
            return None
        if not offer.download.again:
            self._forget(offer)
        return offer.download

    def find(self, token: str) -> Download | None:
        """Say what was offered with a token, without using it; None for nothing."""
        offer = self._offers.get(_digest(token))
        return None if offer is None else offer.download

    def withdraw_after(self, download: Download, seconds: float) -> None:
        """Withdraw a download after so many seconds, if nobody has taken it by then."""
        for offer in self._offers.values():
            if offer.download is download:
                loop = asyncio.get_running_loop()
                offer.timer = loop.call_later(seconds, self._withdraw, offer)

    def _withdraw(self, offer: _Offer) -> None:
        self._forget(offer)
        offer.download.close()

    def _forget(self, offer: _Offer) -> None:
        self._offers.pop(offer.digest, None)
        if offer.output:
            self._outputs.pop(offer.download.job, None)
        if offer.timer is not None:
            offer.timer.cancel()

    def close(self) -> None:
        """Withdraw everything."""
        for offer in list(self._offers.values()):
            self._withdraw(offer)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
