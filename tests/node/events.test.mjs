import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

import { loggedIn, makeClient } from "./support.mjs";

test("a subscription brings the events of every job", async (t) => {
  const watcher = await loggedIn(t);
  const client = await loggedIn(t);
  const events = [];
  await watcher.subscribe("core.get_jobs", (event) => events.push(event));
  const job = client.job("demo.noop");
  await job;
  await watcher.follow(job.id);
  const own = events.filter(({ id }) => id === job.id);
  assert.equal(own[0].msg, "added");
  assert.deepEqual(
    own.map(({ fields }) => fields.state),
    ["WAITING", "RUNNING", "SUCCESS"],
  );
});

test("two subscriptions to one name both hear, and end apart", async (t) => {
  const client = await loggedIn(t);
  const heard = { first: 0, second: 0 };
  const stop = await client.subscribe("core.get_jobs", () => (heard.first += 1));
  await client.subscribe("core.get_jobs", () => (heard.second += 1));
  await client.job("demo.noop");
  assert.equal(heard.first, heard.second);
  assert.ok(heard.first > 0);
  await stop();
  const before = heard.first;
  await client.job("demo.noop");
  assert.equal(heard.first, before);
  assert.ok(heard.second > before);
});

test("after the last unsubscribe the server sends nothing more", async (t) => {
  const watcher = await loggedIn(t);
  const client = await loggedIn(t);
  let heard = 0;
  const stop = await watcher.subscribe("core.get_jobs", () => (heard += 1));
  await client.job("demo.noop");
  await stop();
  const before = heard;
  await client.job("demo.noop");
  await watcher.call("core.ping");
  assert.equal(heard, before);
});

test("a subscription is refused before the login", async (t) => {
  const client = makeClient(t);
  await client.connect();
  await assert.rejects(
    client.subscribe("core.get_jobs", () => {}),
    { errno: 207 },
  );
});

test("a log is followed while the job writes it, and ends with it", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.log", [200]);
  const id = await job.started;
  let text = "";
  let end = 0;
  const error = await new Promise((resolve, reject) => {
    const take = (piece, offset) => {
      text += piece;
      end = offset;
    };
    client.followLog(id, take, { onEnd: resolve }).catch(reject);
  });
  assert.equal(error, null);
  assert.equal(text.trimEnd().split("\n").length, 200);
  assert.equal(end, Buffer.byteLength(text));
  await job;
});

test("a log is followed from an offset on", async (t) => {
  const client = await loggedIn(t);
  const job = client.job("demo.log", [20]);
  await job;
  const whole = (await client.call("job.read_log", job.id)).data;
  let text = "";
  await new Promise((resolve, reject) => {
    const take = (piece) => (text += piece);
    client.followLog(job.id, take, { offset: 100, onEnd: resolve }).catch(reject);
  });
  assert.equal(text, whole.slice(100));
});

test("what a callback throws is seen, and does not disturb the others", async (t) => {
  // In a process of its own: an uncaught exception would end the tests.
  const program = `
    import { loggedIn } from "./support.mjs";
    process.on("uncaughtException", (error) => console.log(error.message));
    const client = await loggedIn({ after() {} });
    await client.subscribe("core.get_jobs", () => { throw new Error("a mistake"); });
    await client.subscribe("core.get_jobs", ({ fields }) => {
      console.log(fields.state);
      if (fields.state === "SUCCESS") client.close();
    });
    await client.job("demo.noop").catch(() => {});
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--eval", program],
    { cwd: import.meta.dirname, timeout: 20_000 },
  );
  const mistakes = Array(3).fill("a mistake");
  assert.deepEqual(stdout.trim().split("\n").sort(), [
    ...["RUNNING", "SUCCESS", "WAITING"],
    ...mistakes,
  ]);
});
