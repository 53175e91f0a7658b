import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ADMIN,
  ConnectionLost,
  JobNotFound,
  loggedIn,
  makeClient,
  Network,
  nextEvent,
  reached,
  restartServer,
} from "./support.mjs";

test("a lost connection rejects calls, and comes back logged in", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const pending = client.call("demo.sleep", 3);
  const closed = nextEvent(client, "close");
  network.cut();
  await assert.rejects(pending, ConnectionLost);
  assert.equal((await closed).reconnect, true);
  assert.equal(client.state, "reconnecting");
  await assert.rejects(client.call("core.ping"), ConnectionLost);
  await client.ready();
  assert.equal(client.state, "authenticated");
  assert.equal((await client.call("auth.me")).pw_name, "admin");
});

test("without kept credentials the token brings the session back", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, { keepCredentials: false }, network.url);
  const back = nextEvent(client, "authenticated");
  network.cut();
  assert.equal((await back).user.pw_name, "admin");
});

test("a session that cannot be resumed is reported, the client stays open", async (t) => {
  const network = await Network.open(t);
  const options = { keepCredentials: false, tokenTtl: 1 };
  const client = await loggedIn(t, options, network.url);
  const job = client.job("demo.sleep", [30]);
  await job.started;
  await network.down();
  await new Promise((resolve) => setTimeout(resolve, 1500)); // the token's life
  const reported = nextEvent(client, "unauthenticated");
  await network.up();
  assert.equal((await reported).error.responseType, "EXPIRED");
  assert.equal(client.state, "open");
  await assert.rejects(async () => job, { name: "LoginError" });
  await client.login(ADMIN);
  await client.call("core.job_abort", job.id);
});

test("subscriptions are made again", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const direct = await loggedIn(t);
  const seen = new Set();
  await client.subscribe("core.get_jobs", ({ id }) => seen.add(id));
  const back = nextEvent(client, "authenticated");
  network.cut();
  await back;
  const job = direct.job("demo.noop");
  await job;
  await client.follow(job.id);
  assert.ok(seen.has(job.id));
});

test("what happened during an outage comes after it, once and in order", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const direct = await loggedIn(t);
  const [seen, live] = [[], []];
  const keep = (list) => ({ id, seq, fields }) => list.push([seq, id, fields.state]);
  await direct.subscribe("core.get_jobs", keep(live));
  const news = [];
  await client.subscribe("core.get_jobs", keep(seen), {
    onResume: (resumed) => news.push([resumed, seen.length]),
  });
  await direct.job("demo.noop", ["before"]);
  await network.down();
  const missed = direct.job("demo.noop", ["missed"]);
  await missed;
  const back = nextEvent(client, "authenticated");
  await network.up();
  await back;
  const after = direct.job("demo.noop", ["after"]);
  await after;
  await client.follow(after.id);
  await client.call("core.ping");
  assert.deepEqual(seen, live);
  assert.equal(news.length, 1);
  assert.deepEqual(news[0][0], { recovered: true });
  assert.ok(news[0][1] >= 6);
});

test("a position of another past is told, and a snapshot stands in", async (t) => {
  const client = await loggedIn(t);
  await client.job("demo.noop");
  const events = [];
  const since = { epoch: "another", seq: 1 };
  await client.subscribe("core.get_jobs", (event) => events.push(event), {
    since,
    snapshot: true,
  });
  assert.ok(events.length > 0);
  assert.ok(events.every(({ snapshot }) => snapshot));
});

test("a job that runs on through an outage resolves by its event", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const job = client.job("demo.sleep", [1.5, 15]);
  const back = nextEvent(client, "authenticated");
  await job.started;
  network.cut();
  await back;
  assert.equal(job.state, "RUNNING");
  const states = [];
  for await (const { state } of job) states.push(state);
  assert.equal(states.at(-1), "SUCCESS");
  await job;
});

test("a job that ended during an outage resolves after it", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const direct = await loggedIn(t);
  const good = client.job("demo.sleep", [0.5, 2]);
  const bad = client.job("demo.sleep", [60]);
  await Promise.all([good.started, bad.started]);
  await network.down();
  await reached(direct, good.id, "SUCCESS");
  await direct.call("core.job_abort", bad.id);
  await reached(direct, bad.id, "ABORTED");
  await network.up();
  await good;
  assert.equal(good.state, "SUCCESS");
  await assert.rejects(async () => bad, { errname: "ECANCELED" });
});

