/**
 * Everything about one job.
 *
 * @module
 */

import { AbortControl } from "./abort.js";
import { ProgressBar, showTime, StateBadge } from "./badge.js";
import { h, icon, setText } from "./dom.js";
import { duration, elapsed, owner, pretty } from "./format.js";
import { JobLog } from "./job-log.js";
import { date, isFinal } from "./middlewared.js";

/** @typedef {Record<string, any>} JobItem */

/** The panel that shows one job. */
export class JobDetail {
  #client;
  #store;
  /** @type {number|null} */
  #id = null;
  /** @type {JobItem|null} */
  #item = null;
  /** @type {JobItem} What events said while the record was being read. */
  #news = {};
  #badge = new StateBadge();
  #progress = new ProgressBar();
  #title = h("h2", { class: "detail-title", tabindex: "-1" });
  #description = h("p", { class: "detail-description" });
  #message = h("p", { class: "notice", role: "alert", hidden: true });
  #times = new Facts();
  #error = new Section("Error", { class: "error-text" });
  #result = new Section("Result", { class: "code" });
  #exception = new Section("Traceback", { class: "code verbatim" });
  #arguments = new Section("Arguments", { class: "code" });
  #abort;
  #log;
  #download = h(
    "button",
    { type: "button", class: "button", on: { click: () => this.#downloadLog() } },
    icon("download"),
    "Download log",
  );
  #actions;
  #body;
  element;

  /**
   * @param {import("./middlewared.js").Client} client
   * @param {import("./store.js").JobStore} store Dispatches `item` for every event of
   *   the job that it is told to watch.
   * @param {() => void} onClose
   */
  constructor(client, store, onClose) {
    this.#client = client;
    this.#store = store;
    this.#abort = new AbortControl(client);
    this.#log = new JobLog(client);
    this.#actions = h("div", { class: "actions" }, this.#abort.button, this.#download);
    this.#body = this.#layout();
    const label = "Close details";
    const close = h(
      "button",
      { type: "button", class: "icon-button", "aria-label": label, title: label },
      icon("close"),
    );
    close.addEventListener("click", onClose);
    this.element = h(
      "aside",
      { class: "detail", "aria-label": "Job details", hidden: true },
      h("div", { class: "detail-bar" }, this.#badge.element, close),
      this.#message,
      this.#body,
    );
    store.addEventListener("item", (event) => {
      const item = /** @type {CustomEvent} */ (event).detail;
      if (item.id !== this.#id) return;
      this.#news = item;
      if (this.#item) this.#show({ ...this.#item, ...item });
      // The record knows more of the end than the event: attempts, who aborted.
      if (isFinal(item.state)) this.refresh();
    });
    setInterval(() => this.#tick(), 1000);
  }

  /** The job that is shown, or null. */
  get id() {
    return this.#id;
  }

  /**
   * Show a job.
   *
   * @param {number} id
   */
  async open(id) {
    this.close();
    this.#id = id;
    this.element.hidden = false;
    await this.refresh();
    if (this.#id === id) this.#title.focus({ preventScroll: true });
  }

  /** Read the job again: after an outage, events may have been missed. */
  async refresh() {
    const id = this.#id;
    if (id === null) return;
    this.#news = {};
    try {
      await this.#store.watch(id);
      const record = await this.#client.call("job.get", id);
      // An event that came while we asked is newer than the answer.
      if (this.#id === id) this.#show({ ...record, ...this.#news });
    } catch (error) {
      if (this.#id === id && this.#item === null) this.#fail(error);
    }
  }

  /** Show nothing. */
  close() {
    if (this.#id !== null) this.#store.watch(null).catch(() => {});
    this.#id = null;
    this.#item = null;
    this.#log.close();
    this.#abort.show(null);
    this.element.hidden = true;
    this.#body.hidden = true;
    this.#badge.element.hidden = true;
    this.#message.hidden = true;
  }

  #layout() {
    return h(
      "div",
      { class: "detail-body", hidden: true },
      h("div", { class: "detail-head" }, this.#title, this.#description),
      this.#progress.element,
      this.#actions,
      this.#abort.outcome,
      this.#error.element,
      this.#times.element,
      this.#log.element,
      this.#result.element,
      this.#exception.element,
      this.#arguments.element,
    );
  }

  /** @param {any} error */
  #fail(error) {
    this.#message.hidden = false;
    setText(this.#message, error.message);
  }

  /** @param {JobItem} item */
  #show(item) {
    this.#item = item;
    this.#body.hidden = false;
    this.#badge.element.hidden = false;
    this.#badge.show(item.state);
    setText(this.#title, `${item.method} #${item.id}`);
    setText(this.#description, item.description ?? "");
    this.#progress.show(item);
    this.#abort.show(item);
    this.#download.hidden = !item.logs_path;
    this.#actions.hidden = isFinal(item.state) && !item.logs_path;
    this.#error.show(item.error);
    this.#exception.show(item.exception);
    this.#result.show(resultText(item));
    this.#arguments.show(pretty(item.arguments));
    this.#times.show(item);
    if (item.logs_path) this.#log.open(item);
  }

  #tick() {
    if (this.#item && !isFinal(this.#item.state)) this.#times.show(this.#item);
  }

  async #downloadLog() {
    const id = this.#id;
    this.#message.hidden = true;
    try {
      const path = await this.#client.call("core.job_download_logs", id, `${id}.log`);
      // A proxy may have put something in front of it that the server does not know.
      const root = new URL("..", import.meta.url).pathname;
      const href = path.startsWith(root) ? path : root + path.slice(1);
      h("a", { href, download: `${id}.log` }).click();
    } catch (error) {
      this.#fail(error);
    }
  }
}

/**
 * @param {JobItem} item
 * @returns {string|null} Null before the job has succeeded.
 */
function resultText(item) {
  if (item.state !== "SUCCESS") return null;
  const problem = item.result_encoding_error;
  if (problem) return `The result cannot be shown: ${problem.repr ?? problem}`;
  return pretty(item.result ?? null);
}

/** A heading with a block of text; hidden while there is none. */
class Section {
  #content;
  element;

  /**
   * @param {string} title
   * @param {Record<string, any>} props
   */
  constructor(title, props) {
    this.#content = h("pre", { tabindex: "0", "aria-label": title, ...props });
    const head = h("h3", {}, title);
    this.element = h(
      "section",
      { class: "section", hidden: true },
      head,
      this.#content,
    );
  }

  /** @param {string|null|undefined} text */
  show(text) {
    this.element.hidden = text === null || text === undefined;
    setText(this.#content, text ?? "");
  }
}

/** Times and owner of a job. */
class Facts {
  #created = h("time");
  #started = h("time");
  #finished = h("time");
  #duration = h("span");
  #owner = h("span");
  #attempt = h("span");
  element;
  /** @type {[HTMLElement, HTMLElement][]} */
  #rows = [];

  constructor() {
    this.element = h(
      "dl",
      { class: "facts" },
      this.#row("Owner", this.#owner),
      this.#row("Created", this.#created),
      this.#row("Started", this.#started),
      this.#row("Finished", this.#finished),
      this.#row("Duration", this.#duration),
      this.#row("Attempt", this.#attempt),
    );
  }

  /** @param {JobItem} item */
  show(item) {
    const [created, started, finished] = ["created", "started", "finished"].map(
      (name) => date(item[`time_${name}`]),
    );
    showTime(this.#created, created, { full: true });
    showTime(this.#started, started, { full: true });
    showTime(this.#finished, finished, { full: true });
    const waited = created && started ? started.getTime() - created.getTime() : 0;
    const after = waited >= 1000 ? `, after waiting ${duration(waited)}` : "";
    const ran = elapsed(item, Date.now());
    setText(this.#duration, ran && ran + after);
    setText(this.#owner, owner(item));
    setText(this.#attempt, item.attempt > 1 ? String(item.attempt) : "");
    for (const [row, value] of this.#rows) row.hidden = value.textContent === "";
  }

  /**
   * @param {string} name
   * @param {HTMLElement} value
   */
  #row(name, value) {
    const row = h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, value));
    this.#rows.push([row, value]);
    return row;
  }
}
