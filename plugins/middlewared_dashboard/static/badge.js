/**
 * Small pieces that show a job: state, progress bar, time.
 *
 * @module
 */

import { h, icon, setAttribute, setText } from "./dom.js";
import { fullTime, percent, shortTime, stateLabel } from "./format.js";

/** The state of a job, as icon and text. */
export class StateBadge {
  element = h("span", { class: "badge" });
  /** @type {string|null} */
  #state = null;

  /** @param {string} state */
  show(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.element.dataset.state = state;
    this.element.replaceChildren(icon(state.toLowerCase()), stateLabel(state));
  }
}

/** The progress of a job: bar, percent and text. */
export class ProgressBar {
  #fill = h("span", { class: "bar-fill" });
  #bar = h("span", { class: "bar", role: "progressbar" }, this.#fill);
  #percent = h("span", { class: "progress-percent" });
  #text = h("span", { class: "progress-text" });
  element = h(
    "div",
    { class: "progress" },
    h("div", { class: "progress-line" }, this.#bar, this.#percent),
    this.#text,
  );

  /** @param {Record<string, any>} item */
  show(item) {
    const value = percent(item);
    const text = item.progress?.description ?? "";
    this.element.dataset.state = item.state;
    this.element.classList.toggle("indeterminate", value === null);
    this.#fill.style.width = `${value ?? 100}%`;
    setText(this.#percent, value === null ? "" : `${Math.round(value)}%`);
    setText(this.#text, text);
    this.#text.title = text;
    const label = `Progress of job ${item.id}`;
    setAttribute(this.#bar, "aria-label", label);
    setAttribute(this.#bar, "aria-valuenow", value);
    setAttribute(
      this.#bar,
      "aria-valuetext",
      text && value !== null ? `${Math.round(value)}%, ${text}` : text || null,
    );
  }
}

/**
 * Show a time in *element*.
 *
 * @param {HTMLElement} element
 * @param {Date|null} when
 * @param {{full?: boolean}} [options]
 */
export function showTime(element, when, { full = false } = {}) {
  setText(element, when === null ? "" : full ? fullTime(when) : shortTime(when));
  setAttribute(element, "datetime", when?.toISOString());
  element.title = when === null || full ? "" : fullTime(when);
}
