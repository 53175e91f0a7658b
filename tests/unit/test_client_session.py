"""The client against a peer that does what servers do on bad days.

The good days are in tests/acceptance, against the real server.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from websockets.asyncio.server import Server, ServerConnection, unix_serve

from middlewared.client import (
    RESUMED,
    CannotConnect,
    ConnectionLost,
    JobNotFound,
    LoginFailed,
    NotAJob,
    RemoteError,
    connect,
)
from middlewared.client.sync import Client as SyncClient

NOT_AUTHENTICATED = {
    "code": -32001,
    "message": "Method call error",
    "data": {"error": 207, "errname": "ENOTAUTHENTICATED", "reason": "no", "extra": 0},
}


class Hangup(Exception):
    """What a scripted method raises to lose the connection: code None is a crash."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def subscribe(_ws: ServerConnection, _id: str, name: str, *options: Any) -> Any:
    """Answer as the server does, with options and without."""
    ident = f"ident of {name}"
    place = {"epoch": "e", "seq": 5, "recovered": True}
    return {"id": ident, **place} if options else ident


class Peer:
    """A WebSocket server whose methods are functions of the test.

    A function gets the connection, the request's id and its params; what it returns is
    the result. It may raise `Hangup`, or a dict wrapped in `RemoteError` for an error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[tuple[str, Any]] = []
        self.methods: dict[str, Callable[..., Any]] = {
            "core.set_options": lambda _ws, _id, options: options,
            "core.ping": lambda _ws, _id: "pong",
            "core.subscribe": subscribe,
            "core.unsubscribe": lambda _ws, _id, _ident: None,
            "auth.generate_token": lambda _ws, _id, _ttl: "token-1",
        }
        self.server: Server | None = None

    def called(self, method: str) -> list[Any]:
        """List the params of the calls of a method."""
        return [params for name, params in self.calls if name == method]

    async def handle(self, websocket: ServerConnection) -> None:
        """Answer the requests of one connection, in order."""
        async for text in websocket:
            request = msgspec.json.decode(text)
            self.calls.append((request["method"], request["params"]))
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
            try:
                answer["result"] = await self._answer(websocket, request)
            except Hangup as hangup:
                if hangup.code is None:
                    websocket.transport.abort()
                else:
                    await websocket.close(hangup.code)
                return
            except RemoteError as error:
                answer["error"] = error.extra
            await websocket.send(msgspec.json.encode(answer), text=True)

    async def _answer(self, websocket: ServerConnection, request: Any) -> Any:
        function = self.methods[request["method"]]
        result = function(websocket, request["id"], *request["params"])
        return await result if asyncio.iscoroutine(result) else result

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Peer"]:
        """Listen on the socket."""
        async with unix_serve(self.handle, str(self.path)) as self.server:
            yield self


async def event(websocket: ServerConnection, **fields: Any) -> None:
    """Send an event of ``core.get_jobs``."""
    item = {
        "id": 1,
        "message_ids": [],
        "method": "demo.noop",
        "state": "RUNNING",
        "result": None,
        "result_encoding_error": None,
    } | fields
    params = {"msg": "changed", "collection": "core.get_jobs", "fields": item}
    await websocket.send(
        msgspec.json.encode(
            {"jsonrpc": "2.0", "method": "collection_update", "params": params}
        ),
        text=True,
    )


def once(function: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    """Do one thing at the first call and another at all later ones."""
    functions = [function]

    def method(*args: Any) -> Any:
        return (functions.pop() if functions else then)(*args)

    return method


def hang_up(code: int | None) -> Callable[..., Any]:
    """Make a method that loses the connection."""

    def method(*_: Any) -> None:
        raise Hangup(code)

    return method


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    """Give a peer that listens."""
    async with Peer(tmp_path / "peer.sock").running() as running:
        yield running


async def test_connects_and_sets_options(peer: Peer) -> None:
    """The first request asks for job calls that answer at the end."""
    async with connect(peer.path) as client:
        assert await client.call("core.ping") == "pong"
    assert peer.called("core.set_options") == [[{"legacy_jobs": False}]]


async def test_no_server(tmp_path: Path) -> None:
    """Without a server the error names the socket."""
    with pytest.raises(CannotConnect, match=r"gone\.sock: there is no such socket"):
        async with connect(tmp_path / "gone.sock"):
            pass


async def test_no_websocket_server(tmp_path: Path) -> None:
    """What answers in another language is no server."""

    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"220 mail.example ESMTP\r\n")

    listener = await anyio.create_unix_listener(tmp_path / "mail.sock")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, greet)
        with pytest.raises(CannotConnect, match="no WebSocket server there"):
            async with connect(tmp_path / "mail.sock"):
                pass
        group.cancel_scope.cancel()


async def test_errors_of_the_body_come_out_plain(peer: Peer) -> None:
    """An exception in the block is not wrapped in a group."""
    with pytest.raises(ZeroDivisionError):
        async with connect(peer.path):
            raise ZeroDivisionError


async def test_position_and_name(peer: Peer) -> None:
    """Params by position and by name cannot be mixed."""
    async with connect(peer.path) as client:
        with pytest.raises(TypeError, match="by position or by name"):
            await client.call("core.ping", 1, two=2)


async def test_unencodable_param(peer: Peer) -> None:
    """A param that JSON cannot say fails here, and the connection stays."""
    async with connect(peer.path) as client:
        with pytest.raises(TypeError):
            await client.call("core.ping", object())
        with pytest.raises(TypeError):
            await client.job("core.ping", object())
        assert await client.call("core.ping") == "pong"


@pytest.mark.parametrize("code", [None, 1001, 1012, 4000])
async def test_lost(peer: Peer, code: int | None) -> None:
    """Calls in flight and later ones learn that the connection was lost, and how."""
    peer.methods["demo.hang"] = hang_up(code)
    async with connect(peer.path) as client:
        for _ in range(2):
            with pytest.raises(ConnectionLost) as caught:
                await client.call("demo.hang")
            assert caught.value.code == code
        with pytest.raises(ConnectionLost):
            await client.job("demo.noop")


async def test_garbage(peer: Peer) -> None:
    """A server that sends no JSON-RPC is left, with that reason."""

    async def garble(websocket: ServerConnection, _id: str) -> None:
        await websocket.send("}{")

    peer.methods["demo.garble"] = garble
    async with connect(peer.path) as client:
        with pytest.raises(ConnectionLost, match="no JSON-RPC message"):
            await client.call("demo.garble")


async def test_strange_answers(peer: Peer) -> None:
    """Answers to nothing and with no id disturb nobody."""

    async def chatter(websocket: ServerConnection, _id: str) -> str:
        for text in (
            '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}',
            '{"jsonrpc":"2.0","id":"unknown","result":1}',
            '{"jsonrpc":"2.0","id":5,"result":1}',
        ):
            await websocket.send(text)
        return "done"

    peer.methods["demo.chatter"] = chatter
    async with connect(peer.path) as client:
        assert await client.call("demo.chatter") == "done"


async def test_cancelled_call(peer: Peer) -> None:
    """After a call was cancelled its late answer is dropped."""
    release = anyio.Event()

    async def slow(_ws: ServerConnection, _id: str) -> str:
        await release.wait()
        return "late"

    peer.methods["demo.slow"] = slow
    async with connect(peer.path) as client:
        with anyio.move_on_after(0.01) as scope:
            await client.call("demo.slow")
        assert scope.cancelled_caught
        release.set()
        assert await client.call("core.ping") == "pong"


async def test_job_that_is_none(peer: Peer) -> None:
    """A plain method called as a job says so, and keeps its answer."""
    async with connect(peer.path) as client:
        with pytest.raises(NotAJob, match=r"core\.ping is not a job") as caught:
            await client.job("core.ping")
        assert caught.value.result == "pong"


async def test_job_before_login(peer: Peer) -> None:
    """Jobs need a login for their events; the error of the server says so."""

    def refuse(*_: Any) -> None:
        raise RemoteError("no", extra=NOT_AUTHENTICATED)

    peer.methods["core.subscribe"] = once(refuse, lambda *_: "ident")
    async with connect(peer.path) as client:
        with pytest.raises(RemoteError) as caught:
            await client.job("demo.noop")
        assert caught.value.errno == 207
        # After the login it is asked for again.
        with pytest.raises(NotAJob):
            await client.job("core.ping")


async def test_unknown_job(peer: Peer) -> None:
    """A job that is not there is reported by id."""
    peer.methods["core.get_jobs"] = lambda *_: []
    async with connect(peer.path) as client:
        with pytest.raises(JobNotFound, match="there is no job 5"):
            await client.attach(5)


async def test_refused_login(peer: Peer) -> None:
    """An answer other than SUCCESS raises LoginFailed with its type."""
    peer.methods["auth.login_ex"] = lambda *_: {"response_type": "EXPIRED"}
    peer.methods["auth.login_with_api_key"] = lambda *_: False
    async with connect(peer.path) as client:
        with pytest.raises(LoginFailed, match="expired") as caught:
            await client.login("admin", "secret")
        assert caught.value.response_type == "EXPIRED"
        with pytest.raises(LoginFailed, match="does not accept"):
            await client.login_api_key("key")


async def test_reconnect(peer: Peer) -> None:
    """After a loss the client logs in by token, subscribes again, and calls go on."""
    peer.methods["auth.login_ex"] = lambda *_: {
        "response_type": "SUCCESS",
        "user_info": {"pw_name": "admin"},
    }
    peer.methods["demo.hang"] = hang_up(None)
    async with connect(peer.path, reconnect=True) as client:
        assert await client.login("admin", "secret") == {"pw_name": "admin"}
        async with client.subscribe("a") as notifications:
            with pytest.raises(ConnectionLost):
                await client.call("demo.hang")
            assert await client.call("core.ping") == "pong"
            resumed = {"msg": RESUMED, "collection": "a", "recovered": True}
            assert await anext(notifications) == resumed
        assert client.reconnects == 1
    mechanisms = [params[0]["mechanism"] for params in peer.called("auth.login_ex")]
    assert mechanisms == ["PASSWORD_PLAIN", "TOKEN_PLAIN"]
    assert peer.called("core.subscribe") == [
        ["a", {"since": None, "tag": "1"}],
        ["a", {"since": {"epoch": "e", "seq": 5}, "tag": "1"}],
    ]


async def test_reconnect_when_the_token_is_gone(peer: Peer) -> None:
    """A server that forgot its tokens gets the credentials."""

    def login(_ws: ServerConnection, _id: str, credentials: dict[str, Any]) -> Any:
        known = credentials["mechanism"] != "TOKEN_PLAIN"
        return {"response_type": "SUCCESS" if known else "AUTH_ERR"}

    peer.methods["auth.login_ex"] = login
    peer.methods["demo.hang"] = hang_up(1012)
    async with connect(peer.path, reconnect=True) as client:
        await client.login("admin", "secret")
        with pytest.raises(ConnectionLost):
            await client.call("demo.hang")
        assert await client.call("core.ping") == "pong"
    mechanisms = [params[0]["mechanism"] for params in peer.called("auth.login_ex")]
    assert mechanisms == ["PASSWORD_PLAIN", "TOKEN_PLAIN", "PASSWORD_PLAIN"]


async def test_reconnect_without_access(peer: Peer) -> None:
    """When the account is gone after a reconnect, the session ends and says why."""
    peer.methods["auth.login_ex"] = once(
        lambda *_: {"response_type": "SUCCESS"},
        lambda *_: {"response_type": "AUTH_ERR"},
    )
    peer.methods["demo.hang"] = hang_up(None)
    async with connect(peer.path, reconnect=True) as client:
        await client.login("admin", "secret")
        with pytest.raises(ConnectionLost):
            await client.call("demo.hang")
        with pytest.raises(LoginFailed):
            await client.call("core.ping")


async def test_no_reconnect_after_1008(peer: Peer) -> None:
    """A server that closes with 1008 is not asked again."""
    peer.methods["demo.hang"] = hang_up(1008)
    async with connect(peer.path, reconnect=True) as client:
        with pytest.raises(ConnectionLost):
            await client.call("demo.hang")
        with pytest.raises(ConnectionLost, match="refused by the server"):
            await client.call("core.ping")
        assert client.reconnects == 0


async def test_reconnect_gives_up(tmp_path: Path) -> None:
    """With `give_up_after` a server that stays away ends the session."""
    peer = Peer(tmp_path / "peer.sock")
    peer.methods["demo.hang"] = hang_up(None)
    async with (
        peer.running(),
        connect(peer.path, reconnect=True, give_up_after=0.3) as client,
    ):
        assert peer.server is not None
        peer.server.close(close_connections=False)
        with pytest.raises(ConnectionLost):
            await client.call("demo.hang")
        with pytest.raises(ConnectionLost, match=r"no connection again in 0\.3 s"):
            await client.call("core.ping")


async def test_job_ends_while_the_connection_is_lost(peer: Peer) -> None:
    """A job that ended during the outage gives its result after the reconnect."""

    async def start(websocket: ServerConnection, message_id: str) -> None:
        await event(websocket, message_ids=[message_id], state="RUNNING")
        raise Hangup(None)

    peer.methods["demo.job"] = start
    peer.methods["core.get_jobs"] = lambda *_: [
        {
            "id": 1,
            "message_ids": [],
            "method": "demo.job",
            "state": "SUCCESS",
            "result": "done",
            "result_encoding_error": None,
        }
    ]
    async with connect(peer.path, reconnect=True) as client:
        job = client.job("demo.job")
        assert [item["state"] async for item in job] == ["RUNNING", "SUCCESS"]
        assert await job == "done"
    assert peer.called("core.get_jobs") == [[[["id", "in", [1]]]]]


async def test_job_that_may_not_have_started(peer: Peer) -> None:
    """A request lost on its way is looked for, and not sent again."""
    peer.methods["demo.job"] = hang_up(None)
    peer.methods["core.get_jobs"] = lambda *_: []
    async with connect(peer.path, reconnect=True) as client:
        job = client.job("demo.job")
        with pytest.raises(ConnectionLost, match="before the server accepted"):
            await job
        assert peer.called("core.get_jobs") == [
            [[["message_ids", "rin", job.message_id]]]
        ]
        assert len(peer.called("demo.job")) == 1


async def test_closing_ends_everything(peer: Peer) -> None:
    """Who still waits when the client is closed is told."""

    async def never(websocket: ServerConnection, message_id: str) -> None:
        await event(websocket, message_ids=[message_id])

    peer.methods["demo.job"] = never
    peer.methods["demo.slow"] = lambda *_: anyio.sleep_forever()
    async with connect(peer.path) as client:
        job = client.job("demo.job")
        await job.wait_accepted()
    with pytest.raises(ConnectionLost):
        await job
    with pytest.raises(ConnectionLost):
        await client.call("core.ping")


async def test_sync(peer: Peer) -> None:
    """The blocking client calls, runs jobs, iterates and raises like the other."""

    async def start(websocket: ServerConnection, message_id: str, value: Any) -> Any:
        await event(websocket, message_ids=[message_id], state="WAITING")
        await event(websocket, state="RUNNING")
        await event(websocket, state="SUCCESS", result=value)
        return value

    async def notify(
        websocket: ServerConnection, _id: str, name: str, options: Any
    ) -> Any:
        tag = options["tag"]
        for number in range(2):
            params = {"msg": "added", "collection": name, "id": number, "tag": tag}
            await websocket.send(
                msgspec.json.encode({"method": "collection_update", "params": params}),
                text=True,
            )
        params = {"collection": name, "error": None, "tag": tag}
        await websocket.send(
            msgspec.json.encode({"method": "notify_unsubscribed", "params": params}),
            text=True,
        )
        return subscribe(websocket, _id, name, options)

    peer.methods["demo.job"] = start
    states: list[str] = []

    def use() -> None:
        with SyncClient(peer.path) as client:
            assert client.call("core.ping") == "pong"
            result = client.job(
                "demo.job", 5, callback=lambda item: states.append(item["state"])
            )
            assert result == 5
            with pytest.raises(NotAJob):
                client.job("core.ping")
            peer.methods["core.subscribe"] = notify
            with client.subscribe("a") as notifications:
                assert [one["id"] for one in notifications] == [0, 1]

    await anyio.to_thread.run_sync(use)
    assert states[-1] == "SUCCESS"


async def test_sync_without_a_server(tmp_path: Path) -> None:
    """The blocking client raises plain errors, and leaves no thread behind."""

    def use() -> None:
        with pytest.raises(CannotConnect), SyncClient(tmp_path / "gone.sock"):
            pass

    await anyio.to_thread.run_sync(use)
