/**
 * The page one logs in on.
 *
 * @module
 */

import { h, setText } from "./dom.js";

/** @typedef {import("./middlewared.js").Credentials} Credentials */

/** The two ways to log in by hand. */
const WAYS = { password: "Password", key: "API key" };

/** A card with a form. */
export class LoginPage {
  #onLogin;
  #username = field("Username", { name: "username", autocomplete: "username" });
  #password = field("Password", {
    name: "password",
    type: "password",
    autocomplete: "current-password",
  });
  #key = field("API key", { name: "key", type: "password", autocomplete: "off" });
  #error = h("p", { class: "login-error", role: "alert" });
  #submit = h("button", { class: "button primary", type: "submit" }, "Log in");
  #way = "password";
  element;

  /** @param {(credentials: Credentials) => Promise<void>} onLogin */
  constructor(onLogin) {
    this.#onLogin = onLogin;
    const ways = Object.entries(WAYS).map(([way, label]) => this.#choice(way, label));
    const legend = h("legend", { class: "visually-hidden" }, "How to log in");
    const form = h(
      "form",
      { class: "login-form", on: { submit: this.#submitted.bind(this) } },
      h("fieldset", { class: "segments" }, legend, ...ways),
      this.#username.element,
      this.#password.element,
      this.#key.element,
      this.#error,
      this.#submit,
    );
    this.element = h(
      "main",
      { class: "login" },
      h(
        "div",
        { class: "login-card" },
        h("img", { src: "favicon.svg", alt: "", class: "login-logo" }),
        h("h1", {}, "middlewared"),
        h("p", { class: "login-lead" }, "Log in to watch and control jobs."),
        form,
      ),
    );
    this.#choose("password");
  }

  /** Put the cursor where typing begins. */
  focus() {
    this.#username.input.focus();
  }

  /** @param {string} text Why one has to log in, or why it did not work. */
  showError(text) {
    setText(this.#error, text);
  }

  /** @param {Event} event */
  async #submitted(event) {
    event.preventDefault();
    const username = this.#username.input.value.trim();
    const secret = (this.#way === "key" ? this.#key : this.#password).input;
    const credentials =
      this.#way === "key"
        ? { username, apiKey: secret.value.trim() }
        : { username, password: secret.value };
    this.showError("");
    this.#submit.toggleAttribute("disabled", true);
    setText(this.#submit, "Logging in…");
    try {
      await this.#onLogin(credentials);
    } catch (error) {
      this.showError(/** @type {Error} */ (error).message);
      secret.select();
    } finally {
      this.#submit.toggleAttribute("disabled", false);
      setText(this.#submit, "Log in");
    }
  }

  /** @param {string} way */
  #choose(way) {
    this.#way = way;
    const byKey = way === "key";
    this.#key.element.hidden = !byKey;
    this.#key.input.required = byKey;
    this.#password.element.hidden = byKey;
    this.#password.input.required = !byKey;
    this.showError("");
  }

  /**
   * @param {string} way
   * @param {string} label
   */
  #choice(way, label) {
    const input = h("input", {
      type: "radio",
      name: "way",
      value: way,
      class: "visually-hidden",
      checked: way === "password",
      on: { change: () => this.#choose(way) },
    });
    return h("label", { class: "segment" }, input, label);
  }
}

/**
 * @param {string} label
 * @param {Record<string, any>} props
 */
function field(label, props) {
  const input = /** @type {HTMLInputElement} */ (
    h("input", { type: "text", required: true, spellcheck: "false", ...props })
  );
  input.setAttribute("autocapitalize", "none");
  const element = h("label", { class: "field" }, h("span", {}, label), input);
  return { element, input };
}
