/**
 * The log of a job, live while it runs.
 *
 * @module
 */

import { h, setText } from "./dom.js";
import { isFinal } from "./middlewared.js";

/** @typedef {Record<string, any>} JobItem */

/** Bytes of an older log that are loaded, and characters that are kept. */
const TAIL = 65_536;
const KEPT = 4 * TAIL;

/** Shows the end of one log. */
export class JobLog {
  #client;
  #pre = h("pre", {
    class: "code verbatim log",
    tabindex: "0",
    role: "log",
    "aria-label": "Log",
    "aria-live": "off",
  });
  #note = h("p", { class: "section-note" });
  element = h(
    "section",
    { class: "section", hidden: true },
    h("h3", {}, "Log"),
    this.#note,
    this.#pre,
  );
  /** @type {(() => Promise<void>)|null} */
  #stop = null;
  /** @type {number|null} The job whose log is shown. */
  #current = null;

  /** @param {import("./middlewared.js").Client} client */
  constructor(client) {
    this.#client = client;
  }

  /**
   * Show the log of a job from here on; nothing new if it is being shown.
   *
   * @param {JobItem} record As `job.get` gives it.
   */
  async open(record) {
    const { id } = record;
    if (this.#current === id) return;
    this.close();
    this.#current = id;
    try {
      const offset = await this.#readTail(record);
      if (this.#current !== id || isFinal(record.state)) return;
      const append = (/** @type {string} */ text) => this.#append(text, id);
      const stop = await this.#client.followLog(id, append, { offset });
      if (this.#current === id) this.#stop = stop;
      else await stop();
    } catch {
      // The log may be gone, or the connection: an excerpt is in the record.
      if (this.#current === id) this.#excerpt(record);
    }
  }

  /** Stop listening, and show nothing. */
  close() {
    this.#stop?.().catch(() => {});
    this.#stop = null;
    this.#current = null;
    this.#pre.replaceChildren();
    this.element.hidden = true;
    setText(this.#note, "");
  }

  /**
   * Show what is there, of a long log the end.
   *
   * @param {JobItem} record
   * @returns {Promise<number>} The offset after what was shown.
   */
  async #readTail({ id }) {
    const read = (/** @type {number} */ offset) =>
      this.#client.call("job.read_log", id, offset, TAIL);
    let part = await read(0);
    const skip = part.size - TAIL;
    if (skip > part.offset) {
      part = await read(skip);
      // It begins somewhere in a line.
      part.data = part.data.slice(part.data.indexOf("\n") + 1);
      this.#cut();
    }
    while (part.data !== "") {
      this.#append(part.data, id);
      part = await read(part.offset);
    }
    return part.offset;
  }

  /** @param {JobItem} record */
  #excerpt(record) {
    if (!record.logs_excerpt || this.#pre.hasChildNodes()) return;
    this.#pre.append(record.logs_excerpt);
    setText(this.#note, "Only an excerpt of the log is at hand.");
    this.element.hidden = false;
  }

  /**
   * @param {string} text
   * @param {number} id
   */
  #append(text, id) {
    if (this.#current !== id || text === "") return;
    const pre = this.#pre;
    this.element.hidden = false;
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 24;
    pre.append(text);
    let length = pre.textContent?.length ?? 0;
    while (length > KEPT && pre.childNodes.length > 1) {
      const first = /** @type {ChildNode} */ (pre.firstChild);
      length -= first.textContent?.length ?? 0;
      first.remove();
      this.#cut();
    }
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  }

  #cut() {
    setText(this.#note, "Only the end is shown. Download the log to read all of it.");
  }
}
