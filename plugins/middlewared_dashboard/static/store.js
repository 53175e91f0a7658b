/**
 * The jobs the page knows, kept current by events.
 *
 * @module
 */

import { isFinal } from "./middlewared.js";
import { owner } from "./format.js";

/** @typedef {Record<string, any>} JobItem */

/**
 * @typedef {object} Change What happened since the last one.
 * @property {Set<number>} changed Ids of jobs that are new or different.
 * @property {JobItem[]} moved Jobs whose state changed by an event.
 */

const COLLECTION = "core.get_jobs";

/** How many jobs are asked for at a time. */
const PAGE = 1000;

/** So many jobs are kept before the oldest that have ended are let go. */
const CAPACITY = 10_000;

/** Milliseconds that a transient job stays in the list after its end. */
const TRANSIENT = 60_000;

/** Listeners hear of changes at most this often, in milliseconds. */
const INTERVAL = 50;

// What the list shows. Results and tracebacks can be large; the details read them.
const FIELDS = [
  "id",
  "method",
  "description",
  "state",
  "progress",
  "error",
  "transient",
  "time_started",
  "time_finished",
  "credentials",
];

/** The list of jobs. Dispatches `change` with a {@link Change} as detail. */
export class JobStore extends EventTarget {
  #client;
  /** @type {Map<number, JobItem>} */
  #jobs = new Map();
  /** @type {number[]|null} Ids, newest first; null when they must be sorted. */
  #ids = [];
  /** @type {Set<Set<number>>} For each query under way, what events spoke of. */
  #touched = new Set();
  #oldest = Infinity;
  #subscribed = false;
  /** @type {Change} */
  #change = { changed: new Set(), moved: [] };
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  /** True once the oldest job there is was loaded. */
  complete = false;
  /** True while the first page is loading. */
  loading = true;

  /** @param {import("./middlewared.js").Client} client */
  constructor(client) {
    super();
    this.#client = client;
  }

  /**
   * Load the newest jobs and all that have not ended; again after an outage.
   *
   * The subscription comes first, so that no change falls between the two.
   */
  async load() {
    if (!this.#subscribed) {
      await this.#client.subscribe(COLLECTION, (event) => this.#onEvent(event));
      this.#subscribed = true;
    }
    const unfinished = [["state", "in", ["WAITING", "RUNNING"]]];
    await this.#query(async (query) => {
      const pages = await Promise.all([query([]), query(unfinished)]);
      this.loading = false;
      this.#oldest = Infinity;
      this.#seen(pages[0]);
      return { items: pages.flat(), only: true };
    });
  }

  /** Load a page of jobs that are older than those of the last page. */
  async loadOlder() {
    await this.#query(async (query) => {
      const items = await query([["id", "<", this.#oldest]]);
      this.#seen(items);
      return { items, only: false };
    });
  }

  /** Ids of all jobs, newest first. */
  get ids() {
    this.#ids ??= [...this.#jobs.keys()].sort((a, b) => b - a);
    return this.#ids;
  }

  /** @param {number} id */
  get(id) {
    return this.#jobs.get(id);
  }

  /**
   * Ask for jobs, and keep the answer as far as no event knows better: what an
   * event says that came while the question was under way is newer.
   *
   * @param {(query: (filters: any[]) => Promise<JobItem[]>) =>
   *   Promise<{items: JobItem[], only: boolean}>} ask With `only`, jobs that are
   *   not among the items are forgotten.
   */
  async #query(ask) {
    const touched = new Set();
    this.#touched.add(touched);
    const options = { order_by: ["-id"], limit: PAGE, select: FIELDS };
    try {
      const { items, only } = await ask((filters) =>
        this.#client.call(COLLECTION, filters, options),
      );
      if (only) this.#forgetAllBut(touched);
      for (const item of items) if (!touched.has(item.id)) this.#put(item);
    } finally {
      this.#touched.delete(touched);
    }
    this.#ids = null;
    this.#announce();
  }

  /** @param {JobItem[]} page */
  #seen(page) {
    this.complete = page.length < PAGE;
    this.#oldest = page.at(-1)?.id ?? this.#oldest;
  }

  /** @param {Set<number>} ids */
  #forgetAllBut(ids) {
    for (const id of this.#jobs.keys()) if (!ids.has(id)) this.#jobs.delete(id);
  }

  /** @param {import("./client/topics.js").CollectionEvent} event */
  #onEvent(event) {
    const { fields, msg, id } = event;
    if (msg === "removed") {
      this.#remove(id);
    } else {
      const before = this.#jobs.get(fields.id);
      for (const ids of this.#touched) ids.add(fields.id);
      this.#put(fields);
      if (before?.state !== fields.state) this.#change.moved.push(fields);
      this.dispatchEvent(new CustomEvent("item", { detail: fields }));
      // The server forgets it soon, and does not tell.
      if (fields.transient && isFinal(fields.state)) {
        setTimeout(() => this.#remove(fields.id), TRANSIENT);
      }
    }
    this.#timer ??= setTimeout(() => this.#announce(), INTERVAL);
  }

  /** @param {number} id */
  #remove(id) {
    this.#jobs.delete(id);
    this.#ids = null;
    this.#change.changed.add(id);
    this.#timer ??= setTimeout(() => this.#announce(), INTERVAL);
  }

  /** @param {JobItem} item */
  #put(item) {
    if (!this.#jobs.has(item.id)) this.#ids = null;
    const kept = Object.fromEntries(FIELDS.map((name) => [name, item[name]]));
    this.#jobs.set(item.id, kept);
    this.#change.changed.add(item.id);
  }

  #announce() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#jobs.size > CAPACITY) this.#trim();
    const detail = this.#change;
    this.#change = { changed: new Set(), moved: [] };
    this.dispatchEvent(new CustomEvent("change", { detail }));
  }

  /** Let go of the oldest jobs that have ended. */
  #trim() {
    const tail = this.ids.slice(CAPACITY * 0.9);
    for (const id of tail) {
      if (isFinal(this.#jobs.get(id)?.state)) this.#jobs.delete(id);
    }
    this.#oldest = tail[0] + 1;
    this.#ids = null;
    this.complete = false;
  }
}

/**
 * Tell whether a job is one that the user looks for.
 *
 * @param {JobItem} item
 * @param {string} text Lower case; every word must occur.
 */
export function matches(item, text) {
  if (!text) return true;
  const all = [
    `#${item.id}`,
    item.method,
    item.description,
    item.error,
    item.progress?.description,
    owner(item),
  ];
  const hay = all.join("\n").toLowerCase();
  return text.split(/\s+/).every((word) => hay.includes(word));
}
