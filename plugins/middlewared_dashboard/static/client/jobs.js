/**
 * Jobs that were started or followed, tracked across reconnects.
 *
 * @module
 */

import { makeId, withResolvers } from "./connection.js";
import { ConnectionLost, errorFromItem, JobNotFound } from "./errors.js";
import { guarded } from "./topics.js";

/** The name of the collection of jobs. */
export const JOBS = "core.get_jobs";

const FINAL_STATES = new Set(["SUCCESS", "FAILED", "ABORTED"]);

/**
 * @typedef {Record<string, any>} JobItem An item of `core.get_jobs`: id, method,
 *   arguments, description, state, progress, result, error, exception, times …
 */

/**
 * @typedef {object} JobOptions
 * @property {(progress: {percent: number|null, description: string|null, extra: any},
 *   item: JobItem) => void} [onProgress] Called when the progress changed.
 * @property {(state: string, item: JobItem) => void} [onState] Called when the
 *   state changed.
 * @property {AbortSignal} [signal] Asks the server to abort the job.
 */

/**
 * Tell whether a job in *state* has ended.
 *
 * @param {string} state
 */
export function isFinal(state) {
  return FINAL_STATES.has(state);
}

/**
 * A job on the server, as seen from here.
 *
 * Await it for the result; iterate over it with `for await` for its items, one
 * per change. A reader that is slower than the job sees every state, but of one
 * state only the newest item. A job that is neither awaited nor iterated fails
 * in silence.
 *
 * @implements {PromiseLike<any>}
 */
export class JobHandle {
  /** @type {number|null} The id of the job; null until the server told it. */
  id = null;
  /** @type {JobItem|null} What the server said last. */
  item = null;
  /** @internal What the answer to the call will be known by. */
  requestId = makeId();
  /** @internal True once no answer to the call can come any more. */
  detached = false;
  /** @internal How often an event arrived. */
  events = 0;

  #result = withResolvers();
  #started = withResolvers();
  #settled = false;
  /** @type {Promise<any>|null|undefined} Undefined until the last item was seen. */
  #end;
  /** @type {Set<Queue>} */
  #queues = new Set();
  /** @type {JobOptions} */
  #options;
  /** @type {(id: number, force: boolean) => Promise<void>} */
  #abort;

  /**
   * @internal
   * @param {(id: number, force: boolean) => Promise<void>} abort
   * @param {JobOptions} options
   */
  constructor(abort, options) {
    this.#abort = abort;
    this.#options = options;
    // Whoever only iterates, or only awaits, must not be told of a rejection
    // that "nobody handled".
    this.#result.promise.catch(() => {});
    this.#started.promise.catch(() => {});
    const { signal } = options;
    const onAbort = () => this.abort().catch(() => {});
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    const release = () => signal?.removeEventListener("abort", onAbort);
    this.#result.promise.then(release, release);
  }

  /** The state the server told last; null before the first word of the job. */
  get state() {
    return this.item?.state ?? null;
  }

  /**
   * The id of the job, as soon as the server has stored it. Rejected when the
   * call is refused, or turns out not to be a job.
   *
   * @returns {Promise<number>}
   */
  get started() {
    return this.#started.promise;
  }

  /**
   * The result of the job.
   *
   * @param {((value: any) => any)|null} [onResult]
   * @param {((error: any) => any)|null} [onError] Gets an RpcError when the job
   *   failed, was refused or was aborted (errno 125, ECANCELED); ConnectionLost
   *   when the client was closed or what became of the call cannot be known.
   * @returns {Promise<any>}
   */
  then(onResult, onError) {
    return this.#result.promise.then(onResult, onError);
  }

  /**
   * @param {(error: any) => any} onError
   * @returns {Promise<any>}
   */
  catch(onError) {
    return this.#result.promise.catch(onError);
  }

  /**
   * @param {() => void} callback
   * @returns {Promise<any>}
   */
  finally(callback) {
    return this.#result.promise.finally(callback);
  }

