/**
 * Subscriptions that outlive the connection they were made on.
 *
 * @module
 */

import { Cursor } from "./cursor.js";
import { ConnectionLost, RpcError } from "./errors.js";

/**
 * @typedef {object} CollectionEvent One event of a collection.
 * @property {"added"|"changed"|"removed"} msg
 * @property {string} collection The name that was subscribed to.
 * @property {any} [id]
 * @property {any} [fields]
 * @property {any} [extra]
 * @property {boolean} [snapshot] It shows an item as it is; nothing happened to it.
 * @property {string} [epoch] With `seq`, the position of the event.
 * @property {number} [seq]
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {(error: import("./errors.js").ErrorData|null) => void} [onEnd] The
 *   server ended the subscription: null when the source is exhausted.
 * @property {(news: {recovered: boolean}) => void} [onResume] The subscription goes
 *   on after a lost connection, and all that was missed has come; `recovered` is false
 *   when something may be lost, so that what matters must be read again.
 * @property {import("./cursor.js").Position} [since] What was missed since then comes
 *   first.
 * @property {boolean} [snapshot] The items that there are come first; after a lost
 *   connection only when what was missed cannot be sent.
 * @property {any[]} [filters] Only items that match, conditions as in queries.
 * @property {any[]} [select] The fields to send, as in queries.
 * @property {number} [maxRate] Updates a second about one item.
 * @property {boolean} [removed] Whether `removed` is wanted.
 * @property {() => string} [renew] Gives the name to subscribe to after a
 *   reconnect; without it the same name again.
 */

/**
 * @typedef {object} Subscription
 * @property {string} name
 * @property {(event: CollectionEvent) => void} callback
 * @property {SubscribeOptions} options
 * @property {Cursor|null} cursor Null for names that take no options.
 * @property {string|null} tag Comes back in its events; null without options.
 */

/**
 * @typedef {object} Topic What the server sends one copy of.
 * @property {Set<Subscription>} subscriptions
 * @property {Promise<string>} ident The server's name for it.
 */

/** @typedef {(method: string, params: any[]) => Promise<any>} Request */

/** The number of the error of a collection that takes no options. */
const EOPNOTSUPP = 95;

/** All subscriptions of a client, and which of them the server knows. */
export class Topics {
  /** @type {Set<Subscription>} */
  #subscriptions = new Set();
  /** @type {Map<string, Topic>} By tag, or by name for those without one. */
  #topics = new Map();
  #lastTag = 0;

