import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ADMIN,
  ConnectionLost,
  date,
  loggedIn,
  LoginError,
  makeClient,
  nextEvent,
  RpcError,
} from "./support.mjs";

test("a call is answered with the method's result", async (t) => {
  const client = await loggedIn(t);
  assert.equal(await client.call("core.ping"), "pong");
  assert.equal((await client.call("auth.me")).pw_name, "admin");
});

test("the state follows the connection and the login", async (t) => {
  const client = makeClient(t);
  assert.equal(client.state, "closed");
  await client.connect();
  assert.equal(client.state, "open");
  const seen = nextEvent(client, "authenticated");
  const user = await client.login(ADMIN);
  assert.equal(client.state, "authenticated");
  assert.deepEqual((await seen).user, user);
  await client.logout();
  assert.equal(client.state, "open");
  client.close();
  assert.equal(client.state, "closed");
});

test("a wrong password is a LoginError that says so", async (t) => {
  const client = makeClient(t);
  await client.connect();
  await assert.rejects(client.login({ ...ADMIN, password: "wrong" }), (error) => {
    assert.ok(error instanceof LoginError);
    assert.equal(error.responseType, "AUTH_ERR");
    return true;
  });
  assert.equal(client.state, "open");
});

test("before the login a method is refused with ENOTAUTHENTICATED", async (t) => {
  const client = makeClient(t);
  await client.connect();
  await assert.rejects(client.call("auth.me"), (error) => {
    assert.ok(error instanceof RpcError);
    assert.equal(error.code, -32001);
    assert.equal(error.errno, 207);
    assert.equal(error.errname, "ENOTAUTHENTICATED");
    return true;
  });
});

test("an unknown method is refused with its JSON-RPC code", async (t) => {
  const client = await loggedIn(t);
  await assert.rejects(client.call("no.such_method"), (error) => {
    assert.equal(error.code, -32601);
    assert.equal(error.message, "Method does not exist");
    assert.equal(error.data, null);
    return true;
  });
});

test("params that do not fit are named in extra", async (t) => {
  const client = await loggedIn(t);
  await assert.rejects(client.call("job.get", "x"), (error) => {
    assert.equal(error.code, -32602);
    assert.equal(error.rpcMessage, "Invalid params");
    assert.equal(error.errname, "EINVAL");
    assert.equal(error.extra[0][0], "id");
    assert.equal(error.reason.trim(), error.message);
    return true;
  });
});

test("an API key logs in", async (t) => {
  const admin = await loggedIn(t);
  const { key } = await admin.call("api_key.create", {
    username: "admin",
    name: "test",
  });
  const client = makeClient(t);
  await client.connect();
  await client.login({ username: "admin", apiKey: key });
  assert.equal((await client.call("auth.me")).pw_name, "admin");
});

test("a single-use token logs in once", async (t) => {
  const admin = await loggedIn(t);
  const token = await admin.call("auth.generate_token", 600, {}, true, true);
  const first = makeClient(t);
  await first.connect();
  await first.login({ token });
  const second = makeClient(t);
  await second.connect();
  await assert.rejects(second.login({ token }), LoginError);
});

test("a login brings a token that resumes the session elsewhere", async (t) => {
  const client = makeClient(t);
  await client.connect();
  const minted = nextEvent(client, "token");
  await client.login(ADMIN);
  const { token } = await minted;
  const other = makeClient(t);
  await other.connect();
  await other.login({ token });
  assert.equal((await other.call("auth.me")).pw_name, "admin");
});

test("tokens are renewed while the session lasts", async (t) => {
  const client = makeClient(t, { tokenInterval: 50 });
  await client.connect();
  const tokens = new Set();
  client.addEventListener("token", ({ detail }) => tokens.add(detail.token));
  await client.login(ADMIN);
  while (tokens.size < 3) await nextEvent(client, "token");
});

test("a server that is not there rejects connect", async (t) => {
  const client = makeClient(t, {}, "ws://127.0.0.1:1/api/current");
  await assert.rejects(client.connect(), ConnectionLost);
  assert.equal(client.state, "closed");
});

test("close rejects what is pending, and what comes after", async (t) => {
  const client = await loggedIn(t);
  const pending = client.call("demo.sleep", 3);
  const closed = nextEvent(client, "close");
  client.close();
  await assert.rejects(pending, ConnectionLost);
  assert.deepEqual(await closed, { code: 1000, reason: "", reconnect: false });
  await assert.rejects(client.call("core.ping"), ConnectionLost);
  await client.connect();
  assert.equal(await client.call("core.ping"), "pong");
});

test("close while connecting rejects connect", async (t) => {
  const client = makeClient(t);
  const connecting = client.connect();
  client.close();
  await assert.rejects(connecting, ConnectionLost);
  assert.equal(client.state, "closed");
});

test("date reads the wire's time", () => {
  assert.equal(date({ $date: 1790000000123 }).getTime(), 1790000000123);
  assert.equal(date(null), null);
});

test("without a WebSocket the constructor says what to do", (t) => {
  const { WebSocket } = globalThis;
  t.after(() => (globalThis.WebSocket = WebSocket));
  globalThis.WebSocket = undefined;
  assert.throws(() => makeClient(t, { WebSocket: undefined }), /from "ws"/);
});