  /**
   * Ask the server to abort the job.
   *
   * That it was asked is all this promise says. The job is aborted when its
   * state is ABORTED, which may be later, or never: it can end first.
   *
   * @param {{force?: boolean}} [options] `force` aborts a running job that is not
   *   abortable; for full admins.
   * @returns {Promise<void>}
   * @throws {import("./errors.js").RpcError} The server refuses, for example with
   *   EPERM because the job is not abortable.
   */
  async abort({ force = false } = {}) {
    await this.#abort(await this.started, force);
  }

  /** @returns {AsyncGenerator<JobItem, void, void>} */
  async *[Symbol.asyncIterator]() {
    const queue = new Queue();
    if (this.item) queue.put(this.item);
    if (this.#end !== undefined) queue.end(this.#end);
    this.#queues.add(queue);
    try {
      yield* queue.items();
    } finally {
      this.#queues.delete(queue);
    }
  }

  /** @internal True when nothing more is to be learned about the job. */
  get done() {
    return this.#settled && this.#end !== undefined;
  }

  /**
   * @internal
   * @param {JobItem} item
   */
  update(item) {
    const before = this.item;
    this.item = item;
    this.id = item.id;
    this.#started.resolve(item.id);
    for (const queue of this.#queues) queue.put(item);
    const { onState, onProgress } = this.#options;
    if (onState && before?.state !== item.state) {
      guarded(() => onState(item.state, item));
    }
    if (onProgress && differs(before?.progress, item.progress)) {
      guarded(() => onProgress(item.progress, item));
    }
    if (isFinal(item.state)) this.#finalItem(item);
  }

  /** @param {JobItem} item */
  #finalItem(item) {
    this.#close(null);
    // Before that, the answer to the call decides: it holds the result in clear.
    if (!this.detached) return;
    if (item.state === "SUCCESS" && !item.result_encoding_error) {
      this.resolve(item.result);
    } else {
      this.reject(errorFromItem(item));
    }
  }

  /**
   * @internal
   * @param {any} result
   */
  resolve(result) {
    this.#result.resolve(result);
    this.#settle(new TypeError("The method that was called is not a job."));
  }

  /**
   * @internal
   * @param {Error} error
   */
  reject(error) {
    this.#result.reject(error);
    this.#settle(error);
  }

  /**
   * @internal Give up: nothing more will be heard.
   * @param {Error} error
   */
  fail(error) {
    this.reject(error);
    this.#close(this.#result.promise);
  }

  /** @param {Error} error */
  #settle(error) {
    this.#settled = true;
    this.#started.reject(error);
    // Without an id there is no job, and no item will ever come.
    if (this.id === null) this.#close(this.#result.promise);
  }

  /** @param {Promise<any>|null} outcome What readers await after the last item. */
  #close(outcome) {
    if (this.#end !== undefined) return;
    this.#end = outcome;
    for (const queue of this.#queues) queue.end(outcome);
  }
}

/** What one reader of a job has not seen yet: at most one item per state. */
class Queue {
  /** @type {JobItem[]} */
  #items = [];
  /** @type {Promise<any>|null|undefined} */
  #outcome;
  #changed = withResolvers();

  /** @param {JobItem} item */
  put(item) {
    if (this.#items.at(-1)?.state === item.state) this.#items.pop();
    this.#items.push(item);
    this.#changed.resolve(undefined);
  }

  /** @param {Promise<any>|null} outcome Awaited last, so that it can throw. */
  end(outcome) {
    this.#outcome = outcome;
    this.#changed.resolve(undefined);
  }

  async *items() {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
      } else if (this.#outcome !== undefined) {
        await this.#outcome;
        return;
      } else {
        this.#changed = withResolvers();
        await this.#changed.promise;
      }
    }
  }
}

/**
 * @param {any} before
 * @param {any} after
 */
function differs(before, after) {
  return (
    before?.percent !== after.percent ||
    before.description !== after.description ||
    JSON.stringify(before.extra) !== JSON.stringify(after.extra)
  );
}

