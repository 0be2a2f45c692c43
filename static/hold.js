// Nothing moves under the hand. While a row is pointed at, touched, reached by the keyboard or
// selected (data-hold), an answer doesn't replace the page's live part. What can change without
// moving anything does (data-in-place), each list says what it doesn't show yet ("12 new"), and the
// answer waits until the hand has gone or the reader asks for it.
//
// Which row a click hits is thus settled before the pointer goes down. An answer that moves rows is
// either before the hand came or after it has left: this is asked where the swap would be made, in
// the same turn, of what the browser itself takes for hovered, focused and checked.
(function () {
  "use strict";

  const HAND = "[data-hold]:is(:hover, :has(:focus-visible), :has(input:checked))";
  // A finger that has just been there is likely to come back, and hovers over nothing meanwhile.
  const AFTER_TOUCH = 3000;
  const AFTER_PRESS = 400;
  const LIVE = "live";

  const live = () => document.getElementById(LIVE);
  let waiting = null;
  let pressed = 0;
  let touched = 0;

  const held = () => {
    const now = performance.now();
    return now < pressed || now < touched || document.querySelector(HAND) !== null;
  };

  // From the press to the click that it ends in, wherever on the page.
  function press(event) {
    const now = performance.now();
    pressed = { pointerdown: Infinity, pointerup: now + AFTER_PRESS, pointercancel: 0 }[event.type];
    const on = event.target instanceof Element && event.target.closest("[data-hold]");
    if (event.pointerType === "touch") touched = on ? now + AFTER_TOUCH : 0;
  }
  for (const name of ["pointerdown", "pointerup", "pointercancel"])
    document.addEventListener(name, press, true);
  // The button was let go where nobody saw it.
  document.addEventListener("pointermove", (event) => {
    if (pressed === Infinity && event.buttons === 0) pressed = 0;
  });

  // The second click of a double click would hit what the first one has brought there.
  document.addEventListener(
    "click",
    (event) => {
      if (event.detail < 2 || !(event.target instanceof Element)) return;
      if (!event.target.closest("[hx-post]")) return;
      event.preventDefault();
      event.stopPropagation();
    },
    true,
  );

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, requestConfig, shouldSwap } = event.detail;
    if (!shouldSwap || target.id !== LIVE) return;
    const by = requestConfig.elt;
    const acted = requestConfig.verb === "post";
    // Another page of the list was asked for, or what was done was not done to one row.
    const wanted = acted ? !by.closest("[data-hold] [id]") : !by.matches("[data-poll]");
    waiting = null;
    if (wanted || !held()) return;
    event.detail.shouldSwap = false;
    const fresh = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const told = fresh.querySelector("#toasts");
    if (told) {
      document.querySelector("#toasts").append(...told.children);
      told.remove();
    }
    if (acted) renewRow(by.closest("[id]").closest("[data-rows] > *"), fresh);
    waiting = fresh.getElementById(LIVE);
    changeInPlace(waiting);
    for (const list of document.querySelectorAll("[data-rows]")) compare(list, waiting);
  });

  function renewRow(row, fresh) {
    const now = row && fresh.getElementById(row.id);
    if (!now) return;
    Idiomorph.morph(row, now.cloneNode(true), { morphStyle: "outerHTML" });
    htmx.process(document.getElementById(row.id));
  }

  function changeInPlace(fresh) {
    for (const one of live().querySelectorAll("[data-in-place]")) {
      const now = fresh.querySelector(`#${CSS.escape(one.id)}`);
      if (!now) continue;
      one.className = now.className;
      one.textContent = now.textContent;
    }
  }

  function compare(list, fresh) {
    const ids = (rows) => [...(rows ? rows.children : [])].map((row) => row.id);
    const shown = ids(list);
    const now = ids(fresh.querySelector(`#${CSS.escape(list.id)}`));
    for (const row of list.children) row.classList.toggle("is-over", !now.includes(row.id));
    const news = now.filter((id) => !shown.includes(id)).length;
    const gone = shown.filter((id) => !now.includes(id)).length;
    const stay = (all, others) => all.filter((id) => others.includes(id)).join(" ");
    const words = [];
    if (news) words.push(`${news} new`);
    if (gone) words.push(`${gone} gone`);
    if (!words.length && stay(shown, now) !== stay(now, shown)) words.push("moved");
    const button = list.closest("[data-list]").querySelector("[data-renew]");
    button.hidden = words.length === 0;
    button.querySelector("[data-renew-words]").textContent = words.join(", ");
  }

  function show() {
    const now = waiting;
    waiting = null;
    const way = { swapStyle: "morph:outerHTML", swapDelay: 0, settleDelay: 0 };
    htmx.swap(live(), now.outerHTML, way, { contextElement: live() });
  }

  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[data-renew]") && waiting) show();
  });

  // Shortly after, since a pointer that leaves a row is often on its way to the next.
  let looking = false;
  function letGo() {
    if (looking || !waiting) return;
    looking = true;
    setTimeout(() => {
      looking = false;
      if (waiting && !held()) show();
    }, 300);
  }
  for (const name of ["pointerout", "pointerup", "focusout", "change", "keyup", "htmx:afterRequest"])
    document.addEventListener(name, letGo);
})();
