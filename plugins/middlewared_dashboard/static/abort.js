/**
 * The abort button, which never says more than the server did.
 *
 * @module
 */

import { h, icon, setText } from "./dom.js";
import { duration, stateLabel } from "./format.js";
import { isFinal } from "./middlewared.js";

/** @typedef {Record<string, any>} JobItem */

/**
 * @typedef {object} Request What became of the wish to abort one job.
 * @property {number} at When it was made, milliseconds.
 * @property {string|null} refusal Why the server refuses; null if it did not.
 * @property {boolean} forcible True if a full admin could insist.
 * @property {string} [by] Who made it, if it was not made here.
 */

/** The button, and a line that tells what came of it. */
export class AbortControl {
  #client;
  /** @type {Map<number, Request>} */
  #requests = new Map();
  /** @type {JobItem|null} */
  #item = null;
  #button = h(
    "button",
    { type: "button", class: "button danger", on: { click: () => this.#ask(false) } },
    icon("aborted"),
    "Abort",
  );
  #force = h(
    "button",
    { type: "button", class: "button danger", on: { click: () => this.#ask(true) } },
    "Abort by force",
  );
  #dialog = new Confirmation();
  /** Belongs next to the other actions of the job. */
  button = h("span", { class: "abort" }, this.#button, this.#dialog.element);
  #text = h("span");
  /** Tells what came of it; belongs under the actions. */
  outcome = h(
    "p",
    { class: "outcome", role: "status", hidden: true },
    this.#text,
    this.#force,
  );

  /** @param {import("./middlewared.js").Client} client */
  constructor(client) {
    this.#client = client;
    setInterval(() => this.#render(), 1000);
  }

  /** @param {JobItem|null} item The job as the server told it last. */
  show(item) {
    if (item?.id !== this.#item?.id) this.#dialog.close();
    this.#item = item;
    this.#render();
  }

  /** @param {boolean} force */
  async #ask(force) {
    const item = this.#item;
    if (item === null || !(await this.#dialog.confirm(item, force))) return;
    const request = { at: Date.now(), refusal: null, forcible: false };
    this.#requests.set(item.id, request);
    this.#render();
    try {
      if (force) await this.#client.call("job.abort", item.id, { force: true });
      else await this.#client.call("core.job_abort", item.id);
    } catch (error) {
      const { message, errname } = /** @type {any} */ (error);
      const forcible = errname === "EPERM" && !item.abortable && !force;
      this.#requests.set(item.id, { ...request, refusal: message, forcible });
    }
    this.#render();
  }

  #render() {
    const item = this.#item;
    if (item === null) return;
    const request = this.#requests.get(item.id) ?? recorded(item);
    const ended = isFinal(item.state);
    this.button.hidden = ended;
    this.#force.hidden = ended || !request?.forcible;
    const pending = request !== undefined && request.refusal === null && !ended;
    this.#button.toggleAttribute("disabled", pending);
    const text = request === undefined ? "" : outcomeText(item, request);
    setText(this.#text, text);
    this.outcome.hidden = text === "";
    this.outcome.classList.toggle("refused", Boolean(request?.refusal) && !ended);
    this.outcome.classList.toggle("pending", pending);
  }
}

/**
 * What the record of a job knows of a wish to abort it.
 *
 * @param {JobItem} item
 * @returns {Request|undefined}
 */
function recorded({ abort }) {
  if (!abort) return undefined;
  return { at: abort.at.$date, refusal: null, forcible: false, by: abort.by };
}

/**
 * @param {JobItem} item
 * @param {Request} request
 */
function outcomeText(item, { at, refusal, by }) {
  if (item.state === "ABORTED") return `The job was aborted${by ? ` by ${by}` : ""}.`;
  if (isFinal(item.state)) {
    const state = stateLabel(item.state);
    return refusal === null
      ? `The job ended by itself before the abort took effect: ${state}.`
      : "";
  }
  if (refusal !== null) return `Not aborted: ${refusal}`;
  const waited = Date.now() - at;
  return waited < 5000
    ? "Abort requested…"
    : `Abort requested ${duration(waited)} ago; the job has not ended yet.`;
}

/** Asks whether a job is really to be aborted. */
class Confirmation {
  #title = h("h2", { id: "abort-title" });
  #text = h("p", { id: "abort-text" });
  element;
  /** @type {(answer: boolean) => void} */
  #answer = () => {};

  constructor() {
    const buttons = h(
      "div",
      { class: "dialog-buttons" },
      h("button", { class: "button", value: "no", autofocus: true }, "Keep running"),
      h("button", { class: "button danger solid", value: "yes" }, "Abort job"),
    );
    this.element = /** @type {HTMLDialogElement} */ (
      h(
        "dialog",
        { "aria-labelledby": "abort-title", "aria-describedby": "abort-text" },
        h("form", { method: "dialog" }, this.#title, this.#text, buttons),
      )
    );
    this.element.addEventListener("close", () => {
      this.#answer(this.element.returnValue === "yes");
    });
  }

  /**
   * @param {JobItem} item
   * @param {boolean} force
   * @returns {Promise<boolean>}
   */
  confirm(item, force) {
    setText(this.#title, `Abort job ${item.id}?`);
    setText(
      this.#text,
      force
        ? `${item.method} is not made to be aborted. By force it may leave things half done.`
        : `${item.method} will be asked to stop. What it has done so far is not undone.`,
    );
    this.element.returnValue = "no";
    this.element.showModal();
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  close() {
    this.element.close("no");
  }
}
