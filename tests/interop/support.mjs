/**
 * What the tests of other people's clients share: where the server is, who may log
 * in, and packages, which are installed beside the tests of our own client.
 */

import assert from "node:assert/strict";
import { createRequire } from "node:module";

export const require = createRequire(new URL("../node/package.json", import.meta.url));

const { MIDDLEWARED_WS_URL, MIDDLEWARED_PASSWORD, MIDDLEWARED_CONTROL } = process.env;

export const url = MIDDLEWARED_WS_URL;
export const httpUrl = MIDDLEWARED_WS_URL.replace("ws", "http");

/** Params of `auth.login_ex`, by position. */
export const LOGIN = [
  {
    mechanism: "PASSWORD_PLAIN",
    username: "admin",
    password: MIDDLEWARED_PASSWORD,
  },
];

/** `Authorization` of an HTTP request. */
export const BASIC = `Basic ${btoa(`admin:${MIDDLEWARED_PASSWORD}`)}`;

/** Job calls are answered when the job has ended. */
export const NEW_STYLE = [{ legacy_jobs: false }];

/** Stop the server and start it again on the same address. */
export async function restartServer() {
  const answer = await fetch(`${MIDDLEWARED_CONTROL}/restart`, { method: "POST" });
  assert.equal(answer.status, 200, await answer.text());
}

/** Make a promise with its resolve function. */
export function deferred() {
  let resolve;
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}
