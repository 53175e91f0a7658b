/** The official TypeScript client `@truenas/api-client`, which speaks TLS only. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import { LOGIN, require, restartServer, url } from "./support.mjs";

const entry = require.resolve("@truenas/api-client");
const { createTrueNasClient } = require(entry);
const { filter, firstValueFrom, lastValueFrom, timeout, toArray } =
  createRequire(entry)("rxjs");
const SECONDS = 20_000;

globalThis.WebSocket ??= require("ws").WebSocket;

/** The first value, or an error when there is none in time. */
const first = (values) => firstValueFrom(values.pipe(timeout(SECONDS)));
const becomesTrue = (values) => first(values.pipe(filter(Boolean)));

/** Ask for the versions, connect, and log in. */
async function connect(t) {
  const hostnames = [new URL(url).host];
  const client = await createTrueNasClient({ uuid: "x", hostnames, enabled: true });
  t.after(() => client.close());
  await becomesTrue(client.connection.opened);
  const [{ username, password }] = LOGIN;
  const answer = await first(client.authenticator.loginWithUserPass(username, password));
  assert.equal(answer.response_type, "SUCCESS");
  return client;
}

test("calls, queries and errors", async (t) => {
  const { api, version } = await connect(t);
  assert.equal(version.version, "v26.0.0");
  assert.equal(await first(api.call("core.ping")), "pong");
  const found = await first(api.query("user.query", [["username", "=", "admin"]]));
  assert.equal(found[0].username, "admin");
  assert.equal((await first(api.queryOne("user.query"))).username, "admin");
  assert.equal(await first(api.queryCount("user.query")), 1);
  await assert.rejects(first(api.call("no.such")), /Method does not exist/);
  await assert.rejects(first(api.call("core.job_abort", ["x"])), /EINVAL.*id/);
});

test("jobs are followed by their events", async (t) => {
  const { api } = await connect(t);
  const job = await first(api.callAndGetJobId("demo.sleep", [1, 4]));
  const seen = await lastValueFrom(api.trackJob(job).pipe(toArray(), timeout(SECONDS)));
  assert.equal(seen.at(-1).state, "SUCCESS");
  assert.ok(seen.some((item) => item.state === "RUNNING"));
  const failed = await first(api.callAndGetJobId("demo.fail", ["no luck", 28]));
  const last = await lastValueFrom(api.trackJob(failed).pipe(timeout(SECONDS)));
  assert.equal(last.error, "[ENOSPC] no luck");
});

test("keys and tokens", async (t) => {
  const { api, authenticator } = await connect(t);
  const { key } = await first(authenticator.newApiKey("admin"));
  assert.equal((await first(api.generateToken())).length, 64);
  assert.equal(await first(authenticator.logout()), true);
  const answer = await first(authenticator.loginWithApiKey({ username: "admin", key }));
  assert.equal(answer.response_type, "SUCCESS");
});

test("comes back by itself after a restart, and logs in again", async (t) => {
  const { api, authenticator, connection } = await connect(t);
  const closed = first(connection.closed);
  await restartServer();
  await closed;
  await becomesTrue(authenticator.authenticated$);
  assert.equal((await first(api.call("auth.me"))).pw_name, "admin");
});
