/**
 * The index narrows while one types; without this script the search is a form.
 *
 * "/" goes to the search, Escape clears it.
 */

const query = document.getElementById("query");

if (query) {
  const count = document.getElementById("count");
  const entries = [...document.querySelectorAll("[data-entry]")].map((element) => ({
    element,
    text: element.textContent.toLowerCase(),
  }));
  const groups = [...document.querySelectorAll("[data-group]")];

  const narrow = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { element, text } of entries) {
      element.hidden = !words.every((word) => text.includes(word));
      found += element.hidden ? 0 : 1;
    }
    for (const group of groups) {
      group.hidden = !group.querySelector("[data-entry]:not([hidden])");
    }
    count.textContent = found === 1 ? "1 entry" : `${found} entries`;
  };

  query.addEventListener("input", () => {
    // A page that the server has narrowed already does not have the rest.
    if (!new URLSearchParams(location.search).get("q")) narrow();
  });
  query.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && query.value) {
      event.preventDefault();
      query.value = "";
      narrow();
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      query.focus();
      query.select();
    }
  });
}
