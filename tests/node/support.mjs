/**
 * What the tests of the JavaScript client share.
 *
 * The server is the real one; test_javascript_client.py starts it and tells where
 * it is. The client is imported from the plugin's folder, as a page would.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as dial, createServer } from "node:net";
import { WebSocket } from "ws";

import { Client } from "../../plugins/middlewared_dashboard/static/middlewared.js";

export * from "../../plugins/middlewared_dashboard/static/middlewared.js";

const { MIDDLEWARED_WS_URL, MIDDLEWARED_PASSWORD, MIDDLEWARED_CONTROL } = process.env;

/** The first user, who may do everything. */
export const ADMIN = { username: "admin", password: MIDDLEWARED_PASSWORD };

/**
 * Make a client that is closed when the test ends.
 *
 * @param {import("node:test").TestContext} t
 * @param {object} [options] Of the client.
 * @param {string} [url]
 */
export function makeClient(t, options = {}, url = MIDDLEWARED_WS_URL) {
  const client = new Client(url, {
    WebSocket,
    minDelay: 20,
    maxDelay: 500,
    ...options,
  });
  t.after(() => client.close());
  return client;
}

/** Make a client that is connected, and logged in as admin. */
export async function loggedIn(t, options, url) {
  const client = makeClient(t, options, url);
  await client.connect();
  await client.login(ADMIN);
  return client;
}

/** Wait for an event of a client and return its detail. */
export async function nextEvent(client, type) {
  const [event] = await once(client, type);
  return event.detail;
}

/** Stop the server and start it again on the same address. */
export async function restartServer() {
  const answer = await fetch(`${MIDDLEWARED_CONTROL}/restart`, { method: "POST" });
  assert.equal(answer.status, 200, await answer.text());
}

/** Wait until a job reaches one of the states. */
export async function reached(client, id, ...states) {
  for await (const item of client.follow(id)) {
    if (states.includes(item.state)) return item;
  }
  return assert.fail(`job ${id} ended without reaching ${states}`);
}

/**
 * A network between client and server that can fail.
 *
 * It passes bytes on, unless it is told to cut, to swallow or to refuse.
 */
export class Network {
  #target = new URL(MIDDLEWARED_WS_URL);
  #sockets = new Set();
  #server;
  #port = 0;

  /** @param {import("node:test").TestContext} t */
  static async open(t) {
    const network = new Network();
    await network.up();
    t.after(() => network.down());
    return network;
  }

  /** The address of the server, seen through this network. */
  get url() {
    const url = new URL(this.#target);
    url.port = String(this.#port);
    return url.href;
  }

  /** Let connections through, at the same address as before. */
  async up() {
    this.#server = createServer((near) => this.#accept(near));
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = this.#server.address().port;
  }

  /** Break every connection and refuse new ones. */
  async down() {
    this.#server.close();
    this.cut();
    await Promise.resolve();
  }

  /** Break every connection. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Pass nothing on any more, and say nothing about it. */
  swallow() {
    for (const socket of this.#sockets) socket.unpipe().resume();
  }

  /** Close as a proxy does that does not want this client: code 1008. */
  refuse() {
    const frame = Buffer.from([0x88, 2, 1008 >> 8, 1008 & 0xff]);
    for (const socket of this.#sockets) {
      socket.unpipe();
      if (socket.localPort === this.#port) socket.end(frame);
    }
  }

  #accept(near) {
    const far = dial(Number(this.#target.port), this.#target.hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
