/**
 * The JavaScript client of middlewared, for browsers and for Node.js 20 and up.
 *
 * ```js
 * import { Client } from "./middlewared.js";
 *
 * const client = new Client("ws://127.0.0.1:6000/api/current");
 * await client.connect();
 * await client.login({ username: "admin", password: "…" });
 * const result = await client.job("demo.checksum", ["/usr/lib/python3"], {
 *   onProgress: ({ percent, description }) => console.log(percent, description),
 * });
 * ```
 *
 * @module middlewared
 */

import { ConnectionLost, LoginError } from "./client/errors.js";
import { below, besides, sendFiles, UPLOAD_TTL } from "./client/files.js";
import { JobHandle, JOBS, JobTracker } from "./client/jobs.js";
import { Link } from "./client/link.js";
import { LogTail } from "./client/logs.js";
import { Session } from "./client/session.js";
import { Topics } from "./client/topics.js";

export { ConnectionLost, JobNotFound, LoginError, RpcError } from "./client/errors.js";
export { isFinal, JobHandle } from "./client/jobs.js";

/**
 * @typedef {object} ClientOptions
 * @property {new (url: string) => WebSocket} [WebSocket] The constructor to use;
 *   by default the global one, which Node.js 20 does not have: pass the one of the
 *   package `ws` there.
 * @property {boolean} [reconnect] Come back after a lost connection; default true.
 * @property {number} [minDelay] Milliseconds before the first attempt to come
 *   back, doubled for each further one; default 500. Every delay is shortened by
 *   a random part of up to a half, so that clients do not come back together.
 * @property {number} [maxDelay] The longest delay in milliseconds; default 20,000.
 * @property {number} [connectTimeout] Milliseconds a handshake may take; default
 *   10,000.
 * @property {number} [pingInterval] Milliseconds between two keepalive calls;
 *   default 20,000.
 * @property {number} [pingTimeout] Milliseconds the server may be silent after one
 *   before the connection counts as lost; default 10,000.
 * @property {number} [tokenTtl] Seconds a session can be resumed for after the
 *   connection was lost; default 600.
 * @property {number} [tokenInterval] Milliseconds between two fresh tokens; default
 *   290,000. It must be shorter than `tokenTtl`.
 * @property {boolean} [keepCredentials] Remember the password or API key while the
 *   client lives, and log in with it when the token is no longer good; default
 *   true. A one-time token is never kept.
 */

/** @typedef {import("./client/connection.js").Connection} Connection */
/** @typedef {import("./client/session.js").Credentials} Credentials */
/** @typedef {import("./client/errors.js").ErrorData} ErrorData */

/**
 * @typedef {"closed"|"connecting"|"open"|"authenticated"|"reconnecting"} ClientState
 */

/** @type {Required<Omit<ClientOptions, "WebSocket">>} */
const DEFAULTS = {
  reconnect: true,
  minDelay: 500,
  maxDelay: 20_000,
  connectTimeout: 10_000,
  pingInterval: 20_000,
  pingTimeout: 10_000,
  tokenTtl: 600,
  tokenInterval: 290_000,
  keepCredentials: true,
};

/**
 * A client of one server.
 *
 * It keeps itself connected: a lost connection is dialled again, the session is
 * resumed, subscriptions are made again, and jobs that were being waited for are
 * read again. Calls that were under way are rejected with
 * {@link ConnectionLost}: only their caller knows whether to repeat them.
 *
 * Events of the connection, each a `CustomEvent`:
 *
 * | type | when | detail |
 * |---|---|---|
 * | `open` | connected, also again | `{}` |
 * | `authenticated` | logged in, also again; subscriptions are live | `{user}` |
 * | `unauthenticated` | connected again, but the session could not be resumed | `{error}` |
 * | `reconnecting` | before each attempt to come back | `{attempt, delay}` (ms) |
 * | `close` | the connection ended | `{code, reason, reconnect}` |
 * | `token` | a new token to resume the session with | `{token}` |
 * | `error` | the server sent what belongs to no call | `{error}` |
 */
