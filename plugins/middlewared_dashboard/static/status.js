/**
 * What the page says by itself: the connection, and what happened to jobs.
 *
 * @module
 */

import { h, setText } from "./dom.js";
import { stateLabel } from "./format.js";
import { isFinal } from "./middlewared.js";

/** Tells whether what one sees is live. */
export class ConnectionStatus {
  #text = h("span");
  /** A small sign for the head of the page. */
  element = h(
    "span",
    { class: "connection", role: "status" },
    h("span", { class: "dot", "aria-hidden": "true" }),
    this.#text,
  );
  #countdown = h("span");
  #retry = h("button", { type: "button", class: "button" }, "Try now");
  /** A line over the page, while it is not live. */
  banner = h(
    "div",
    { class: "banner", hidden: true },
    h("span", {}, "The connection is lost; what you see may be out of date."),
    this.#countdown,
    this.#retry,
  );
  #next = 0;

  /** @param {import("./middlewared.js").Client} client */
  constructor(client) {
    this.#set("reconnecting", "Connecting…");
    this.#retry.addEventListener("click", () => client.reconnectNow());
    client.addEventListener("open", () => this.#set("connected", "Connected"));
    client.addEventListener("reconnecting", (event) => {
      this.#next = Date.now() + /** @type {CustomEvent} */ (event).detail.delay;
      this.#set("reconnecting", "Reconnecting…");
    });
    client.addEventListener("close", (event) => {
      const { reconnect } = /** @type {CustomEvent} */ (event).detail;
      if (!reconnect) this.#set("closed", "Not connected");
    });
    setInterval(() => this.#tick(), 500);
  }

  /**
   * @param {string} state
   * @param {string} text
   */
  #set(state, text) {
    this.element.dataset.state = state;
    setText(this.#text, text);
    this.banner.hidden = state === "connected";
    this.#retry.hidden = state === "closed";
    this.#tick();
  }

  #tick() {
    const seconds = Math.ceil((this.#next - Date.now()) / 1000);
    setText(this.#countdown, seconds > 1 ? `Next attempt in ${seconds} s.` : "");
  }
}

/** More jobs than this at once are counted, not named. */
const NAMED = 3;

/** Says what happened to jobs, for those who do not see the list. */
export class Announcer {
  element = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });

  /** @param {Record<string, any>[]} moved Jobs whose state changed. */
  announce(moved) {
    const ended = moved.filter(({ state }) => isFinal(state));
    if (ended.length === 0) return;
    const text =
      ended.length > NAMED
        ? `${ended.length} jobs ended.`
        : ended
            .map(
              ({ id, method, state }) => `Job ${id}, ${method}: ${stateLabel(state)}.`,
            )
            .join(" ");
    setText(this.element, text);
  }
}
