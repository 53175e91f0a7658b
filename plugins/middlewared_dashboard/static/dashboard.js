/**
 * The page of somebody who is logged in: list, details, and the way between.
 *
 * @module
 */

import { h, icon } from "./dom.js";
import { JobDetail } from "./job-detail.js";
import { JobList } from "./job-list.js";
import { ConnectionLost } from "./middlewared.js";
import { Announcer } from "./status.js";
import { JobStore } from "./store.js";

/** List and details of jobs. */
export class Dashboard {
  #store;
  #list;
  #detail;
  #announcer = new Announcer();
  element;

  /**
   * @param {import("./middlewared.js").Client} client
   * @param {import("./status.js").ConnectionStatus} status
   * @param {any} user As in `auth.me`.
   * @param {() => void} onLogout
   */
  constructor(client, status, user, onLogout) {
    this.#store = new JobStore(client);
    this.#list = new JobList(this.#store);
    this.#detail = new JobDetail(client, this.#store, () => this.#closeDetail());
    this.#store.addEventListener("change", (event) => {
      const { moved } = /** @type {CustomEvent} */ (event).detail;
      this.#announcer.announce(moved);
      this.#showTitle();
    });
    const head = header(status, user, onLogout);
    const main = h(
      "main",
      { class: "panes" },
      this.#list.element,
      this.#detail.element,
    );
    this.element = h(
      "div",
      { class: "dashboard" },
      head,
      status.banner,
      main,
      this.#announcer.element,
    );
    window.addEventListener("hashchange", () => this.#route());
    document.addEventListener("keydown", (event) => this.#keyPressed(event));
    this.#route();
  }

  /** Read everything, at the start and after an outage. */
  async refresh() {
    try {
      await Promise.all([this.#store.load(), this.#detail.refresh()]);
    } catch (error) {
      // After an outage this is called again; anything else the user must know.
      if (!(error instanceof ConnectionLost)) {
        this.#list.showProblem(/** @type {Error} */ (error).message);
      }
    }
  }

  #route() {
    const id = /^#job=(\d+)$/.exec(location.hash)?.[1];
    this.element.classList.toggle("with-detail", id !== undefined);
    this.#list.select(id === undefined ? null : Number(id));
    if (id === undefined) this.#detail.close();
    else this.#detail.open(Number(id));
  }

  #closeDetail() {
    const { id } = this.#detail;
    history.pushState(null, "", location.pathname + location.search);
    this.#route();
    if (id !== null) this.#list.focusRow(id);
  }

  #showTitle() {
    let running = 0;
    for (const id of this.#store.ids) {
      if (this.#store.get(id)?.state === "RUNNING") running += 1;
    }
    document.title = running > 0 ? `${running} running · middlewared` : "middlewared";
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const typing = /** @type {Element} */ (event.target).matches(
      "input:not([type=radio])",
    );
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      this.#list.focusSearch();
    } else if (event.key === "Escape" && this.#detail.id !== null) {
      this.#closeDetail();
    }
  }
}

/**
 * @param {import("./status.js").ConnectionStatus} status
 * @param {any} user
 * @param {() => void} onLogout
 */
function header(status, user, onLogout) {
  const logout = h(
    "button",
    { type: "button", class: "button" },
    icon("logout"),
    "Log out",
  );
  logout.addEventListener("click", onLogout);
  return h(
    "header",
    { class: "header" },
    h("img", { src: "favicon.svg", alt: "", class: "logo" }),
    h("h1", { class: "brand" }, "middlewared"),
    status.element,
    h("span", { class: "spacer" }),
    h("span", { class: "user" }, user?.pw_name ?? ""),
    logout,
  );
}
