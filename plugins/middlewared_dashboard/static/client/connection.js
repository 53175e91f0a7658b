/**
 * One WebSocket: requests and their answers, notifications, keepalive.
 *
 * It is used once. What happens after it closed (reconnect, log in again) is the
 * business of the {@link module:middlewared} Client.
 *
 * @module
 */

import { ConnectionLost, RpcError } from "./errors.js";

/**
 * @typedef {object} ConnectionOptions
 * @property {new (url: string) => WebSocket} WebSocket The constructor to use.
 * @property {number} connectTimeout Milliseconds the handshake may take.
 * @property {number} pingInterval Milliseconds between two keepalive calls.
 * @property {number} pingTimeout Milliseconds the server may stay silent after
 *   one before the connection is given up.
 */

/**
 * @typedef {object} ConnectionHandlers
 * @property {(method: string, params: any) => void} onNotification
 * @property {(connection: Connection, code: number, reason: string) => void} onClose
 *   Called once, after all pending requests were rejected; only if the connection
 *   was open.
 * @property {(error: Error) => void} onError What came makes no sense, or is an
 *   error of the connection and not of one request.
 */

// Ids of requests are told to every watcher of a job in its message_ids, so they
// must not repeat between clients. randomUUID() exists in secure contexts only.
const PREFIX = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) =>
  byte.toString(16).padStart(2, "0"),
).join("");
let lastId = 0;

/** Make an id for a request that no other client uses. */
export function makeId() {
  lastId += 1;
  return `${PREFIX}-${lastId}`;
}

/** One open WebSocket to a server. */
export class Connection {
  /** @type {WebSocket} */
  #socket;
  /** @type {ConnectionOptions} */
  #options;
  /** @type {ConnectionHandlers} */
  #handlers;
  /** @type {Map<string, {resolve: (value: any) => void, reject: (e: Error) => void}>} */
  #pending = new Map();
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #pingTimer;
  #lastReceived = 0;
  #open = false;

  /**
   * Dial *url* and wait for the handshake.
   *
   * @param {string} url
   * @param {ConnectionOptions} options
   * @param {ConnectionHandlers} handlers
   * @param {AbortSignal} signal Gives up the attempt.
   * @returns {Promise<Connection>}
   * @throws {ConnectionLost} The server was not reached, or closed at once.
   */
  static async open(url, options, handlers, signal) {
    const connection = new Connection(url, options, handlers);
    await connection.#opened(url, signal);
    return connection;
  }

  /**
   * @private
   * @param {string} url
   * @param {ConnectionOptions} options
   * @param {ConnectionHandlers} handlers
   */
  constructor(url, options, handlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#socket = new options.WebSocket(url);
  }

  /**
   * @param {string} url
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  async #opened(url, signal) {
    const { promise, resolve, reject } = withResolvers();
    const socket = this.#socket;
    const fail = (/** @type {string} */ why) => {
      reject(new ConnectionLost(`No connection to ${url}: ${why}.`));
      socket.close();
    };
    const giveUp = () => fail("closed by the client");
    const { connectTimeout } = this.#options;
    const late = () => fail(`no handshake within ${connectTimeout} ms`);
    const timer = setTimeout(late, connectTimeout);
    signal.addEventListener("abort", giveUp);
    if (signal.aborted) giveUp();
    // Why a handshake failed is kept from pages; "close" always follows.
    socket.addEventListener("error", () => {});
    socket.addEventListener("open", () => {
      this.#open = true;
      this.#schedulePing(this.#options.pingInterval);
      resolve(undefined);
    });
    socket.addEventListener("message", (event) => this.#receive(event.data));
    socket.addEventListener("close", ({ code, reason }) => {
      reject(new ConnectionLost(`No connection to ${url} (${code}).`, code));
      this.#finish(code, reason);
    });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** False before the handshake, and from the close on. */
  get isOpen() {
    return this.#open;
  }

  /**
   * Send a request and wait for its answer.
   *
   * @param {string} method
   * @param {any[]|Record<string, any>} params
   * @param {string} [id]
   * @returns {Promise<any>}
   * @throws {RpcError} The answer is an error.
   * @throws {ConnectionLost} The connection closed before the answer.
   */
  request(method, params, id = makeId()) {
    if (!this.#open) {
      return Promise.reject(new ConnectionLost("The connection is closed."));
    }
    const { promise, resolve, reject } = withResolvers();
    const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
    this.#pending.set(id, { resolve, reject });
    this.#socket.send(text);
    return promise;
  }

  /**
   * Close from our side. Pending requests are rejected now, not when the other
   * side agrees: a peer that is gone never does.
   *
   * @param {number} [code]
   * @param {string} [reason]
   */
  close(code = 1000, reason = "") {
    if (!this.#open) return;
    this.#socket.close(code, reason);
    this.#finish(code, reason);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #finish(code, reason) {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#pingTimer);
    const why = reason ? `${code} ${reason}` : `${code}`;
    const error = new ConnectionLost(
      `The connection closed before the answer came (${why}).`,
      code,
    );
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    this.#handlers.onClose(this, code, reason);
  }

  /** @param {any} text */
  #receive(text) {
    if (!this.#open) return;
    this.#lastReceived = Date.now();
    let message;
    try {
      message = JSON.parse(text);
    } catch (error) {
      this.#handlers.onError(/** @type {Error} */ (error));
      return;
    }
    if (message.method !== undefined) {
      this.#handlers.onNotification(message.method, message.params ?? {});
    } else {
      this.#answer(message);
    }
  }

  /** @param {any} message */
  #answer({ id, result, error }) {
    const problem = error && new RpcError(error.code, error.message, error.data);
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      if (problem) this.#handlers.onError(problem);
      return;
    }
    this.#pending.delete(id);
    if (problem) pending.reject(problem);
    else pending.resolve(result);
  }

  /** @param {number} delay Milliseconds. */
  #schedulePing(delay) {
    this.#pingTimer = setTimeout(() => this.#ping(), delay);
  }

  #ping() {
    const { pingInterval, pingTimeout } = this.#options;
    const sent = Date.now();
    // Any message counts as life: the answer may wait behind a large one.
    this.request("core.ping", []).catch(() => {});
    this.#pingTimer = setTimeout(() => {
      if (this.#lastReceived < sent) {
        this.close(4000, `no answer within ${pingTimeout} ms`);
      } else {
        this.#schedulePing(Math.max(0, pingInterval - pingTimeout));
      }
    }, pingTimeout);
  }
}

/** @returns {{promise: Promise<any>, resolve: (value: any) => void, reject: (e: any) => void}} */
export function withResolvers() {
  let resolve = (/** @type {any} */ _value) => {};
  let reject = (/** @type {any} */ _error) => {};
  const promise = new Promise((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
