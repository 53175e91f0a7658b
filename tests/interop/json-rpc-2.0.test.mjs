/** The npm package json-rpc-2.0, which sends real batches, over WebSocket and HTTP. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import {
  BASIC,
  deferred,
  httpUrl,
  LOGIN,
  NEW_STYLE,
  require,
  restartServer,
  url,
} from "./support.mjs";

const {
  createJSONRPCRequest,
  JSONRPCClient,
  JSONRPCErrorException,
  JSONRPCServer,
  JSONRPCServerAndClient,
} = require("json-rpc-2.0");
const { WebSocket } = require("ws");

/** Connect, and log in. */
async function connect(t) {
  const socket = new WebSocket(url);
  await once(socket, "open");
  t.after(() => socket.close());
  const rpc = new JSONRPCServerAndClient(
    new JSONRPCServer(),
    new JSONRPCClient(async (message) => socket.send(JSON.stringify(message))),
  );
  socket.on("message", (data) => rpc.receiveAndSend(JSON.parse(data)));
  socket.on("close", (code) => rpc.rejectAllPendingRequests(`closed with ${code}`));
  const answer = await rpc.request("auth.login_ex", LOGIN);
  assert.equal(answer.response_type, "SUCCESS");
  await rpc.request("core.set_options", NEW_STYLE);
  return { rpc, socket };
}

/** Make a client whose messages are POST requests. */
function overHttp(target, tell = () => {}) {
  const client = new JSONRPCClient(async (message) => {
    const answer = await fetch(target, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: BASIC },
      body: JSON.stringify(message),
    });
    tell(answer.status);
    if (answer.status === 200) client.receive(await answer.json());
    else if (answer.status !== 204) throw new Error(await answer.text());
  });
  return client;
}

const BATCH = [
  createJSONRPCRequest(1, "core.ping", []),
  createJSONRPCRequest("two", "demo.noop", { value: "named" }),
  createJSONRPCRequest(3, "no.such.method", []),
];

/** Check the answers to `BATCH`, in any order. */
function checkBatch(answers, job) {
  const byId = new Map(answers.map((answer) => [answer.id, answer]));
  assert.equal(answers.length, 3);
  assert.equal(byId.get(1).result, "pong");
  assert.ok(job(byId.get("two").result));
  assert.equal(byId.get(3).error.code, -32601);
}

test("calls by position and by name", async (t) => {
  const { rpc } = await connect(t);
  assert.equal(await rpc.request("core.ping", []), "pong");
  assert.equal(await rpc.request("demo.noop", ["by position"]), "by position");
  assert.equal(await rpc.request("demo.noop", { value: "by name" }), "by name");
});

test("a batch is answered by a batch", async (t) => {
  const { rpc } = await connect(t);
  checkBatch(await rpc.requestAdvanced(BATCH), (result) => result === "named");
});

test("errors are JSONRPCErrorExceptions with code and data", async (t) => {
  const { rpc } = await connect(t);
  await assert.rejects(rpc.request("demo.fail", ["no luck", 28]), (error) => {
    assert.ok(error instanceof JSONRPCErrorException);
    assert.equal(error.code, -32001);
    assert.equal(error.data.errname, "ENOSPC");
    return true;
  });
});

test("notifications go both ways", async (t) => {
  const { rpc } = await connect(t);
  const seen = deferred();
  rpc.addMethod("collection_update", ({ fields }) => {
    if (fields.arguments[0] === "seen") seen.resolve();
  });
  await rpc.request("core.subscribe", ["core.get_jobs"]);
  rpc.notify("demo.noop", ["seen"]);
  await seen.promise;
});

test("a restart closes with 1012, and a new connection works", async (t) => {
  const { socket } = await connect(t);
  const closed = once(socket, "close");
  await restartServer();
  const [code] = await closed;
  assert.equal(code, 1012);
  const again = await connect(t);
  assert.equal(await again.rpc.request("core.ping", []), "pong");
});

test("over HTTP it is the same, but for jobs", async () => {
  const silent = deferred();
  const client = overHttp(httpUrl, (status) => status === 204 && silent.resolve());
  assert.equal(await client.request("core.ping", []), "pong");
  checkBatch(await client.requestAdvanced(BATCH), Number.isInteger);
  client.notify("demo.noop", ["nobody asks"]);
  await silent.promise;
  await assert.rejects(client.request("demo.nothing", []), JSONRPCErrorException);
});

test("over HTTP a job is waited for on request", async () => {
  const client = overHttp(`${httpUrl}?wait=1`);
  assert.equal(await client.request("demo.noop", ["waited for"]), "waited for");
  checkBatch(await client.requestAdvanced(BATCH), (result) => result === "named");
});
