/**
 * A connection that is dialled again when it is lost.
 *
 * @module
 */

import { Connection, withResolvers } from "./connection.js";
import { ConnectionLost } from "./errors.js";

/** The server's word that this client is not welcome: no use in coming back. */
const POLICY_VIOLATION = 1008;

/** A connection that lasted so many milliseconds was not refused by a busy server. */
const STABLE = 10_000;

const NOT_CONNECTED = "There is no connection to the server.";

/** @typedef {"closed"|"connecting"|"open"|"reconnecting"} LinkState */

/**
 * @typedef {object} LinkHooks
 * @property {(connection: Connection) => Promise<() => void>} onDialled Prepares a
 *   new connection; what it returns is called once the link is open. While it
 *   runs, notifications are already delivered. If it fails, the connection is
 *   given up.
 * @property {(method: string, params: any) => void} onNotification
 * @property {() => void} onLost The connection is gone; it will be dialled again.
 * @property {(error: ConnectionLost) => void} onEnded The link is closed for good.
 * @property {(type: string, detail: object) => void} emit Tells the user.
 */

/**
 * @typedef {import("./connection.js").ConnectionOptions
 *   & {reconnect: boolean, minDelay: number, maxDelay: number}} LinkOptions
 */

/** The one connection of a client, across outages. */
export class Link {
  /** @type {LinkState} */
  state = "closed";
  #url;
  #options;
  #hooks;
  /** @type {Connection|null} */
  #connection = null;
  #dialling = new AbortController();
  /** @type {(() => void)|null} Ends the pause before the next attempt. */
  #wake = null;
  #attempt = 0;
  #openedAt = 0;

  /**
   * @param {string} url
   * @param {LinkOptions} options
   * @param {LinkHooks} hooks
   */
  constructor(url, options, hooks) {
    this.#url = url;
    this.#options = options;
    this.#hooks = hooks;
  }

  /**
   * The open connection.
   *
   * @throws {ConnectionLost} There is none.
   */
  get connection() {
    if (this.#connection === null) throw new ConnectionLost(NOT_CONNECTED);
    return this.#connection;
  }

  /**
   * @param {boolean} retry Go on dialling if the first attempt fails.
   * @throws {ConnectionLost}
   */
  async connect(retry) {
    if (this.state !== "closed") throw new TypeError("The client is connected.");
    // Close and connect may follow each other at once: each life has its own signal.
    this.#dialling = new AbortController();
    const { signal } = this.#dialling;
    this.state = "connecting";
    this.#attempt = 0;
    try {
      await this.#establish(signal);
    } catch (error) {
      if (retry && !isFinal(error, signal)) return this.#reconnect(signal);
      if (!signal.aborted) this.#ended(1006, "");
      throw error;
    }
  }

  /** Try again now to come back, instead of at the end of the pause. */
  reconnectNow() {
    this.#wake?.();
  }

  /** Close for good. */
  close() {
    this.#dialling.abort();
    this.#connection?.close(1000);
    this.#ended(1000, "");
    this.#wake?.();
  }

  /**
   * Dial, prepare, and be open.
   *
   * @param {AbortSignal} signal
   */
  async #establish(signal) {
    const handlers = {
      onNotification: this.#hooks.onNotification,
      onClose: this.#lost.bind(this),
      onError: (/** @type {Error} */ error) => this.#hooks.emit("error", { error }),
    };
    const connection = await Connection.open(
      this.#url,
      this.#options,
      handlers,
      signal,
    );
    const giveUp = () => connection.close(1000);
    signal.addEventListener("abort", giveUp);
    try {
      const announce = await this.#hooks.onDialled(connection);
      if (!connection.isOpen) throw new ConnectionLost(NOT_CONNECTED);
      this.#openedAt = Date.now();
      this.#connection = connection;
      this.state = "open";
      announce();
    } catch (error) {
      connection.close(1000);
      throw error;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /**
   * @param {Connection} connection
   * @param {number} code
   * @param {string} reason
   */
  #lost(connection, code, reason) {
    // One that broke while it was being prepared has rejected #establish().
    if (connection !== this.#connection) return;
    this.#connection = null;
    const { signal } = this.#dialling;
    if (!this.#options.reconnect || isFinal({ closeCode: code }, signal)) {
      this.#ended(code, reason);
      return;
    }
    if (Date.now() - this.#openedAt > STABLE) this.#attempt = 0;
    this.#hooks.onLost();
    this.#hooks.emit("close", { code, reason, reconnect: true });
    this.#reconnect(signal).catch(() => {}); // the event "close" has said it
  }

  /**
   * Dial until the server takes us.
   *
   * @param {AbortSignal} signal
   * @throws {ConnectionLost} The server refused us, or the link was closed.
   */
  async #reconnect(signal) {
    this.state = "reconnecting";
    for (;;) {
      const { minDelay, maxDelay } = this.#options;
      const longest = Math.min(maxDelay, minDelay * 2 ** this.#attempt);
      const delay = Math.round(longest * (1 - Math.random() / 2));
      this.#attempt += 1;
      this.#hooks.emit("reconnecting", { attempt: this.#attempt, delay });
      await this.#pause(delay);
      try {
        return await this.#establish(signal);
      } catch (error) {
        if (isFinal(error, signal)) {
          if (!signal.aborted) this.#ended(POLICY_VIOLATION, "");
          throw error;
        }
        if (!(error instanceof ConnectionLost)) this.#hooks.emit("error", { error });
      }
    }
  }

  /** @param {number} delay Milliseconds, unless woken. */
  async #pause(delay) {
    const { promise, resolve } = withResolvers();
    const timer = setTimeout(resolve, delay);
    this.#wake = () => resolve(undefined);
    await promise;
    this.#wake = null;
    clearTimeout(timer);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #ended(code, reason) {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#hooks.onEnded(new ConnectionLost(`The client is closed (${code}).`, code));
    this.#hooks.emit("close", { code, reason, reconnect: false });
  }
}

/**
 * Tell whether there is no use in dialling again.
 *
 * @param {any} error
 * @param {AbortSignal} signal
 */
function isFinal(error, signal) {
  return error.closeCode === POLICY_VIOLATION || signal.aborted;
}
