/**
 * The live tail of a job's log.
 *
 * @module
 */

/** Where the reader of one log is, so that it can go on after a reconnect. */
export class LogTail {
  #id;
  #offset;
  #callback;

  /**
   * @param {number} id The job.
   * @param {number} offset The first byte to send.
   * @param {(text: string, offset: number) => void} callback
   */
  constructor(id, offset, callback) {
    this.#id = id;
    this.#offset = offset;
    this.#callback = callback;
  }

  /** The name of the collection that sends the rest of the log. */
  get name() {
    return `job.logs:${JSON.stringify({ id: this.#id, offset: this.#offset })}`;
  }

  /**
   * Take one event of the collection.
   *
   * @param {import("./topics.js").CollectionEvent} event
   */
  take({ fields }) {
    // Two subscriptions of one name bring every piece twice.
    if (fields.offset <= this.#offset) return;
    this.#offset = fields.offset;
    this.#callback(fields.data, fields.offset);
  }
}
