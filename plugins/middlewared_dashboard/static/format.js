/**
 * How values of jobs read.
 *
 * @module
 */

import { date } from "./middlewared.js";

/** @typedef {Record<string, any>} JobItem */

/** The states of a job, with the words of the page, in the order of the filter. */
export const STATES = {
  RUNNING: "Running",
  WAITING: "Waiting",
  SUCCESS: "Success",
  FAILED: "Failed",
  ABORTED: "Aborted",
};

/** @param {string} state */
export function stateLabel(state) {
  return STATES[/** @type {keyof typeof STATES} */ (state)] ?? state;
}

/**
 * A length of time, for example `850 ms`, `12 s`, `3 min 05 s`, `2 h 07 min`.
 *
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number} number */
function two(number) {
  return String(number).padStart(2, "0");
}

/**
 * How long a job has run, up to *now* if it still runs.
 *
 * @param {JobItem} item
 * @param {number} now Milliseconds, of the server's clock as far as we know it.
 * @returns {string} Empty before the start.
 */
export function elapsed(item, now) {
  const started = date(item.time_started);
  if (started === null) return "";
  const finished = date(item.time_finished);
  const text = duration((finished?.getTime() ?? now) - started.getTime());
  // A tenth that ticks once a second is noise.
  return finished ? text : text.replace(/\.\d s/, " s").replace(/^\d+ ms/, "0 s");
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
});
const FULL = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium",
  timeStyle: "medium",
});

/**
 * A point in time: of today the time, of other days the day too.
 *
 * @param {Date} when
 */
export function shortTime(when) {
  const today = new Date().toDateString() === when.toDateString();
  return (today ? TIME : DAY).format(when);
}

/** @param {Date} when */
export function fullTime(when) {
  return FULL.format(when);
}

/**
 * Who started a job.
 *
 * @param {JobItem} item
 * @returns {string} Empty for a job of the system.
 */
export function owner(item) {
  return item.credentials?.data?.username ?? "";
}

/**
 * A JSON value for reading; `{"$date": ms}` becomes a time.
 *
 * @param {any} value
 */
export function pretty(value) {
  if (typeof value === "string") return value;
  return JSON.stringify(
    value,
    (_key, inner) =>
      inner && typeof inner.$date === "number" && Object.keys(inner).length === 1
        ? new Date(inner.$date).toISOString()
        : inner,
    2,
  );
}

/**
 * The percent of a job, or null where it has none to show.
 *
 * @param {JobItem} item
 * @returns {number|null}
 */
export function percent(item) {
  return item.progress?.percent ?? null;
}
