import assert from "node:assert/strict";
import { test } from "node:test";

import { JobNotFound, loggedIn, makeClient, reached, RpcError } from "./support.mjs";

test("awaiting a job gives its result", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.noop", [{ answer: 42 }]);
  assert.deepEqual(await job, { answer: 42 });
  assert.equal(await job.started, job.id);
});

test("params may be named", async (t) => {
  const client = await loggedIn(t);
  assert.equal(await client.job("demo.noop", { value: "named" }), "named");
});

test("a job tells its states and its progress", async (t) => {
  const client = await loggedIn(t);
  const states = [];
  const percents = [];
  const job = client.job("demo.sleep", [0.4, 4], {
    onState: (state) => states.push(state),
    onProgress: ({ percent }) => percents.push(percent),
  });
  await job;
  await reached(client, job.id, "SUCCESS");
  assert.deepEqual(states.slice(0, 2), ["WAITING", "RUNNING"]);
  assert.equal(percents.at(-1), 100);
  assert.ok(percents.length > 2, `only ${percents}`);
  assert.deepEqual(
    percents,
    [...percents].sort((a, b) => a - b),
  );
});

test("iterating over a job gives its items up to the final one", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.sleep", [0.2, 2]);
  const states = [];
  for await (const item of job) {
    assert.equal(item.method, "demo.sleep");
    if (states.at(-1) !== item.state) states.push(item.state);
  }
  assert.deepEqual(states, ["WAITING", "RUNNING", "SUCCESS"]);
  assert.equal(job.state, "SUCCESS");
});

test("an iteration that begins after the end gives the final item", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.noop", [1]);
  for await (const _ of job);
  const items = [];
  for await (const item of job) items.push(item);
  assert.deepEqual(
    items.map(({ state }) => state),
    ["SUCCESS"],
  );
});

test("two jobs at once keep their results apart", async (t) => {
  const client = await loggedIn(t);
  const jobs = Array.from({ length: 50 }, (_, n) => client.job("demo.noop", [n]));
  assert.deepEqual(await Promise.all(jobs), [...jobs.keys()]);
  assert.equal(new Set(jobs.map(({ id }) => id)).size, 50);
});

test("a job that fails rejects with the error it raised", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.fail", ["out of paper", 28]);
  await assert.rejects(
    async () => job,
    (error) => {
      assert.ok(error instanceof RpcError);
      assert.equal(error.errname, "ENOSPC");
      assert.equal(error.errno, 28);
      assert.equal(error.message, "[ENOSPC] out of paper");
      assert.match(error.trace.formatted, /Traceback/);
      return true;
    },
  );
});

test("a call that is refused rejects result, id and iteration", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.sleep", ["not a number"]);
  await assert.rejects(async () => job, { code: -32602 });
  await assert.rejects(job.started, { code: -32602 });
  await assert.rejects(async () => {
    for await (const _ of job);
  });
  assert.equal(job.id, null);
});

test("a method that is no job gives its result, but has no id", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("core.ping");
  assert.equal(await job, "pong");
  await assert.rejects(job.started, TypeError);
});

test("an aborted job rejects with ECANCELED", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.sleep", [60]);
  await reached(client, await job.started, "RUNNING");
  await job.abort();
  await assert.rejects(async () => job, { errno: 125, errname: "ECANCELED" });
  assert.equal((await reached(client, job.id, "ABORTED")).state, "ABORTED");
});

test("an AbortSignal aborts the job on the server", async (t) => {
  const client = await loggedIn(t);
  const controller = new AbortController();
  const job = client.job("demo.sleep", [60], { signal: controller.signal });
  await job.started;
  controller.abort();
  await assert.rejects(async () => job, { errname: "ECANCELED" });
});

test("a job of another connection can be followed and aborted", async (t) => {
  const starter = await loggedIn(t);
  const job = starter.job("demo.sleep", [60]);
  const watcher = await loggedIn(t);
  const followed = watcher.follow(await job.started);
  await followed.abort();
  await assert.rejects(async () => followed, { errname: "ECANCELED" });
  await assert.rejects(async () => job, { errname: "ECANCELED" });
});

test("following a job that has ended gives its result or its error", async (t) => {
  const client = await loggedIn(t);
  const good = client.job("demo.noop", ["kept"]);
  await good;
  assert.equal(await client.follow(good.id), "kept");
  const bad = client.job("demo.fail", ["boom", 13]);
  await assert.rejects(async () => bad);
  await assert.rejects(async () => client.follow(bad.id), {
    message: "[EACCES] boom",
    errname: "EACCES",
    errno: 13,
  });
});

test("following a job that never was is a JobNotFound", async (t) => {
  const client = await loggedIn(t);
  await assert.rejects(async () => client.follow(987654321), JobNotFound);
});

test("a job is refused before the login", async (t) => {
  const client = makeClient(t);
  await client.connect();
  await assert.rejects(async () => client.job("demo.noop"), { errno: 207 });
});
