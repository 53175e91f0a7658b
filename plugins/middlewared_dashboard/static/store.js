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

/** How many jobs are asked for at a time, and come with a snapshot. */
const PAGE = 1000;

/** So many jobs are kept before the oldest that have ended are let go. */
const CAPACITY = 10_000;

/** Listeners hear of changes at most this often, in milliseconds. */
const INTERVAL = 50;

/** Ends a subscription that is none. */
const NOTHING = Promise.resolve(async () => {});

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

/**
 * The list of jobs. Dispatches `change` with a {@link Change} as detail, and `item`
 * for each event of the job that is watched.
 */
export class JobStore extends EventTarget {
  #client;
  /** @type {Map<number, JobItem>} */
  #jobs = new Map();
  /** @type {number[]|null} Ids, newest first; null when they must be sorted. */
  #ids = [];
  /** @type {Set<Set<number>>} For each query under way, what events spoke of. */
  #touched = new Set();
  /** What the server spoke of since the connection was made. @type {Set<number>} */
  #heard = new Set();
  /** Ended jobs of a snapshot: how many, and the oldest. */
  #shown = { count: 0, oldest: Infinity };
  #oldest = Infinity;
  #subscribed = false;
  /** @type {{id: number|null, stop: Promise<() => Promise<void>>}} */
  #watched = { id: null, stop: NOTHING };
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
    client.addEventListener("close", () => this.#begin());
  }

  /**
   * Load the newest jobs and all that have not ended, and follow them.
   *
   * They come as a snapshot that the live events follow without a gap. After an
   * outage the subscription goes on by itself: what was missed comes, or another
   * snapshot when that is not possible.
   */
  async load() {
    if (this.#subscribed) return;
    this.#subscribed = true;
    this.#begin();
    try {
      await this.#client.subscribe(COLLECTION, (event) => this.#onEvent(event), {
        snapshot: true,
        removed: true,
        select: FIELDS,
        onResume: ({ recovered }) => this.#resumed(recovered),
        onEnd: () => {
          this.#subscribed = false;
        },
      });
    } catch (error) {
      this.#subscribed = false;
      throw error;
    }
    this.loading = false;
    this.#resumed(false);
  }

  /** Get ready for what the next connection says. */
  #begin() {
    this.#heard = new Set();
    this.#shown = { count: 0, oldest: Infinity };
  }

  /**
   * All that was missed, or all that there is, has come.
   *
   * @param {boolean} recovered False when it is a snapshot.
   */
  #resumed(recovered) {
    if (!recovered) {
      this.#forgetAllBut(this.#heard);
      this.complete = this.#shown.count < PAGE;
      this.#oldest = this.#shown.oldest;
    }
    // Of transient jobs only those are left that the server has just named.
    for (const [id, { transient }] of this.#jobs) {
      if (transient && !this.#heard.has(id)) this.#remove(id);
    }
    this.#heard.clear();
    this.#ids = null;
    this.#announce();
  }

  /** Load a page of jobs that are older than those of the last page. */
  async loadOlder() {
    await this.#query(async (query) => {
      const items = await query([["id", "<", this.#oldest]]);
      this.complete = items.length < PAGE;
      this.#oldest = items.at(-1)?.id ?? this.#oldest;
      return items;
    });
  }

  /**
   * Follow one job with all that its item has: each event is dispatched as `item`.
   *
   * @param {number|null} id The job; null for none any more.
   * @throws {import("./middlewared.js").ConnectionLost} It is not followed.
   */
  async watch(id) {
    if (this.#watched.id === id) return;
    const { stop } = this.#watched;
    const watched = { id, stop: id === null ? NOTHING : this.#subscribeTo(id) };
    this.#watched = watched;
    // One that was never made, or went with its connection, needs no end.
    stop.then((end) => end()).catch(() => {});
    try {
      await watched.stop;
    } catch (error) {
      if (this.#watched === watched) this.#watched = { id: null, stop: NOTHING };
      throw error;
    }
  }

  /** @param {number} id */
  #subscribeTo(id) {
    /** @param {import("./client/topics.js").CollectionEvent} event */
    const tell = ({ fields }) => {
      if (fields) this.dispatchEvent(new CustomEvent("item", { detail: fields }));
    };
    return this.#client.subscribe(COLLECTION, tell, { filters: [["id", "=", id]] });
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
   * @param {(query: (filters: any[]) => Promise<JobItem[]>) => Promise<JobItem[]>} ask
   */
  async #query(ask) {
    const touched = new Set();
    this.#touched.add(touched);
    const options = { order_by: ["-id"], limit: PAGE, select: FIELDS };
    try {
      const items = await ask((filters) =>
        this.#client.call(COLLECTION, filters, options),
      );
      for (const item of items) if (!touched.has(item.id)) this.#put(item);
    } finally {
      this.#touched.delete(touched);
    }
    this.#ids = null;
    this.#announce();
  }

  /** @param {Set<number>} ids */
  #forgetAllBut(ids) {
    for (const id of this.#jobs.keys()) if (!ids.has(id)) this.#jobs.delete(id);
  }

  /** @param {import("./client/topics.js").CollectionEvent} event */
  #onEvent(event) {
    const { fields, msg, id, snapshot } = event;
    for (const ids of this.#touched) ids.add(id);
    if (msg === "removed") {
      this.#heard.delete(id);
      this.#remove(id);
    } else if (snapshot) {
      this.#show(fields);
    } else {
      this.#heard.add(id);
      const before = this.#jobs.get(id);
      this.#put(fields);
      if (before?.state !== fields.state) this.#change.moved.push(fields);
    }
    this.#timer ??= setTimeout(() => this.#announce(), INTERVAL);
  }

  /**
   * Take an item of a snapshot.
   *
   * @param {JobItem} item
   */
  #show(item) {
    this.#heard.add(item.id);
    this.#put(item);
    if (isFinal(item.state) && !item.transient) {
      this.#shown.count += 1;
      this.#shown.oldest = Math.min(this.#shown.oldest, item.id);
    }
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