export class Client extends EventTarget {
  /** @type {string} The address of the server. */
  url;
  #link;
  #session;
  #topics = new Topics();
  #jobs = new JobTracker();
  /** @type {Promise<unknown>|null} The subscription to the jobs. */
  #watching = null;

  /**
   * @param {string|URL} url `ws://HOST:PORT/api/current`; with the package `ws`
   *   also `ws+unix:/PATH/middlewared.sock:/api/current`.
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    this.url = String(url);
    const WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (WebSocket === undefined) {
      throw new TypeError(
        'There is no global WebSocket here: pass one, as in {WebSocket} from "ws".',
      );
    }
    const settings = { ...DEFAULTS, ...options, WebSocket };
    const emit = this.#emit.bind(this);
    this.#session = new Session(settings, (token) => emit("token", { token }));
    this.#link = new Link(this.url, settings, {
      onDialled: this.#dialled.bind(this),
      onNotification: this.#notified.bind(this),
      onLost: this.#lost.bind(this),
      onEnded: this.#forget.bind(this),
      emit,
    });
  }

  /**
   * What the connection is like now.
   *
   * @returns {ClientState}
   */
  get state() {
    const { state } = this.#link;
    return state === "open" && this.#session.active ? "authenticated" : state;
  }

  /**
   * Connect.
   *
   * @param {{retry?: boolean}} [options] With `retry`, a first attempt that fails
   *   is repeated like a lost connection is.
   * @returns {Promise<void>}
   * @throws {ConnectionLost} The server was not reached.
   */
  async connect({ retry = false } = {}) {
    await this.#link.connect(retry);
  }

  /**
   * Log in; again, to become somebody else.
   *
   * @param {Credentials} credentials
   * @returns {Promise<any>} The user, as in `auth.me`.
   * @throws {LoginError} The server does not accept the credentials.
   * @throws {RpcError} The server cannot say, for example EBUSY after too many
   *   attempts.
   * @throws {ConnectionLost}
   */
  async login(credentials) {
    const { connection } = this.#link;
    const user = await this.#session.login(connection, credentials);
    await this.#restore(connection);
    this.#emit("authenticated", { user });
    return user;
  }

  /**
   * Log out. Subscriptions end; tracked jobs go on, but not for this client.
   *
   * @returns {Promise<void>}
   */
  async logout() {
    const { connection } = this.#link;
    this.#forget(new ConnectionLost("The client logged out."));
    await connection.request("auth.logout", []);
  }

  /**
   * Call a method and wait for its answer.
   *
   * A job method is answered when the job has ended; see {@link Client.job} for
   * what survives a lost connection.
   *
   * @param {string} method
   * @param {...any} params Positional params.
   * @returns {Promise<any>}
   * @throws {RpcError} The server answered with an error.
   * @throws {ConnectionLost} There is no connection, or it ended before the answer.
   */
  async call(method, ...params) {
    return this.#link.connection.request(method, params);
  }