  /**
   * @param {Request} request
   * @param {string} name
   * @param {(event: CollectionEvent) => void} callback
   * @param {SubscribeOptions} options
   * @param {boolean} plain Without options: one copy of its events is for all.
   * @returns {Promise<() => Promise<void>>} Call it to unsubscribe.
   */
  async add(request, name, callback, options, plain) {
    const cursor = plain ? null : new Cursor(options.since ?? null);
    const tag = plain ? null : String((this.#lastTag += 1));
    const subscription = { name, callback, options, cursor, tag };
    this.#subscriptions.add(subscription);
    try {
      await this.#attach(request, subscription);
    } catch (error) {
      this.#remove(subscription);
      throw error;
    }
    return () => this.#unsubscribe(request, subscription);
  }

  /** The connection is gone, and what the server knew with it. */
  forget() {
    this.#topics.clear();
  }

  /** Drop every subscription, as the server does at logout. */
  clear() {
    this.#topics.clear();
    this.#subscriptions.clear();
  }

  /**
   * Subscribe again to all that the server does not know.
   *
   * A subscription that the server now refuses ends with the server's reason. Those
   * with options are not waited for: what they missed can be long.
   *
   * @param {Request} request
   * @throws {ConnectionLost}
   */
  async restore(request) {
    const plain = [];
    for (const subscription of this.#subscriptions) {
      if (this.#isAttached(subscription)) continue;
      subscription.name = subscription.options.renew?.() ?? subscription.name;
      const restored = this.#restore(request, subscription);
      if (subscription.cursor === null) plain.push(restored);
      // A connection that is lost again is known to whoever restores on the next.
      else restored.catch(() => {});
    }
    await Promise.all(plain);
  }

  /**
   * @param {Request} request
   * @param {Subscription} subscription
   * @throws {ConnectionLost}
   */
  async #restore(request, subscription) {
    let recovered;
    try {
      recovered = await this.#attach(request, subscription);
    } catch (error) {
      if (error instanceof ConnectionLost) throw error;
      this.#end(subscription, /** @type {any} */ (error).data ?? null);
      return;
    }
    guarded(() => subscription.options.onResume?.({ recovered }));
  }

  /**
   * Take a `collection_update` notification.
   *
   * @param {CollectionEvent & {tag?: string}} event
   */
  deliver({ tag, ...event }) {
    const topic = this.#topics.get(key(tag, event.collection));
    for (const subscription of [...(topic?.subscriptions ?? [])]) {
      subscription.cursor?.note(event);
      guarded(() => subscription.callback(event));
    }
  }

  /**
   * Take a `notify_unsubscribed` notification.
   *
   * @param {{collection: string, tag?: string,
   *   error: import("./errors.js").ErrorData|null}} params
   */
  ended({ collection, tag, error }) {
    const topic = this.#topics.get(key(tag, collection));
    this.#topics.delete(key(tag, collection));
    for (const subscription of topic?.subscriptions ?? []) {
      this.#end(subscription, error);
    }
  }

  /**
   * @param {Subscription} subscription
   * @param {import("./errors.js").ErrorData|null} error
   */
  #end(subscription, error) {
    this.#remove(subscription);
    guarded(() => subscription.options.onEnd?.(error));
  }

  /**
   * @param {Request} request
   * @param {Subscription} subscription
   * @returns {Promise<boolean>} False when something may be missing.
   */
  async #attach(request, subscription) {
    const { cursor } = subscription;
    if (cursor !== null) {
      try {
        return await this.#follow(request, subscription, cursor);
      } catch (error) {
        if (!isPlain(error, subscription)) throw error;
        // A collection that would take arguments, but needs none.
        this.#detach(subscription);
        subscription.cursor = subscription.tag = null;
      }
    }
    const { name } = subscription;
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      // Known before the answer: events may come first.
      const ident = request("core.subscribe", [name]);
      topic = { subscriptions: new Set(), ident };
      this.#topics.set(name, topic);
    }
    topic.subscriptions.add(subscription);
    await topic.ident;
    return false;
  }

  /**
   * @param {Request} request
   * @param {Subscription} subscription
   * @param {Cursor} cursor
   */
  async #follow(request, subscription, cursor) {
    const { name, tag } = subscription;
    const options = toWire(subscription.options);
    const answered = request("core.subscribe", [
      name,
      { ...options, tag, since: cursor.begin() },
    ]);
    const ident = answered.then(({ id }) => id);
    ident.catch(() => {}); // whoever attaches is told
    this.#topics.set(key(tag, name), {
      subscriptions: new Set([subscription]),
      ident,
    });
    const answer = await answered;
    cursor.settle(answer);
    return answer.recovered;
  }

  /** @param {Subscription} subscription */
  #isAttached(subscription) {
    const topic = this.#topics.get(key(subscription.tag, subscription.name));
    return topic?.subscriptions.has(subscription);
  }

  /**
   * @param {Subscription} subscription
   * @returns {Topic|null} The topic that nobody listens to any more.
   */
  #remove(subscription) {
    this.#subscriptions.delete(subscription);
    return this.#detach(subscription);
  }

  /**
   * @param {Subscription} subscription
   * @returns {Topic|null}
   */
  #detach(subscription) {
    const place = key(subscription.tag, subscription.name);
    const topic = this.#topics.get(place);
    if (!topic?.subscriptions.delete(subscription)) return null;
    if (topic.subscriptions.size > 0) return null;
    this.#topics.delete(place);
    return topic;
  }

  /**
   * @param {Request} request
   * @param {Subscription} subscription
   */
  async #unsubscribe(request, subscription) {
    const topic = this.#remove(subscription);
    if (topic === null) return;
    try {
      await request("core.unsubscribe", [await topic.ident]);
    } catch (error) {
      // A lost connection has unsubscribed everything.
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }
}

/**
 * Where a topic is kept. A space is in no name that takes options.
 *
 * @param {string|null|undefined} tag
 * @param {string} name
 */
function key(tag, name) {
  return tag === null || tag === undefined ? name : `${name} ${tag}`;
}

/**
 * Tell whether a subscription can do without the options that were refused.
 *
 * @param {any} error
 * @param {Subscription} subscription
 */
function isPlain(error, { options }) {
  const asked = options.since ?? Object.keys(toWire(options))[0];
  return error instanceof RpcError && error.errno === EOPNOTSUPP && !asked;
}

/** @param {SubscribeOptions} options */
function toWire({ snapshot, filters, select, maxRate, removed }) {
  const given = { snapshot, filters, select, max_rate: maxRate, removed };
  return Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  );
}

/**
 * Run a caller's function: its mistakes are its own, and must be seen.
 *
 * @param {() => void} callback
 */
export function guarded(callback) {
  try {
    callback();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