/** The jobs of a client that have not ended. */
export class JobTracker {
  /** @type {Set<JobHandle>} */
  #handles = new Set();
  /** @type {Map<string, JobHandle>} */
  #byRequest = new Map();
  /** @type {Map<number, Set<JobHandle>>} */
  #byId = new Map();

  /**
   * Call a job method and track the job.
   *
   * @param {JobHandle} handle
   * @param {(requestId: string) => Promise<any>} send
   */
  async start(handle, send) {
    this.#handles.add(handle);
    this.#byRequest.set(handle.requestId, handle);
    try {
      handle.resolve(await send(handle.requestId));
    } catch (error) {
      if (error instanceof ConnectionLost && this.#handles.has(handle)) {
        // recover() or fail() has the last word.
        handle.detached = true;
        return;
      }
      handle.reject(/** @type {Error} */ (error));
    }
    this.#release(handle);
  }

  /**
   * Track a job that somebody else started.
   *
   * @param {JobHandle} handle
   * @param {number} id
   * @param {import("./topics.js").Request} request
   */
  async follow(handle, id, request) {
    handle.detached = true;
    handle.id = id;
    this.#handles.add(handle);
    this.#index(handle, id);
    try {
      await this.#reread(handle, request);
    } catch (error) {
      // A lost connection is not the end: recover() reads again.
      if (!(error instanceof ConnectionLost)) handle.fail(/** @type {any} */ (error));
    }
    this.#release(handle);
  }

  /**
   * Take an event of `core.get_jobs`.
   *
   * @param {import("./topics.js").CollectionEvent} event
   */
  onEvent(event) {
    const item = event.fields;
    if (event.msg === "removed" || item === undefined) return;
    for (const requestId of item.message_ids) {
      const handle = this.#byRequest.get(requestId);
      if (handle !== undefined) this.#index(handle, item.id);
    }
    for (const handle of [...(this.#byId.get(item.id) ?? [])]) {
      handle.events += 1;
      handle.update(item);
      this.#release(handle);
    }
  }

  /**
   * After a reconnect: learn what became of the jobs.
   *
   * @param {import("./topics.js").Request} request
   * @throws {ConnectionLost}
   */
  async recover(request) {
    await Promise.all(
      Array.from(this.#handles, async (handle) => {
        handle.detached = true;
        try {
          await this.#reread(handle, request);
        } catch (error) {
          if (error instanceof ConnectionLost) throw error;
          handle.fail(/** @type {any} */ (error));
        }
        this.#release(handle);
      }),
    );
  }

  /**
   * Give up all jobs.
   *
   * @param {Error} error
   */
  fail(error) {
    for (const handle of this.#handles) handle.fail(error);
    this.#handles.clear();
    this.#byRequest.clear();
    this.#byId.clear();
  }

  /**
   * @param {JobHandle} handle
   * @param {import("./topics.js").Request} request
   */
  async #reread(handle, request) {
    const { id, requestId, events } = handle;
    const filter = id === null ? ["message_ids", "rin", requestId] : ["id", "=", id];
    const [item] = await request(JOBS, [[filter]]);
    if (handle.events > events) return; // an event is newer than this answer
    if (item === undefined) throw new JobNotFound(id);
    this.#index(handle, item.id);
    handle.update(item);
  }

  /**
   * @param {JobHandle} handle
   * @param {number} id
   */
  #index(handle, id) {
    const handles = this.#byId.get(id) ?? new Set();
    this.#byId.set(id, handles.add(handle));
  }

  /** @param {JobHandle} handle */
  #release(handle) {
    if (!handle.done) return;
    this.#handles.delete(handle);
    this.#byRequest.delete(handle.requestId);
    const handles = this.#byId.get(/** @type {number} */ (handle.id));
    if (handles?.delete(handle) && handles.size === 0) {
      this.#byId.delete(/** @type {number} */ (handle.id));
    }
  }
}
