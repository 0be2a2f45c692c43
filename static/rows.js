// Lists: selected rows (all of a page, a range with Shift) and the bar that acts on them; the chosen
// tab kept in sight on a narrow screen; the key that leads to a page's filter.
(function () {
  "use strict";

  const form = () => document.querySelector("[data-selectable]");
  const boxes = () => [...document.querySelectorAll("[data-selectable] input[name=job]")];
  let last = null;

  function count() {
    const bar = document.querySelector("[data-bulk]");
    if (!form() || !bar) return;
    const rows = boxes();
    const selected = rows.filter((box) => box.checked).length;
    const all = form().querySelector("[data-select-all]");
    all.checked = selected > 0 && selected === rows.length;
    all.indeterminate = selected > 0 && selected < rows.length;
    bar.parentElement.classList.toggle("is-on", selected > 0);
    bar.querySelector("[data-bulk-count]").textContent = String(selected);
  }

  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || !box.closest("[data-selectable]")) return;
    const rows = boxes();
    if (box.matches("[data-select-all]")) {
      for (const each of rows) each.checked = box.checked;
    } else if (event.shiftKey && rows.includes(last)) {
      const [from, to] = [rows.indexOf(last), rows.indexOf(box)].sort((a, b) => a - b);
      for (const each of rows.slice(from, to + 1)) each.checked = box.checked;
    }
    if (box.name === "job") last = box;
    count();
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const { requestConfig } = event.detail;
    // Once an action on the selected rows is done, the selection has served.
    if (requestConfig && requestConfig.verb === "post" && requestConfig.elt.closest("[data-bulk]"))
      for (const box of boxes()) box.checked = false;
    count();
  });
  count();

  let shown = null;
  function showTab() {
    const tab = document.querySelector(".tab[aria-current]");
    if (!tab || tab.id === shown) return;
    shown = tab.id;
    tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.clientWidth) / 2;
  }
  document.addEventListener("htmx:afterSwap", showTab);
  showTab();

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.closest("input, textarea, select")) return;
    const field = document.querySelector(`[data-focus-key="${CSS.escape(event.key)}"]`);
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
})();
