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

test("a snapshot comes first, cut and filtered, and live events follow", async (t) => {
  const client = await loggedIn(t);
  await client.job("demo.noop", ["shown"]);
  const events = [];
  await client.subscribe("core.get_jobs", (event) => events.push(event), {
    snapshot: true,
    filters: [["method", "=", "demo.noop"]],
    select: ["id", "state"],
  });
  assert.ok(events.length > 0);
  for (const { msg, snapshot, fields, seq, tag } of events) {
    assert.deepEqual([msg, snapshot, seq, tag], ["added", true, undefined, undefined]);
    assert.deepEqual(Object.keys(fields), ["id", "state"]);
  }
  const before = events.length;
  await client.job("demo.sleep", [0]);
  const job = client.job("demo.noop");
  await job;
  await client.call("core.ping");
  assert.deepEqual(
    events.slice(before).map(({ id, fields }) => [id, fields.state]),
    ["WAITING", "RUNNING", "SUCCESS"].map((state) => [job.id, state]),
  );
  assert.equal(typeof events.at(-1).seq, "number");
});

test("what was missed since a position comes first", async (t) => {
  const client = await loggedIn(t);
  const events = [];
  await client.subscribe("core.get_jobs", (event) => events.push(event), {
    removed: true,
  });
  const job = client.job("demo.noop");
  await job;
  await client.call("job.delete", job.id);
  const [{ epoch, seq }] = events.filter(({ id }) => id === job.id);
  const again = [];
  const since = { epoch, seq };
  await client.subscribe("core.get_jobs", (event) => again.push(event), { since });
  const gone = [];
  await client.subscribe("core.get_jobs", (event) => gone.push(event), {
    since,
    removed: true,
  });
  // Others' jobs may run meanwhile: what they are now comes as well.
  const own = (events) => events.filter(({ id }) => id === job.id);
  assert.deepEqual(own(again), []); // its events went with the job
  assert.deepEqual(
    own(gone).map(({ msg, id }) => [msg, id]),
    [["removed", job.id]],
  );
});

test("subscriptions with options do not disturb each other", async (t) => {
  const client = await loggedIn(t);
  const heard = { some: new Set(), all: new Set() };
  const stop = await client.subscribe("core.get_jobs", (e) => heard.some.add(e.id), {
    filters: [["state", "=", "FAILED"]],
  });
  await client.subscribe("core.get_jobs", (e) => heard.all.add(e.id));
  const [good, bad] = [client.job("demo.noop"), client.job("demo.fail", ["no"])];
  await good;
  await assert.rejects(async () => bad);
  await client.call("core.ping");
  assert.deepEqual([...heard.some], [bad.id]);
  assert.deepEqual([...heard.all].sort(), [good.id, bad.id].sort());
  await stop();
  await assert.rejects(async () => client.job("demo.fail", ["no"]));
  assert.deepEqual([...heard.some], [bad.id]);
});

test("options that are refused are an error, and one on the way an end", async (t) => {
  const client = await loggedIn(t);
  const filters = [["id", "?", 1]];
  const subscribed = client.subscribe("core.get_jobs", () => {}, { filters });
  await assert.rejects(subscribed, { code: -32602 });
  const ended = new Promise((onEnd) => {
    const options = { filters: [["state", ">", 1]], onEnd };
    client.subscribe("core.get_jobs", () => {}, options);
  });
  await client.job("demo.noop");
  assert.match((await ended).reason, /not supported/);
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
