import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { WebSocket } from "ws";

import { Client, loggedIn, makeClient, RpcError } from "./support.mjs";

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

test("files reach their job, with names and progress of the job", async (t) => {
  const client = await loggedIn(t);
  const large = new Uint8Array(3_000_000).fill(7);
  const states = [];
  const job = client.upload(
    "demo.count_upload",
    [],
    [new File([large], "größe.bin"), new Blob(["1234"])],
    { onState: (state) => states.push(state) },
  );
  assert.deepEqual(await job, [
    { filename: "größe.bin", bytes: 3_000_000, sha256: sha256(large) },
    { filename: "blob", bytes: 4, sha256: sha256("1234") },
  ]);
  assert.equal(await job.started, job.id);
  assert.equal(states.at(-1), "SUCCESS");
});

test("an upload that is refused rejects with the server's words", async (t) => {
  const client = await loggedIn(t);
  const file = [new Blob(["x"])];
  await assert.rejects(client.upload("demo.noop", [], file), (error) => {
    assert.ok(error instanceof RpcError);
    assert.equal(error.message, "demo.noop takes no upload");
    return true;
  });
  await assert.rejects(client.upload("demo.count_upload", ["x"], file), {
    errname: "EINVAL",
  });
  const stranger = makeClient(t);
  await stranger.connect();
  await assert.rejects(stranger.upload("demo.count_upload", [], file), {
    errname: "ENOTAUTHENTICATED",
  });
});

test("an upload can be given up", async (t) => {
  const client = await loggedIn(t);
  const signal = AbortSignal.abort(new Error("enough"));
  const job = client.upload("demo.count_upload", [], [new Blob(["x"])], { signal });
  await assert.rejects(job, /enough/);
});

test("a download is where the server says, directly or kept", async (t) => {
  const client = await loggedIn(t);
  for (const buffered of [false, true]) {
    const { url, job } = await client.download("demo.stream", [2_000_000, 7], {
      filename: "a b.bin",
      buffered,
    });
    const answer = await fetch(url);
    assert.equal(answer.status, 200);
    const data = new Uint8Array(await answer.arrayBuffer());
    assert.equal(data.length, 2_000_000);
    assert.equal(sha256(data), await job);
    if (buffered) {
      const part = await fetch(url, { headers: { Range: "bytes=5-9" } });
      assert.equal(part.status, 206);
      assert.deepEqual(new Uint8Array(await part.arrayBuffer()), data.slice(5, 10));
    }
  }
  await assert.rejects(client.download("demo.noop"), /gives no download/);
});

test("a download of an aborted job is no download", async (t) => {
  const client = await loggedIn(t);
  const { url, job } = await client.download("demo.stream", [2 ** 40]);
  const answer = await fetch(url);
  await job.abort();
  await assert.rejects(answer.arrayBuffer());
  await assert.rejects(job, { errname: "ECANCELED" });
});

test("there are no files over a unix socket", async () => {
  const client = new Client("ws+unix:/nowhere:/api/current", { WebSocket });
  await assert.rejects(client.upload("x", [], []), TypeError);
});
