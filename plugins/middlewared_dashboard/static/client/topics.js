/**
 * Subscriptions that outlive the connection they were made on.
 *
 * @module
 */

import { ConnectionLost } from "./errors.js";

/**
 * @typedef {object} CollectionEvent One event of a collection.
 * @property {"added"|"changed"|"removed"} msg
 * @property {string} collection The name that was subscribed to.
 * @property {any} [id]
 * @property {any} [fields]
 * @property {any} [extra]
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {(error: import("./errors.js").ErrorData|null) => void} [onEnd] The
 *   server ended the subscription: null when the source is exhausted.
 * @property {() => string} [renew] Gives the name to subscribe to after a
 *   reconnect; without it the same name again.
 */

/**
 * @typedef {object} Subscription
 * @property {string} name
 * @property {(event: CollectionEvent) => void} callback
 * @property {SubscribeOptions} options
 */

/**
 * @typedef {object} Topic What the server sends one copy of.
 * @property {Set<Subscription>} subscriptions
 * @property {Promise<string>} ident The server's name for it.
 */

/** @typedef {(method: string, params: any[]) => Promise<any>} Request */

/** All subscriptions of a client, and which of them the server knows. */
export class Topics {
  /** @type {Set<Subscription>} */
  #subscriptions = new Set();
  /** @type {Map<string, Topic>} */
  #topics = new Map();

  /**
   * @param {Request} request
   * @param {string} name
   * @param {(event: CollectionEvent) => void} callback
   * @param {SubscribeOptions} options
   * @returns {Promise<() => Promise<void>>} Call it to unsubscribe.
   */
  async add(request, name, callback, options) {
    const subscription = { name, callback, options };
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
   * A subscription that the server now refuses ends with the server's reason.
   *
   * @param {Request} request
   * @throws {ConnectionLost}
   */
  async restore(request) {
    await Promise.all(
      Array.from(this.#subscriptions, async (subscription) => {
        if (this.#isAttached(subscription)) return;
        subscription.name = subscription.options.renew?.() ?? subscription.name;
        try {
          await this.#attach(request, subscription);
        } catch (error) {
          if (error instanceof ConnectionLost) throw error;
          this.#end(subscription, /** @type {any} */ (error).data ?? null);
        }
      }),
    );
  }

  /**
   * Take a `collection_update` notification.
   *
   * @param {CollectionEvent} event
   */
  deliver(event) {
    const topic = this.#topics.get(event.collection);
    for (const subscription of [...(topic?.subscriptions ?? [])]) {
      guarded(() => subscription.callback(event));
    }
  }

  /**
   * Take a `notify_unsubscribed` notification.
   *
   * @param {string} name
   * @param {import("./errors.js").ErrorData|null} error
   */
  ended(name, error) {
    const topic = this.#topics.get(name);
    this.#topics.delete(name);
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
   */
  async #attach(request, subscription) {
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
  }

  /** @param {Subscription} subscription */
  #isAttached(subscription) {
    return this.#topics.get(subscription.name)?.subscriptions.has(subscription);
  }

  /**
   * @param {Subscription} subscription
   * @returns {Topic|null} The topic that nobody listens to any more.
   */
  #remove(subscription) {
    this.#subscriptions.delete(subscription);
    const topic = this.#topics.get(subscription.name);
    if (!topic?.subscriptions.delete(subscription)) return null;
    if (topic.subscriptions.size > 0) return null;
    this.#topics.delete(subscription.name);
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
