/**
 * The errors of the client, and how the server's error objects become them.
 *
 * @module
 */

/**
 * @typedef {object} ErrorData What the server says about an error of a method.
 * @property {number} error The number of the error: an errno, or 201 and up.
 * @property {string} errname Its name, for example `"EPERM"`.
 * @property {string} reason One sentence for people, `"[EPERM] …"`.
 * @property {{class: string, formatted: string|null, repr: string}|null} trace
 *   The exception; `formatted` is the traceback, for others than full admins its last line.
 * @property {any} extra Details; `[[attribute, message, errno], …]` for params
 *   that were refused.
 */

/**
 * The server answered a call with an error.
 *
 * `message` is the server's reason where it gave one, else the text of the
 * JSON-RPC error; `rpcMessage` is always the latter.
 */
export class RpcError extends Error {
  /**
   * @param {number} code The JSON-RPC code, `-32001` for what a method raised.
   * @param {string} message The text of the JSON-RPC error.
   * @param {ErrorData|null} [data] What came with it.
   */
  constructor(code, message, data = null) {
    super((data?.reason || message).trim());
    this.name = "RpcError";
    /** @type {number} The JSON-RPC code. */
    this.code = code;
    /** @type {string} The text of the JSON-RPC error. */
    this.rpcMessage = message;
    /** @type {ErrorData|null} Everything the server said about it. */
    this.data = data;
  }

  /** The name of the error, for example `"EPERM"`; null where there is none. */
  get errname() {
    return this.data?.errname ?? null;
  }

  /** The number of the error; null where there is none. */
  get errno() {
    return this.data?.error ?? null;
  }

  /** The server's sentence for people; null where there is none. */
  get reason() {
    return this.data?.reason ?? null;
  }

  /** Details, for example the params that were refused and why. */
  get extra() {
    return this.data?.extra ?? null;
  }

  /** The exception behind it: class, text and, for full admins, traceback. */
  get trace() {
    return this.data?.trace ?? null;
  }
}

/**
 * The connection ended before an answer came, or there is none to send on.
 *
 * It is not known whether the server ran what was called: a job that it had
 * accepted goes on without the connection.
 */
export class ConnectionLost extends Error {
  /**
   * @param {string} message What happened.
   * @param {number|null} [closeCode] The WebSocket close code, if one was seen.
   */
  constructor(message, closeCode = null) {
    super(message);
    this.name = "ConnectionLost";
    /** @type {number|null} The WebSocket close code, if one was seen. */
    this.closeCode = closeCode;
  }
}

/**
 * The server does not know the job: it never did, the history was cut since, or
 * the connection broke before the call arrived.
 */
export class JobNotFound extends Error {
  /** @param {number|null} id The job; null when only the call is known. */
  constructor(id) {
    super(
      id === null
        ? "The connection was lost, and the server does not know of the call."
        : `The server knows no job ${id}.`,
    );
    this.name = "JobNotFound";
    /** @type {number|null} */
    this.id = id;
  }
}

/** The server did not accept the credentials. */
export class LoginError extends Error {
  /**
   * @param {string} responseType The server's word: `"AUTH_ERR"` for wrong or
   *   unknown credentials, `"EXPIRED"` for ones that are no longer good,
   *   `"DENIED"` for an account that may not log in here.
   */
  constructor(responseType) {
    super(LOGIN_TEXTS[responseType] ?? `The server answered ${responseType}.`);
    this.name = "LoginError";
    /** @type {string} */
    this.responseType = responseType;
  }
}

/** @type {Record<string, string>} */
const LOGIN_TEXTS = {
  AUTH_ERR: "The credentials are not right.",
  EXPIRED: "The credentials have expired.",
  DENIED: "This account may not log in here.",
};

/**
 * Say as an error how a job ended that did not succeed.
 *
 * For a job whose own answer was lost with the connection: the item of
 * `core.get_jobs` holds the same facts.
 *
 * @param {Record<string, any>} item A final item whose state is not SUCCESS, or
 *   whose result could not be encoded.
 * @returns {RpcError}
 */
export function errorFromItem(item) {
  if (item.state === "ABORTED") {
    const reason = `[ECANCELED] Job ${item.id} was aborted`;
    return methodError(125, "ECANCELED", reason, null, null);
  }
  if (item.state === "SUCCESS") {
    const what = item.result_encoding_error;
    const text = `[EFAULT] The result of job ${item.id} is not on the wire: `;
    return methodError(14, "EFAULT", text + (what.repr ?? what), null, null);
  }
  const info = item.exc_info ?? {};
  const reason = item.error ?? info.repr ?? `Job ${item.id} failed`;
  const trace = {
    class: info.type ?? "",
    formatted: item.exception,
    repr: info.repr ?? "",
  };
  const errname = /^\[([A-Z0-9]+)\]/.exec(reason)?.[1] ?? "EINVAL";
  const errno = info.errno ?? 22;
  return methodError(errno, errname, reason, trace, info.extra ?? null);
}

/**
 * @param {number} error
 * @param {string} errname
 * @param {string} reason
 * @param {ErrorData["trace"]} trace
 * @param {any} extra
 */
function methodError(error, errname, reason, trace, extra) {
  const data = { error, errname, reason, trace, extra };
  return new RpcError(-32001, "Method call error", data);
}
