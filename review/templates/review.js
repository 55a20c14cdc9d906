// Keys for the buttons and links of a page that name one; everything works without. Loaded before the page is shown, so
// that no key is lost.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const at = event.target, typing = at.matches("input, textarea, select");
  if (typing && event.key === "Escape") return at.blur();
  if (at.id === "label" && at.matches("select") && event.key === "Enter") {
    event.preventDefault();
    return document.querySelector("[data-enter]").click();
  }
  if (typing) return;
  const field = { c: "label", m: "comment" }[event.key];
  const found = field ? document.getElementById(field) : document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!found) return;
  event.preventDefault();
  if (field) found.focus(); else found.click();
});
