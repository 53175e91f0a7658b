/** The documents of the server, judged by the tools of their specifications. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Parser } from "@asyncapi/parser";
import {
  MethodCallValidator,
  parseOpenRPCDocument,
  validateOpenRPCDocument,
} from "@open-rpc/schema-utils-js";

import { ADMIN, loggedIn } from "./support.mjs";

const HTTP = process.env.MIDDLEWARED_WS_URL.replace(/^ws/, "http").replace(
  /\/api\/.*$/,
  "",
);
const BASIC = btoa(`${ADMIN.username}:${ADMIN.password}`);

/** Get a document over HTTP, as admin. */
async function get(name) {
  const headers = { Authorization: `Basic ${BASIC}` };
  const answer = await fetch(`${HTTP}/api/${name}`, { headers });
  assert.equal(answer.status, 200);
  return answer.text();
}

test("the OpenRPC document is valid, over the socket and over HTTP", async (t) => {
  const client = await loggedIn(t);
  const discovered = await client.call("rpc.discover");
  assert.equal(validateOpenRPCDocument(discovered), true);
  const fetched = JSON.parse(await get("openrpc.json"));
  assert.equal(validateOpenRPCDocument(fetched), true);
  assert.deepEqual(fetched.methods, discovered.methods);
});

test("a generic validator takes the examples, and refuses what is wrong", async () => {
  const document = await parseOpenRPCDocument(await get("openrpc.json"));
  const validator = new MethodCallValidator(document);
  let examples = 0;
  for (const { name, examples: pairings } of document.methods) {
    for (const { params } of pairings) {
      const named = Object.fromEntries(params.map((p) => [p.name, p.value]));
      assert.deepEqual(validator.validate(name, named), [], name);
      examples += 1;
    }
  }
  assert.ok(examples > 20, `only ${examples} examples`);
  assert.equal(validator.validate("demo.checksum", { path: 1 }).length, 1);
  assert.equal(validator.validate("demo.checksum", {}).length, 1);
});

test("the AsyncAPI document is valid, without a warning", async () => {
  const { document, diagnostics } = await new Parser().parse(await get("asyncapi.json"));
  assert.deepEqual(diagnostics, []);
  const messages = document.operations().get("core_get_jobs").messages();
  assert.deepEqual(
    messages.all().map((message) => message.name()),
    ["CoreGetJobsAddedEvent", "CoreGetJobsChangedEvent", "CoreGetJobsRemovedEvent"],
  );
});