  /**
   * Start a job.
   *
   * @param {string} method
   * @param {any[]|Record<string, any>} [params] By position or by name.
   * @param {import("./client/jobs.js").JobOptions} [options]
   * @returns {JobHandle} Await it for the result, iterate over it for its items.
   */
  job(method, params = [], options = {}) {
    const handle = this.#makeHandle(options);
    if (this.#link.state === "open") {
      this.#jobs.start(handle, async (requestId) => {
        await this.#watch();
        return this.#link.connection.request(method, params, requestId);
      });
    } else {
      handle.fail(new ConnectionLost("There is no connection: nothing was sent."));
    }
    return handle;
  }

  /**
   * Follow a job that was started elsewhere, or by this program's last life.
   *
   * @param {number} id
   * @param {import("./client/jobs.js").JobOptions} [options]
   * @returns {JobHandle} Rejected with JobNotFound where there is no such job.
   */
  follow(id, options = {}) {
    const handle = this.#makeHandle(options);
    if (this.#link.state === "closed") {
      handle.fail(new ConnectionLost("The client is closed."));
    } else {
      this.#followJob(handle, id);
    }
    return handle;
  }

  /**
   * @param {JobHandle} handle
   * @param {number} id
   */
  #followJob(handle, id) {
    return this.#jobs.follow(handle, id, async (method, params) => {
      await this.#watch();
      return this.#link.connection.request(method, params);
    });
  }

  /**
   * Start a job that reads files, and upload them.
   *
   * Its `started` is resolved when the server has read all of them.
   *
   * @param {string} method A job method that takes an upload.
   * @param {any[]|Record<string, any>} params By position or by name.
   * @param {Iterable<Blob>} files One to five, for example of an `<input type=file>`.
   * @param {import("./client/jobs.js").JobOptions &
   *   import("./client/files.js").UploadOptions} [options] `signal` ends the upload,
   *   too; the job fails then.
   * @returns {JobHandle}
   */
  upload(method, params, files, options = {}) {
    const handle = this.#makeHandle(options);
    this.#upload(handle, { method, params }, files, options).catch((error) => {
      handle.fail(error);
    });
    return handle;
  }

  /**
   * @param {JobHandle} handle
   * @param {object} wanted
   * @param {Iterable<Blob>} files
   * @param {any} options
   */
  async #upload(handle, wanted, files, options) {
    const url = besides(this.url, "/_upload");
    const token = await this.call("auth.generate_token", UPLOAD_TTL, {}, false, true);
    const id = await sendFiles(url, token, wanted, files, options);
    await this.#followJob(handle, id);
  }

  /**
   * Start a job that gives a download.
   *
   * The output is at `url` for whoever asks first, within a minute; with `buffered`
   * for an hour after the end of the job, again and in parts. A page can let the
   * browser save it: `location.href = url`. An answer that is complete is that of a
   * job that has succeeded.
   *
   * @param {string} method A job method that gives a download.
   * @param {any[]} [params] By position.
   * @param {import("./client/jobs.js").JobOptions &
   *   {filename?: string, buffered?: boolean}} [options]
   * @returns {Promise<{url: string, job: JobHandle}>}
   * @throws {RpcError} The server refuses.
   * @throws {ConnectionLost}
   */
  async download(method, params = [], options = {}) {
    const { filename = "download", buffered = false } = options;
    const started = ["core.download", method, params, filename, buffered];
    const [id, path] = await this.call(.../** @type {[string]} */ (started));
    return { url: below(this.url, path), job: this.follow(id, options) };
  }

  /**
   * Receive the events of a collection, across reconnects.
   *
   * What happened while there was no connection comes first after it, before
   * `onResume` is called. Names with arguments, such as `job.logs:{"id":1}`, and `*`
   * take no options, and their events are not repeated.
   *
   * @param {string} name For example `"core.get_jobs"`.
   * @param {(event: import("./client/topics.js").CollectionEvent) => void} callback
   * @param {import("./client/topics.js").SubscribeOptions} [options]
   * @returns {Promise<() => Promise<void>>} Call it to unsubscribe.
   * @throws {RpcError} The server refuses, for example EACCES.
   * @throws {ConnectionLost}
   */
  async subscribe(name, callback, options = {}) {
    /** @type {import("./client/topics.js").Request} */
    const request = async (method, params) =>
      this.#link.connection.request(method, params);
    return this.#topics.add(request, name, callback, options, isPlain(name));
  }

  /**
   * Follow the log of a job: what is there from *offset* on, then what is added,
   * until the job has ended. A reconnect goes on where it broke off.
   *
   * @param {number} id
   * @param {(text: string, offset: number) => void} callback Gets each piece and
   *   the offset of the byte after it.
   * @param {{offset?: number,
   *   onEnd?: (error: ErrorData|null) => void}} [options]
   *   `onEnd` is called when no more can come: null after the end of the log.
   * @returns {Promise<() => Promise<void>>} Call it to stop.
   * @throws {RpcError}
   * @throws {ConnectionLost}
   */
  async followLog(id, callback, { offset = 0, onEnd } = {}) {
    const tail = new LogTail(id, offset, callback);
    return this.subscribe(tail.name, (event) => tail.take(event), {
      renew: () => tail.name,
      onEnd,
    });
  }

  /** Try again now to come back, instead of at the end of the pause. */
  reconnectNow() {
    this.#link.reconnectNow();
  }

  /**
   * Wait until the client is connected, and logged in if it was.
   *
   * @returns {Promise<void>}
   * @throws {ConnectionLost} The client is closed, or gets closed.
   */
  async ready() {
    while (this.#link.state !== "open") {
      if (this.#link.state === "closed") {
        throw new ConnectionLost("The client is closed.");
      }
      await new Promise((resolve) => {
        this.addEventListener("open", resolve, { once: true });
        this.addEventListener("close", resolve, { once: true });
      });
    }
  }

  /** Close for good. Everything pending is rejected with {@link ConnectionLost}. */
  close() {
    this.#link.close();
  }

  /**
   * Negotiate on a new connection, become who we were, restore what we had.
   *
   * @param {Connection} connection
   */
  async #dialled(connection) {
    await connection.request("core.set_options", [{ legacy_jobs: false }]);
    /** @type {[string, object]|null} */
    let news = null;
    try {
      if (this.#session.active) {
        news = ["authenticated", { user: await this.#session.resume(connection) }];
      }
      await this.#restore(connection);
    } catch (error) {
      if (!(error instanceof LoginError)) throw error;
      this.#jobs.fail(error);
      news = ["unauthenticated", { error }];
    }
    return () => {
      this.#emit("open", {});
      if (news) this.#emit(...news);
    };
  }

  /** @param {Connection} connection */
  async #restore(connection) {
    /** @type {import("./client/topics.js").Request} */
    const request = (method, params) => connection.request(method, params);
    await this.#topics.restore(request);
    await this.#jobs.recover(request);
  }

  #lost() {
    this.#session.pause();
    this.#topics.forget();
  }

  /** @param {ConnectionLost} error What the tracked jobs are given up with. */
  #forget(error) {
    this.#session.forget();
    this.#topics.clear();
    this.#watching = null;
    this.#jobs.fail(error);
  }

  /** @param {import("./client/jobs.js").JobOptions} options */
  #makeHandle(options) {
    /** @param {number} id @param {boolean} force */
    const abort = async (id, force) => {
      if (force) await this.call("job.abort", id, { force });
      else await this.call("core.job_abort", id);
    };
    return new JobHandle(abort, options);
  }

  /** Subscribe to the jobs, once. */
  #watch() {
    const forget = () => {
      this.#watching = null;
    };
    const onEvent = this.#jobs.onEvent.bind(this.#jobs);
    // Without options: all clients share one copy, and recover() reads what it needs.
    /** @type {import("./client/topics.js").Request} */
    const request = async (method, params) =>
      this.#link.connection.request(method, params);
    const options = { onEnd: forget };
    this.#watching ??= this.#topics.add(request, JOBS, onEvent, options, true);
    this.#watching.catch(forget);
    return this.#watching;
  }

  /**
   * @param {string} method
   * @param {any} params
   */
  #notified(method, params) {
    if (method === "collection_update") {
      this.#topics.deliver(params);
    } else if (method === "notify_unsubscribed") {
      this.#topics.ended(params);
    }
  }

  /**
   * @param {string} type
   * @param {object} detail
   */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Tell whether a name takes no options: all collections, and those with arguments.
 *
 * @param {string} name
 */
function isPlain(name) {
  return name === "*" || name.includes(":");
}

/**
 * The time in a value of the wire.
 *
 * @param {{$date: number}|null|undefined} value
 * @returns {Date|null} Null for null.
 */
export function date(value) {
  return value ? new Date(value.$date) : null;
}
