/**
 * Where a subscription is in the events of its collection.
 *
 * @module
 */

/**
 * @typedef {object} Position Of an event; to go on from with `since`.
 * @property {string} epoch Names the server's database.
 * @property {number} seq The number of the event.
 */

/**
 * @typedef {object} Answer What the server says to a subscription with options.
 * @property {string} id
 * @property {string|null} epoch Null when the events are not kept.
 * @property {number|null} seq
 * @property {boolean} recovered False when something may be missing.
 */

/** What the next connection goes on from. */
export class Cursor {
  /** @type {Position|null} */
  #position;
  /** @type {Position|null} The newest event since the subscription was asked for. */
  #newest = null;
  #settled = true;

  /** @param {Position|null} since Where to begin. */
  constructor(since) {
    this.#position = since;
  }

  /**
   * Subscribe, now or again.
   *
   * @returns {Position|null} What to go on from.
   */
  begin() {
    this.#newest = null;
    this.#settled = true;
    return this.#position;
  }

  /**
   * Take note of an event.
   *
   * @param {import("./topics.js").CollectionEvent} event
   */
  note({ epoch, seq, snapshot }) {
    // Whether something was lost is known only with the answer: a connection that
    // breaks before it has to begin where the last one did.
    if (snapshot) this.#settled = false;
    if (epoch === undefined || seq === undefined) return;
    this.#newest = { epoch, seq };
    if (this.#settled) this.#position = this.#newest;
  }

  /**
   * Take the answer: everything up to it has come.
   *
   * @param {Answer} answer
   */
  settle({ epoch, seq }) {
    this.#settled = true;
    if (epoch === null || seq === null) return;
    this.#position = this.#newest ?? { epoch, seq };
  }
}
