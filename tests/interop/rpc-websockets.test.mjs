/** The npm package rpc-websockets. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { deferred, LOGIN, NEW_STYLE, require, restartServer, url } from "./support.mjs";

const { Client } = require("rpc-websockets");

/** Connect; with `reconnect` it comes back by itself. */
async function connect(t, options = {}) {
  const client = new Client(url, { reconnect_interval: 50, ...options });
  t.after(() => {
    client.setAutoReconnect(false);
    client.close();
  });
  await once(client, "open");
  return client;
}

async function loggedIn(t, options) {
  const client = await connect(t, options);
  const answer = await client.call("auth.login_ex", LOGIN);
  assert.equal(answer.response_type, "SUCCESS");
  await client.call("core.set_options", NEW_STYLE);
  return client;
}

test("calls by position and by name", async (t) => {
  const client = await loggedIn(t);
  assert.equal(await client.call("core.ping"), "pong");
  assert.deepEqual(await client.call("demo.noop", [[1, "two"]]), [1, "two"]);
  assert.deepEqual(await client.call("demo.noop", { value: { a: null } }), { a: null });
});

test("errors reject with the error object", async (t) => {
  const client = await connect(t);
  await assert.rejects(client.call("no.such.method"), (error) => {
    assert.deepEqual(error, { code: -32601, message: "Method does not exist" });
    return true;
  });
  await assert.rejects(client.call("core.get_jobs"), (error) => {
    assert.equal(error.code, -32001);
    assert.equal(error.data.errname, "ENOTAUTHENTICATED");
    return true;
  });
  await assert.rejects(client.call("auth.login", [5, "secret"]), (error) => {
    assert.equal(error.code, -32602);
    assert.equal(error.data.extra[0][0], "username");
    return true;
  });
});

test("a notification of the client is taken, and not answered", async (t) => {
  const client = await loggedIn(t);
  await client.notify("demo.noop", ["nobody asks"]);
  assert.equal(await client.call("core.ping"), "pong");
});

test("notifications of the server are events of the client", async (t) => {
  const client = await loggedIn(t);
  const states = [];
  const ended = deferred();
  client.on("collection_update", ({ msg, fields }) => {
    if (fields.arguments[0] !== "seen") return;
    states.push(`${msg} ${fields.state}`);
    if (fields.time_finished !== null) ended.resolve();
  });
  await client.call("core.subscribe", ["core.get_jobs"]);
  assert.equal(await client.call("demo.noop", ["seen"]), "seen");
  await ended.promise;
  assert.equal(states[0], "added WAITING");
  assert.equal(states.at(-1), "changed SUCCESS");
});

test("a restart closes with 1012, and it comes back", async (t) => {
  const client = await loggedIn(t, { max_reconnects: 0 });
  const closed = once(client, "close");
  const opened = new Promise((resolve) => client.once("open", resolve));
  await restartServer();
  const [code] = await closed;
  assert.equal(code, 1012);
  await opened;
  await client.call("auth.login_ex", LOGIN);
  const jobs = await client.call("core.get_jobs", [[["method", "=", "demo.noop"]]]);
  assert.ok(jobs.length > 0, "the jobs of before are there");
});