test("a call that never arrived is told from one that did", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  await client.job("demo.noop");
  network.swallow();
  const job = client.job("demo.noop", ["lost"]);
  network.cut();
  await assert.rejects(async () => job, JobNotFound);
});

test("a log goes on where the outage broke it off", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const direct = await loggedIn(t);
  const job = direct.job("demo.log", [100]);
  await job;
  const { data } = await direct.call("job.read_log", job.id);
  let text = "";
  await new Promise((resolve, reject) => {
    const take = (piece) => {
      if (text === "") network.cut();
      text += piece;
    };
    client.followLog(job.id, take, { onEnd: resolve }).catch(reject);
  });
  assert.equal(text, data);
});

test("a server that falls silent is given up", async (t) => {
  const network = await Network.open(t);
  const options = { pingInterval: 100, pingTimeout: 100 };
  const client = await loggedIn(t, options, network.url);
  const closed = nextEvent(client, "close");
  network.swallow();
  const { code, reconnect } = await closed;
  assert.equal(code, 4000);
  assert.equal(reconnect, true);
  await client.ready();
});

test("close code 1008 means: do not come back", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, {}, network.url);
  const job = client.job("demo.sleep", [30]);
  await job.started;
  const closed = nextEvent(client, "close");
  network.refuse();
  const { code, reconnect } = await closed;
  assert.equal(code, 1008);
  assert.equal(reconnect, false);
  assert.equal(client.state, "closed");
  await assert.rejects(async () => job, ConnectionLost);
  const direct = await loggedIn(t);
  await direct.call("core.job_abort", job.id);
});

test("attempts to come back are spaced out more and more", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, { minDelay: 8, maxDelay: 64 }, network.url);
  const delays = [];
  await network.down();
  while (delays.length < 6) {
    const { attempt, delay } = await nextEvent(client, "reconnecting");
    assert.equal(attempt, delays.length + 1);
    delays.push(delay);
  }
  for (const [index, longest] of [8, 16, 32, 64, 64, 64].entries()) {
    assert.ok(delays[index] <= longest && delays[index] >= longest / 2, `${delays}`);
  }
});

test("reconnectNow ends the pause", async (t) => {
  const network = await Network.open(t);
  const options = { minDelay: 60_000, maxDelay: 60_000 };
  const client = await loggedIn(t, options, network.url);
  const reconnecting = nextEvent(client, "reconnecting");
  network.cut();
  await reconnecting;
  client.reconnectNow();
  await client.ready();
});

test("with reconnect: false a lost connection is the end", async (t) => {
  const network = await Network.open(t);
  const client = await loggedIn(t, { reconnect: false }, network.url);
  const closed = nextEvent(client, "close");
  network.cut();
  assert.equal((await closed).reconnect, false);
  await assert.rejects(client.ready(), ConnectionLost);
});

test("connect with retry waits for a server that comes later", async (t) => {
  const network = await Network.open(t);
  const { url } = network;
  await network.down();
  const client = makeClient(t, {}, url);
  const trying = nextEvent(client, "reconnecting");
  const connected = client.connect({ retry: true });
  await trying;
  await network.up();
  await connected;
  assert.equal(client.state, "open");
});

test("session and subscription survive a restart of the server", async (t) => {
  const client = await loggedIn(t, { keepCredentials: false });
  const states = [];
  const resumed = new Promise((onResume) => {
    const keep = ({ id, fields }) => {
      if (id === held.id) states.push(fields.state);
    };
    client.subscribe("core.get_jobs", keep, { onResume });
  });
  const job = client.job("demo.noop", ["before"]);
  const held = client.job("demo.sleep", [600]);
  await job;
  await reached(client, await held.started, "RUNNING");
  const back = nextEvent(client, "authenticated");
  await restartServer();
  assert.equal((await back).user.pw_name, "admin");
  assert.equal(await client.follow(job.id), "before");
  assert.deepEqual(await resumed, { recovered: true });
  await assert.rejects(async () => held);
  assert.deepEqual([...new Set(states)], ["WAITING", "RUNNING", "FAILED"]);
});
