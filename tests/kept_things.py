"""A collection whose events are kept in a list: what feeds and their tests need."""

from collections.abc import Iterable
from typing import Any

import msgspec
from wire_client import WireClient
from wire_server import WireServer

from middlewared import Audience, Context, Event, Plugin
from middlewared.events import EventBus, Message, Wanted
from middlewared.feeds import Feeds
from middlewared.sendqueue import Importance

__all__ = ["THINGS", "Thing", "Things", "follow", "following"]

THINGS = "kept.things"


class Thing(msgspec.Struct):
    """An item of the collection.

    Attributes:
        id: number.
        state: word.
        percent: how far.
        pad: room.
    """

    id: int
    state: str
    percent: int = 0
    pad: str = ""


class Things:
    """The items, the kept events, and a plugin that shows them.

    Attributes:
        items: by id.
        kept: the numbered events, oldest first, as (seq, msg, id, item, owner).
        reads: how often kept events were asked for.
    """

    def __init__(self, *, numbered: bool = True) -> None:
        self.items: dict[int, Thing] = {}
        self.owners: dict[int, int | None] = {}
        self.kept: list[tuple[int, Message, int, bytes | None]] = []
        self.reads = 0
        self.seq = 0
        self.dropped = 0
        self._loose: set[int] = set()
        self._numbered = numbered
        self.plugin = Plugin("kept")
        self.plugin.collection(
            THINGS,
            Thing,
            doc="Things.",
            authenticated=True,
            snapshot=self._snapshot,
            replay=self._replay if numbered else None,
            removed_on_request=True,
        )

    def begin(self, server: WireServer) -> None:
        """Begin to number events."""
        self.server = server
        if self._numbered:
            self.bus.begin(THINGS, lambda: self.seq)

    @property
    def bus(self) -> EventBus:
        """The server's bus."""
        return self.server.running.app.services.get(EventBus)

    @property
    def epoch(self) -> str:
        """The server's epoch."""
        return self.server.running.app.services.get(Feeds).epoch

    async def _snapshot(self, ctx: Context, wanted: Wanted) -> Iterable[Event]:
        ids = list(self.items) if wanted.news_since is None else sorted(self._loose)
        return (self._event("added", number) for number in ids if number in self.items)

    async def _replay(self, ctx: Context, after: int, upto: int) -> list[Event] | None:
        self.reads += 1
        if after < self.dropped:
            return None
        found = [kept for kept in self.kept if after < kept[0] <= upto][:100]
        return [
            Event(
                THINGS,
                msg,
                number,
                fields,
                audience=self._audience(number),
                seq=seq,
            )
            for seq, msg, number, fields in found
        ]

    def _audience(self, number: int) -> Audience | None:
        if number not in self.owners:
            return None
        return Audience(self.owners[number])

    def _event(self, msg: Message, number: int, **more: Any) -> Event:
        fields = None if msg == "removed" else msgspec.json.encode(self.items[number])
        return Event(
            THINGS, msg, number, fields, audience=self._audience(number), **more
        )

    def drop(self, upto: int) -> None:
        """Keep the events up to a number no longer."""
        self.dropped = upto
        self.kept = [kept for kept in self.kept if kept[0] > upto]

    def move(self, number: int, state: str, **more: Any) -> None:
        """Add or change an item; its event is numbered."""
        msg: Message = "changed" if number in self.items else "added"
        before = self.items.get(number)
        self.items[number] = Thing(number, state, **more)
        self._loose.discard(number)
        self.seq += 1
        previous = None if before is None else lambda: msgspec.json.encode(before)
        event = self._event(msg, number, seq=self.seq, previous=previous)
        self.kept.append((self.seq, msg, number, event.fields))
        if self.bus.has_subscribers(THINGS):
            self.bus.publish(event)

    def progress(self, number: int, percent: int) -> None:
        """Change an item without a number."""
        self.items[number].percent = percent
        self._loose.add(number)
        self.bus.publish(self._event("changed", number, importance=Importance.NEWEST))

    def remove(self, number: int, *, numbered: bool = True) -> None:
        """Remove an item; its earlier events lose it."""
        del self.items[number]
        self.kept = [
            (seq, msg, found, None if found == number else fields)
            for seq, msg, found, fields in self.kept
        ]
        if numbered:
            self.seq += 1
            self.kept.append((self.seq, "removed", number, None))
        seq = self.seq if numbered else None
        self.bus.publish(self._event("removed", number, seq=seq))


async def follow(client: WireClient, **options: Any) -> Any:
    """Subscribe with options and give the answer; events before it are kept."""
    return await client.call("core.subscribe", THINGS, options)


async def following(client: WireClient) -> list[dict[str, Any]]:
    """Give the params of all events that came so far."""
    await client.call("core.ping")
    found = [event["params"] for event in client.events]
    client.events.clear()
    return found
