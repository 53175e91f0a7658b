/** The npm package vscode-jsonrpc, which speaks for language servers. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { deferred, LOGIN, NEW_STYLE, require, restartServer, url } from "./support.mjs";

const {
  AbstractMessageReader,
  AbstractMessageWriter,
  CancellationTokenSource,
  createMessageConnection,
  ErrorCodes,
  ParameterStructures,
  ResponseError,
} = require("vscode-jsonrpc/node");
const { WebSocket } = require("ws");

class Reader extends AbstractMessageReader {
  constructor(socket) {
    super();
    this.socket = socket;
  }
  listen(callback) {
    this.socket.on("message", (data) => callback(JSON.parse(data)));
    this.socket.on("close", () => this.fireClose());
    return { dispose() {} };
  }
}

class Writer extends AbstractMessageWriter {
  constructor(socket) {
    super();
    this.socket = socket;
  }
  async write(message) {
    this.socket.send(JSON.stringify(message));
  }
  end() {}
}

/** Connect, and log in. */
async function connect(t) {
  const socket = new WebSocket(url);
  await once(socket, "open");
  const connection = createMessageConnection(new Reader(socket), new Writer(socket));
  connection.listen();
  t.after(() => {
    connection.dispose();
    socket.close();
  });
  const { byPosition } = ParameterStructures; // a lone object would be the params
  const answer = await connection.sendRequest("auth.login_ex", byPosition, ...LOGIN);
  assert.equal(answer.response_type, "SUCCESS");
  await connection.sendRequest("core.set_options", byPosition, ...NEW_STYLE);
  return { connection, socket };
}

/** Start a job, and cancel when its event says that it runs. */
async function cancelRunning(connection, method, ...params) {
  const source = new CancellationTokenSource();
  const running = deferred();
  const events = [];
  connection.onNotification("collection_update", ({ fields }) => {
    if (fields.method !== method) return;
    events.push(fields);
    if (fields.state === "RUNNING") running.resolve();
  });
  await connection.sendRequest("core.subscribe", "core.get_jobs");
  const answer = connection.sendRequest(method, ...params, source.token);
  await running.promise;
  source.cancel();
  return { answer, events };
}

test("calls by position and by name", async (t) => {
  const { connection } = await connect(t);
  assert.equal(await connection.sendRequest("core.ping"), "pong");
  assert.equal(await connection.sendRequest("demo.noop", "by position"), "by position");
  const named = await connection.sendRequest("demo.noop", ParameterStructures.byName, {
    value: "by name",
  });
  assert.equal(named, "by name");
});

test("errors are ResponseErrors with code and data", async (t) => {
  const { connection } = await connect(t);
  await assert.rejects(connection.sendRequest("no.such.method"), (error) => {
    assert.ok(error instanceof ResponseError);
    assert.equal(error.code, ErrorCodes.MethodNotFound);
    return true;
  });
  await assert.rejects(connection.sendRequest("demo.fail", "no luck", 28), (error) => {
    assert.ok(error instanceof ResponseError);
    assert.equal(error.code, -32001);
    assert.equal(error.data.reason, "[ENOSPC] no luck");
    return true;
  });
});

test("notifications go both ways", async (t) => {
  const { connection } = await connect(t);
  const seen = deferred();
  connection.onNotification("collection_update", ({ fields }) => {
    if (fields.arguments[0] === "seen") seen.resolve();
  });
  await connection.sendRequest("core.subscribe", "core.get_jobs");
  await connection.sendNotification("demo.noop", "seen");
  await seen.promise;
});

test("$/cancelRequest aborts the job that a call waits for", async (t) => {
  const { connection } = await connect(t);
  const { answer, events } = await cancelRunning(connection, "demo.sleep", 60);
  await assert.rejects(answer, (error) => {
    assert.ok(error instanceof ResponseError);
    assert.equal(error.data.errname, "ECANCELED");
    return true;
  });
  assert.equal(events.at(-1).state, "ABORTED");
});

test("$/cancelRequest ends the waiting of core.job_wait alone", async (t) => {
  const { connection } = await connect(t);
  await connection.sendRequest("core.set_options", { options: { legacy_jobs: true } });
  const job = await connection.sendRequest("demo.sleep", 60);
  await connection.sendRequest("core.set_options", { options: { legacy_jobs: false } });
  const { answer } = await cancelRunning(connection, "core.job_wait", job);
  await assert.rejects(answer, ResponseError);
  const { state } = await connection.sendRequest("job.get", job);
  assert.equal(state, "RUNNING");
  await connection.sendRequest("core.job_abort", job);
});

test("a request that was answered cannot be cancelled, and harms nobody", async (t) => {
  const { connection } = await connect(t);
  const source = new CancellationTokenSource();
  assert.equal(await connection.sendRequest("core.ping", source.token), "pong");
  source.cancel();
  assert.equal(await connection.sendRequest("core.ping"), "pong");
});

test("a restart closes with 1012, and a new connection works", async (t) => {
  const { connection, socket } = await connect(t);
  const closed = once(socket, "close");
  const told = deferred();
  connection.onClose(told.resolve);
  await restartServer();
  const [code] = await closed;
  assert.equal(code, 1012);
  await told.promise;
  const again = await connect(t);
  assert.equal(await again.connection.sendRequest("core.ping"), "pong");
});
