/**
 * Files beside the WebSocket: uploads to jobs, and where downloads are.
 *
 * @module
 */

import { ConnectionLost, RpcError } from "./errors.js";

/** Seconds that the token of an upload is good for; it is used at once. */
export const UPLOAD_TTL = 60;

/** Error numbers for the answers that carry none. */
const ERRNOS = { 401: 207, 403: 13, 413: 90, 429: 16, 503: 16 };
const EINVAL = 22;

/**
 * @typedef {object} UploadOptions
 * @property {(sent: number, total: number) => void} [onUpload] Called with the bytes
 *   that are sent so far, and all of them; in browsers only.
 */

/**
 * Give the address of a path of the server.
 *
 * @param {string} url Where its WebSocket is.
 * @param {string} path Below the path that the server is served at.
 */
export function besides(url, path) {
  return below(url, new URL(url).pathname.replace(/\/api\/.*$/, "") + path);
}

/**
 * Give the address of a path that the server named.
 *
 * @param {string} url Where its WebSocket is.
 * @param {string} path
 */
export function below(url, path) {
  if (!/^wss?:/.test(url)) throw new TypeError(`There is no HTTP at ${url}.`);
  return new URL(path, url.replace(/^ws/, "http")).href;
}

/**
 * Upload files and learn the id of their job.
 *
 * @param {string} url Where to.
 * @param {string} token
 * @param {object} wanted The method and its params.
 * @param {Iterable<Blob>} files
 * @param {UploadOptions & {signal?: AbortSignal}} options
 * @returns {Promise<number>}
 */
export async function sendFiles(url, token, wanted, files, options) {
  const form = new FormData();
  form.append("data", JSON.stringify(wanted));
  for (const file of files) form.append("file", file);
  const watched = options.onUpload && globalThis.XMLHttpRequest;
  const send = watched ? sendWatched : sendQuietly;
  const { status, text } = await send(url, token, form, options);
  if (status === 200) return JSON.parse(text).job_id;
  throw refusal(status, text.trim());
}

/**
 * @param {string} url
 * @param {string} token
 * @param {FormData} body
 * @param {{signal?: AbortSignal}} options
 */
async function sendQuietly(url, token, body, { signal }) {
  const headers = { Authorization: `Token ${token}` };
  try {
    const answer = await fetch(url, { method: "POST", headers, body, signal });
    return { status: answer.status, text: await answer.text() };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new ConnectionLost(`The upload broke off: ${error}.`);
  }
}

/**
 * Send in the one way that tells how far it is.
 *
 * @param {string} url
 * @param {string} token
 * @param {FormData} body
 * @param {UploadOptions & {signal?: AbortSignal}} options
 * @returns {Promise<{status: number, text: string}>}
 */
function sendWatched(url, token, body, { onUpload, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = ({ loaded, total }) => onUpload?.(loaded, total);
    request.onload = () => {
      resolve({ status: request.status, text: request.responseText });
    };
    request.onerror = () => reject(new ConnectionLost("The upload broke off."));
    request.onabort = () => reject(signal?.reason);
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.open("POST", url);
    request.setRequestHeader("Authorization", `Token ${token}`);
    request.send(body);
  });
}

/**
 * @param {number} status
 * @param {string} text
 */
function refusal(status, text) {
  const [, name] = /^\[(E[A-Z0-9]+)\] /.exec(text) ?? [];
  const error = /** @type {Record<number, number>} */ (ERRNOS)[status] ?? EINVAL;
  const errname = name ?? { 207: "ENOTAUTHENTICATED", 13: "EACCES" }[error] ?? "EINVAL";
  const reason = text || `The server answered HTTP ${status}.`;
  const data = { error, errname, reason, trace: null, extra: null };
  return new RpcError(-32001, "Method call error", data);
}
