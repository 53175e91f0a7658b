/**
 * Building pieces of the page. Text is always text, never markup.
 *
 * @module
 */

/** @typedef {Node|string|null|undefined|false} Child */

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, any>} [props] `class`, `on` (listeners by event name),
 *   `data` (data-* values); functions are refused, everything else is an
 *   attribute: true sets it empty, false and null leave it out.
 * @param {...Child} children Strings become text.
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) {
        element.addEventListener(type, listener);
      }
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else {
      setAttribute(element, name, value);
    }
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string|number|boolean|null|undefined} value False and null remove it.
 */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * Set a text, unless it is there already: a change would reset a selection.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Outlines of 16 by 16, drawn with a stroke.
 *
 * @type {Record<string, string>}
 */
const ICONS = {
  waiting: "M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0",
  running: "M14 8a6 6 0 1 1-4-5.65",
  success: "M5.2 8.2l2 2 3.8-4M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0",
  failed: "M8 4.8v3.7M8 11.2v.01M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0",
  aborted: "M6.2 6.2h3.6v3.6H6.2zM14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10M10.6 10.6L14 14",
  close: "M4 4l8 8M12 4l-8 8",
  download: "M8 2.5v7.5M5 7.2l3 3 3-3M3 13.5h10",
  logout: "M6.5 2.5H3v11h3.5M10 5l3 3-3 3M13 8H6.5",
  back: "M10 3L5 8l5 5",
};

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an icon. It is decoration: the text next to it must say the same.
 *
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon icon-${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
