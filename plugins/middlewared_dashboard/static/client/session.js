/**
 * Who the client is to the server, and how it becomes that again.
 *
 * @module
 */

import { LoginError, RpcError } from "./errors.js";

/**
 * @typedef {{username: string, password: string}
 *   | {username: string, apiKey: string}
 *   | {token: string}} Credentials
 */

/**
 * @typedef {object} SessionOptions
 * @property {number} tokenTtl Seconds.
 * @property {number} tokenInterval Milliseconds.
 * @property {boolean} keepCredentials
 */

/** @typedef {import("./connection.js").Connection} Connection */

/** Credentials, and the tokens that stand in for them after a reconnect. */
export class Session {
  #active = false;
  /** @type {Credentials|null} */
  #credentials = null;
  /** @type {string|null} */
  #token = null;
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #timer;
  /** @type {SessionOptions} */
  #options;
  /** @type {(token: string) => void} */
  #onToken;

  /**
   * @param {SessionOptions} options
   * @param {(token: string) => void} onToken Gets every new token.
   */
  constructor(options, onToken) {
    this.#options = options;
    this.#onToken = onToken;
  }

  /** True from a successful login until it is forgotten. */
  get active() {
    return this.#active;
  }

  /**
   * Log in on *connection*.
   *
   * @param {Connection} connection
   * @param {Credentials} credentials
   * @returns {Promise<any>} The user.
   * @throws {LoginError}
   */
  async login(connection, credentials) {
    const user = await authenticate(connection, credentials);
    this.forget();
    this.#active = true;
    if (this.#options.keepCredentials && !("token" in credentials)) {
      this.#credentials = credentials;
    }
    await this.#start(connection);
    return user;
  }

  /**
   * Become on a new connection who we were on the last.
   *
   * @param {Connection} connection
   * @returns {Promise<any>} The user.
   * @throws {LoginError} Neither token nor credentials are good any more.
   */
  async resume(connection) {
    const token = this.#token === null ? null : { token: this.#token };
    for (const credentials of [token, this.#credentials]) {
      if (credentials === null) continue;
      try {
        const user = await authenticate(connection, credentials);
        await this.#start(connection);
        return user;
      } catch (error) {
        if (!(error instanceof LoginError)) throw error;
      }
    }
    this.forget();
    throw new LoginError("EXPIRED");
  }

  /** Stop asking for tokens: the connection is gone. */
  pause() {
    clearInterval(this.#timer);
  }

  /** Be nobody again. */
  forget() {
    this.pause();
    this.#active = false;
    this.#credentials = null;
    this.#token = null;
  }

  /** @param {Connection} connection */
  async #start(connection) {
    this.pause();
    await this.#mint(connection);
    this.#timer = setInterval(
      () => this.#mint(connection).catch(() => {}),
      this.#options.tokenInterval,
    );
  }

  /** @param {Connection} connection */
  async #mint(connection) {
    try {
      const params = [this.#options.tokenTtl];
      this.#token = await connection.request("auth.generate_token", params);
    } catch (error) {
      // An account without the right to tokens still has its credentials.
      if (!(error instanceof RpcError)) throw error;
      this.#token = null;
      return;
    }
    this.#onToken(/** @type {string} */ (this.#token));
  }
}

/**
 * @param {Connection} connection
 * @param {Credentials} credentials
 */
async function authenticate(connection, credentials) {
  const answer = await connection.request("auth.login_ex", [toWire(credentials)]);
  if (answer.response_type === "SUCCESS") return answer.user_info;
  throw new LoginError(answer.response_type);
}

/** @param {Credentials} credentials */
function toWire(credentials) {
  if ("token" in credentials) {
    return { mechanism: "TOKEN_PLAIN", token: credentials.token };
  }
  const { username } = credentials;
  if ("apiKey" in credentials) {
    return { mechanism: "API_KEY_PLAIN", username, api_key: credentials.apiKey };
  }
  return { mechanism: "PASSWORD_PLAIN", username, password: credentials.password };
}
