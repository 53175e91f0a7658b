/**
 * The start of the page: connect, log in, show the jobs.
 *
 * @module
 */

import { Dashboard } from "./dashboard.js";
import { h } from "./dom.js";
import { LoginPage } from "./login.js";
import { Client, ConnectionLost } from "./middlewared.js";
import { ConnectionStatus } from "./status.js";

// The session outlives a reload of this tab, and nothing else.
const TOKEN = "middlewared.token";
const NOTICE = "middlewared.notice";

const LINK_USED = "This login link has been used or is too old.";

const root = /** @type {HTMLElement} */ (document.getElementById("app"));

const client = new Client(apiUrl(), { keepCredentials: false, tokenTtl: 3600 });
const status = new ConnectionStatus(client);
/** @type {Dashboard|null} */
let dashboard = null;

client.addEventListener("token", (event) => {
  sessionStorage.setItem(TOKEN, /** @type {CustomEvent} */ (event).detail.token);
});
client.addEventListener("authenticated", (event) => {
  show(/** @type {CustomEvent} */ (event).detail.user);
});
client.addEventListener("unauthenticated", () => {
  if (dashboard) leave("Your session has ended. Please log in again.");
});
window.addEventListener("online", () => client.reconnectNow());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) client.reconnectNow();
});
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) location.reload();
});

start();

/** The address of the server, wherever this page is served from. */
function apiUrl() {
  const url = new URL("../api/current", import.meta.url);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

/** Connect, and log in with what is at hand. */
async function start() {
  const link = takeLinkToken();
  root.replaceChildren(h("p", { class: "notice" }, status.element));
  await client.connect({ retry: true });
  const notice = sessionStorage.getItem(NOTICE) ?? "";
  sessionStorage.removeItem(NOTICE);
  if (link !== null && (await tryToken(link))) return;
  const token = sessionStorage.getItem(TOKEN);
  if (token !== null && (await tryToken(token))) return;
  if (await tryProxy()) return;
  askForLogin(link === null ? notice : LINK_USED);
}

/** Take the token of a one-time login link out of the address. */
function takeLinkToken() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (match === null) return null;
  // It must stay neither in the address bar nor in the history.
  history.replaceState(null, "", location.pathname + location.search);
  return decodeURIComponent(match[1]);
}

/**
 * @param {string} token
 * @returns {Promise<boolean>} False if the server does not take it.
 */
async function tryToken(token) {
  for (;;) {
    await client.ready();
    try {
      await client.login({ token });
      return true;
    } catch (error) {
      if (!(error instanceof ConnectionLost)) return false;
    }
  }
}

/**
 * A proxy may have said who we are; a token then keeps us that.
 *
 * @returns {Promise<boolean>} False if nobody did.
 */
async function tryProxy() {
  for (;;) {
    await client.ready();
    try {
      return await tryToken(await client.call("auth.generate_token", 60));
    } catch (error) {
      if (!(error instanceof ConnectionLost)) return false;
    }
  }
}

/** @param {string} notice Why; may be empty. */
function askForLogin(notice) {
  sessionStorage.removeItem(TOKEN);
  const page = new LoginPage(async (credentials) => {
    await client.login(credentials);
  });
  root.replaceChildren(page.element);
  page.showError(notice);
  page.focus();
}

/**
 * Show the jobs; again, after an outage.
 *
 * @param {any} user
 */
async function show(user) {
  if (dashboard === null) {
    dashboard = new Dashboard(client, status, user, logOut);
    root.replaceChildren(dashboard.element);
  }
  await dashboard.refresh();
}

async function logOut() {
  await client.logout().catch(() => {});
  leave("");
}

/**
 * Start over. A reload leaves nothing of the old session behind.
 *
 * @param {string} notice Told on the login page.
 */
function leave(notice) {
  sessionStorage.removeItem(TOKEN);
  if (notice) sessionStorage.setItem(NOTICE, notice);
  location.reload();
}
