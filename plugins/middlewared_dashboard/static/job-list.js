/**
 * The list of jobs, with its filter.
 *
 * @module
 */

import { StateBadge, ProgressBar, showTime } from "./badge.js";
import { h, icon, setText } from "./dom.js";
import { elapsed, owner, STATES } from "./format.js";
import { date, isFinal } from "./middlewared.js";
import { matches } from "./store.js";

/** @typedef {Record<string, any>} JobItem */

/** How many more rows a press on "show more" draws. */
const ROWS = 200;

const COLUMNS = ["State", "Job", "Progress", "Started", "Duration", "Owner"];

/** One row of the table. */
class Row {
  #badge = new StateBadge();
  #progress = new ProgressBar();
  #method = h("span", { class: "job-method" });
  #description = h("span", { class: "job-description" });
  #error = h("span", { class: "job-error" });
  #started = h("time");
  #duration = h("td", { class: "col-duration" });
  #owner = h("td", { class: "col-owner" });
  #link;
  element;
  /** @type {JobItem} */
  item;

  /** @param {JobItem} item */
  constructor(item) {
    this.item = item;
    const id = h("span", { class: "job-id" }, `#${item.id}`);
    this.#link = h(
      "a",
      { class: "job-link", href: `#job=${item.id}` },
      this.#method,
      " ",
      id,
    );
    this.element = h(
      "tr",
      { data: { job: item.id } },
      h("td", { class: "col-state" }, this.#badge.element),
      h("td", { class: "col-job" }, this.#link, this.#description, this.#error),
      h("td", { class: "col-progress" }, this.#progress.element),
      h("td", { class: "col-started" }, this.#started),
      this.#duration,
      this.#owner,
    );
    this.show(item);
  }

  /** @param {JobItem} item */
  show(item) {
    this.item = item;
    this.element.dataset.state = item.state;
    this.#badge.show(item.state);
    this.#progress.show(item);
    setText(this.#method, item.method);
    setText(this.#description, item.description ?? "");
    setText(this.#error, item.error ?? "");
    showTime(this.#started, date(item.time_started));
    setText(this.#owner, owner(item));
    this.tick();
  }

  /** Move the clock of a running job. */
  tick() {
    setText(this.#duration, elapsed(this.item, Date.now()));
  }

  /** @param {boolean} selected */
  select(selected) {
    this.element.classList.toggle("selected", selected);
    if (selected) this.#link.setAttribute("aria-current", "true");
    else this.#link.removeAttribute("aria-current");
  }
}

/** The jobs, newest first, filtered by state and text. */
export class JobList {
  #store;
  /** @type {Map<number, Row>} */
  #rows = new Map();
  #limit = ROWS;
  #found = 0;
  /** @type {number|null} */
  #selected = null;
  #filter = new Filter(() => this.#filtered());
  #body = h("tbody");
  #notice = h("p", { class: "notice" });
  #more = h("button", {
    type: "button",
    class: "button more",
    on: { click: () => this.#showMore() },
  });
  #count = h("span", { class: "count" });
  element;

  /** @param {import("./store.js").JobStore} store */
  constructor(store) {
    this.#store = store;
    const heads = COLUMNS.map((name) =>
      h("th", { scope: "col", class: `col-${name.toLowerCase()}` }, name),
    );
    const table = h(
      "table",
      { class: "jobs", "aria-label": "Jobs, newest first" },
      h("thead", {}, h("tr", {}, ...heads)),
      this.#body,
    );
    const footer = h("div", { class: "list-footer" }, this.#more, this.#count);
    this.element = h(
      "section",
      { class: "list", "aria-label": "Jobs" },
      this.#filter.element,
      h("div", { class: "list-scroll" }, table, this.#notice, footer),
    );
    this.#body.addEventListener("click", (event) => this.#clicked(event));
    this.#body.addEventListener("keydown", (event) => this.#keyPressed(event));
    store.addEventListener("change", (event) => {
      this.#render(/** @type {CustomEvent} */ (event).detail.changed);
    });
    setInterval(() => this.#tick(), 1000);
    this.#render(new Set());
  }

  /** @param {string} text Why there is no list. */
  showProblem(text) {
    this.#notice.hidden = false;
    setText(this.#notice, text);
  }

  /** Put the cursor into the search field. */
  focusSearch() {
    this.#filter.focus();
  }

  /** @param {number|null} id */
  select(id) {
    if (this.#selected !== null) this.#rows.get(this.#selected)?.select(false);
    this.#selected = id;
    if (id !== null) this.#rows.get(id)?.select(true);
  }

  /** Put the focus on the row of a job, if it is drawn. */
  focusRow(/** @type {number} */ id) {
    this.#rows.get(id)?.element.querySelector("a")?.focus();
  }

  #filtered() {
    this.#limit = ROWS;
    this.#render(new Set());
  }

  /** @param {Set<number>} changed Jobs whose rows are out of date. */
  #render(changed) {
    const { state, text } = this.#filter;
    const { ids } = this.#store;
    /** @type {Record<string, number>} */
    const counts = {};
    /** @type {JobItem[]} */
    const found = [];
    for (const id of ids) {
      const item = /** @type {JobItem} */ (this.#store.get(id));
      if (!matches(item, text)) continue;
      counts[item.state] = (counts[item.state] ?? 0) + 1;
      if (!state || item.state === state) found.push(item);
    }
    this.#filter.showCounts(counts);
    this.#found = found.length;
    this.#draw(found.slice(0, this.#limit), changed);
    this.#foot();
  }

  /**
   * @param {JobItem[]} items
   * @param {Set<number>} changed
   */
  #draw(items, changed) {
    const wanted = new Set(items.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    // The order never changes, so no row is moved: a moved one loses the focus.
    let cursor = this.#body.firstElementChild;
    for (const item of items) {
      const row = this.#rows.get(item.id);
      if (row !== undefined) {
        if (changed.has(item.id)) row.show(item);
        cursor = row.element.nextElementSibling;
        continue;
      }
      const made = new Row(item);
      made.select(item.id === this.#selected);
      this.#rows.set(item.id, made);
      this.#body.insertBefore(made.element, cursor);
    }
  }

  #foot() {
    const drawn = this.#rows.size;
    const found = this.#found;
    const { complete, loading, ids } = this.#store;
    this.#more.hidden = loading || (drawn >= found && complete);
    setText(
      this.#more,
      drawn < found ? `Show ${Math.min(ROWS, found - drawn)} more` : "Load older jobs",
    );
    setText(this.#count, found > 0 ? `${drawn} of ${found} jobs shown` : "");
    this.#notice.hidden = found > 0;
    if (loading) setText(this.#notice, "Loading jobs…");
    else if (ids.length > 0) setText(this.#notice, "No job matches the filter.");
    else setText(this.#notice, EMPTY);
  }

  async #showMore() {
    this.#limit = this.#rows.size + ROWS;
    if (this.#rows.size < this.#found) {
      this.#render(new Set());
      return;
    }
    try {
      await this.#store.loadOlder();
    } catch (error) {
      setText(this.#count, /** @type {Error} */ (error).message);
    }
  }

  #tick() {
    for (const row of this.#rows.values()) if (!isFinal(row.item.state)) row.tick();
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const target = /** @type {Element} */ (event.target);
    const id = target.closest("tr")?.dataset.job;
    const selection = String(document.getSelection());
    if (id && !target.closest("a") && !selection) location.hash = `job=${id}`;
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const row = /** @type {Element} */ (event.target).closest("tr");
    const next =
      event.key === "ArrowDown"
        ? row?.nextElementSibling
        : event.key === "ArrowUp"
          ? row?.previousElementSibling
          : null;
    const link = next?.querySelector("a");
    if (!link) return;
    event.preventDefault();
    link.focus();
  }
}

const EMPTY = "No jobs yet. Start one in a terminal: middlewared call -j demo.sleep 30";

/** Search field and states to choose from. */
class Filter {
  /** The chosen state, or empty for all. */
  state = "";
  /** What is searched for, lower case. */
  text = "";
  #search;
  /** @type {Map<string, HTMLElement>} */
  #counts = new Map();
  element;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#search = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "search",
        class: "search-input",
        placeholder: "Search jobs",
        "aria-label": "Search jobs",
        "aria-keyshortcuts": "/",
        autocomplete: "off",
        spellcheck: "false",
        on: {
          input: () => {
            this.text = this.#search.value.trim().toLowerCase();
            onChange();
          },
        },
      })
    );
    const choices = ["", ...Object.keys(STATES)].map((state) =>
      this.#choice(state, onChange),
    );
    const legend = h("legend", { class: "visually-hidden" }, "State");
    this.element = h(
      "form",
      { class: "toolbar", role: "search", on: { submit: prevent } },
      h("div", { class: "search" }, icon("search"), this.#search),
      h("fieldset", { class: "chips" }, legend, ...choices),
    );
  }

  focus() {
    this.#search.focus();
    this.#search.select();
  }

  /** @param {Record<string, number>} counts How many jobs match in each state. */
  showCounts(counts) {
    let all = 0;
    for (const number of Object.values(counts)) all += number;
    for (const [state, element] of this.#counts) {
      const number = state ? (counts[state] ?? 0) : all;
      setText(element, number.toLocaleString());
    }
  }

  /**
   * @param {string} state
   * @param {() => void} onChange
   */
  #choice(state, onChange) {
    const label = state ? STATES[/** @type {keyof typeof STATES} */ (state)] : "All";
    const count = h("span", { class: "chip-count" });
    this.#counts.set(state, count);
    const input = h("input", {
      type: "radio",
      name: "state",
      value: state,
      class: "visually-hidden",
      checked: state === "",
      on: {
        change: () => {
          this.state = state;
          onChange();
        },
      },
    });
    const mark = state ? icon(state.toLowerCase()) : null;
    return h("label", { class: "chip", data: { state } }, input, mark, label, count);
  }
}

/** @param {Event} event */
function prevent(event) {
  event.preventDefault();
}
