// What htmx does not do by itself: conditional polling that rests while nobody looks, times as
// people say them, ticked rows, the console's follow and copy, the choice of colours.
(function () {
  "use strict";

  const $ = (selector, root) => (root || document).querySelector(selector);
  const $$ = (selector, root) => [...(root || document).querySelectorAll(selector)];

  // ---- Polling -------------------------------------------------------------------------------
  // The browser keeps no page (no-store), so the tags of what is shown are kept here.
  const tags = new Map();
  const polls = (element) => element instanceof Element && element.matches("[data-poll]");

  document.addEventListener("htmx:configRequest", (event) => {
    const { elt, headers, parameters, path, verb } = event.detail;
    if (!polls(elt) || verb !== "get") return;
    if (elt.matches("[data-tail]")) parameters.after = lastSeq();
    const known = tags.get(elt.id);
    if (known && known.address === address(path, parameters)) headers["If-None-Match"] = known.tag;
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && polls(event.detail.elt)) event.preventDefault();
  });

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) for (const element of $$("[data-poll]")) htmx.trigger(element, "wake");
  });

  // Before a swap: what stands in the target from now on, and under which tag.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, requestConfig, shouldSwap } = event.detail;
    if (!shouldSwap) return;
    const owner = requestConfig.elt.matches("[data-tail]") ? requestConfig.elt : target;
    const tag = xhr.getResponseHeader("ETag");
    if (tag && requestConfig.verb === "get")
      tags.set(owner.id, { tag, address: address(requestConfig.path, requestConfig.parameters) });
    else tags.delete(owner.id);
  });

  function address(path, parameters) {
    const pairs = Object.keys(parameters || {}).map((name) => `${name}=${parameters[name]}`);
    return pairs.length ? `${path}#${pairs.join("&")}` : path;
  }

  // What the reader did to a page stays when its live part is renewed.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) => {
    if (name === "checked" || name === "value") {
      if (element.localName === "input" && element.type !== "hidden") return false;
    }
    if (name === "open" && element.localName === "details") return false;
    return true;
  };

  // ---- Connection ----------------------------------------------------------------------------
  const failing = new Set();

  function connection(element, status) {
    if (!polls(element)) return;
    if (status === 0 || status >= 400) failing.add(element.id);
    else failing.delete(element.id);
    const banner = $("#offline");
    const shut = status === 401 || status === 403;
    $("[data-offline-text]", banner).textContent = shut
      ? "You are no longer let in. Sign in again, then reload this page."
      : status === 503
        ? "The database can't be reached, trying again …"
        : status === 404
          ? "This was removed in the meantime."
          : "Connection lost, trying again …";
    banner.hidden = failing.size === 0;
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.xhr) connection(event.detail.elt, event.detail.xhr.status);
    if (event.detail.failed && !polls(event.detail.elt)) toast(event.detail.xhr.status);
  });

  function toast(status) {
    const texts = {
      0: "The server could not be reached; nothing was done.",
      403: "You are not allowed to do that.",
      404: "It is gone: somebody removed it.",
      503: "The database can't be reached; nothing was done.",
    };
    const element = document.createElement("div");
    element.className = "toast is-bad";
    element.dataset.toast = "";
    element.textContent = texts[status] || `That went wrong (${status}).`;
    $("#toasts").append(element);
    dismissLater(element);
  }

  // ---- Times ---------------------------------------------------------------------------------
  const NBSP = "\u00a0";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const pad = (value, width = 2) => String(value).padStart(width, "0");
  // By the database's clock, so that a host with a wrong clock misleads nobody.
  const stated = Date.parse($("meta[name=recurring-now]").content);
  const ahead = Number.isNaN(stated) ? 0 : stated - Date.now();
  const clock = () => Date.now() + ahead;

  function local(date, withZone) {
    const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
    const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
    return withZone ? `${day} ${time} ${zone}` : `${day} ${time}`;
  }

  // The same words as format.duration, but never finer than a second: these change before one's eyes.
  function length(seconds) {
    const whole = Math.max(Math.floor(seconds), 0);
    if (whole < 60) return `${whole}${NBSP}s`;
    if (whole < 3600) return `${Math.floor(whole / 60)}${NBSP}min${NBSP}${pad(whole % 60)}${NBSP}s`;
    if (whole < 86400)
      return `${Math.floor(whole / 3600)}${NBSP}h${NBSP}${pad(Math.floor((whole % 3600) / 60))}${NBSP}min`;
    return `${Math.floor(whole / 86400)}${NBSP}d${NBSP}${Math.floor((whole % 86400) / 3600)}${NBSP}h`;
  }

  function rough(seconds) {
    if (seconds < 60) return `${Math.floor(seconds)}${NBSP}s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)}${NBSP}min`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)}${NBSP}h`;
    return `${Math.floor(seconds / 86400)}${NBSP}d`;
  }

  function near(date, now) {
    const seconds = (now - date) / 1000;
    if (Math.abs(seconds) > 30 * 86400) return local(date).slice(0, 10);
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `${rough(seconds)} ago` : `in ${rough(-seconds)}`;
  }

  const ways = {
    near,
    next: (date, now) => {
      const late = (now - date) / 1000;
      if (late < 0) return near(date, now);
      return late < 60 ? "due now" : `due since ${rough(late)}`;
    },
    since: (date, now) => length((now - date) / 1000),
    both: (date, now) => `${local(date)} · ${near(date, now)}`,
    clock: (date, now) => new Date(now).toISOString().slice(0, 19).replace("T", " ") + " UTC",
  };

  function tell(root) {
    const now = clock();
    for (const element of $$("time[data-time]", root)) {
      const date = new Date(element.dateTime);
      const text = ways[element.dataset.time](date, now);
      if (element.textContent !== text) element.textContent = text;
      if (element.dataset.told !== element.dateTime) {
        element.dataset.told = element.dateTime;
        const utc = `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
        element.title = zone === "UTC" ? utc : `${utc}\n${local(date, true)}`;
      }
    }
  }
  setInterval(() => document.hidden || tell(), 1000);

  // ---- Ticked rows ---------------------------------------------------------------------------
  function countTicks() {
    const form = $("[data-ticks]");
    const bar = form && $("[data-bulk]", form);
    if (!bar) return;
    const boxes = $$("input[name=job]", form);
    const ticked = boxes.filter((box) => box.checked).length;
    const all = $("[data-tick-all]", form);
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
    bar.classList.toggle("is-on", ticked > 0);
    $("[data-bulk-count]", bar).textContent = `${ticked} ticked`;
  }
  let lastTicked = null;
  document.addEventListener("click", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement) || box.type !== "checkbox") return;
    const boxes = $$("[data-ticks] input[name=job]");
    if (box.matches("[data-tick-all]")) {
      for (const each of boxes) each.checked = box.checked;
    } else if (event.shiftKey && lastTicked && boxes.includes(lastTicked)) {
      const [from, to] = [boxes.indexOf(lastTicked), boxes.indexOf(box)].sort((a, b) => a - b);
      for (const each of boxes.slice(from, to + 1)) each.checked = box.checked;
    }
    if (box.name === "job") lastTicked = box;
    countTicks();
  });
  // Once an action is done, its ticks have served.
  document.addEventListener("htmx:afterSwap", (event) => {
    const { requestConfig } = event.detail;
    if (requestConfig && requestConfig.verb === "post")
      for (const box of $$("[data-ticks] input:checked")) box.checked = false;
  });

  // ---- Console -------------------------------------------------------------------------------
  const lines = () => $("#console-lines");
  const lastSeq = () => {
    const element = lines();
    const last = element && $$("[data-seq]", element).pop();
    return last ? Number(last.dataset.seq) : 0;
  };
  let following = true;
  let moving = false;

  function atEnd(element) {
    return element.scrollHeight - element.scrollTop - element.clientHeight < 24;
  }
  function follow() {
    const element = lines();
    if (!element) return;
    if (following) {
      moving = true;
      element.scrollTop = element.scrollHeight;
    }
    showFollow();
  }
  function showFollow() {
    const button = $("[data-console-follow]");
    if (button) button.hidden = following || atEnd(lines());
  }
  document.addEventListener(
    "scroll",
    (event) => {
      if (event.target !== lines()) return;
      if (moving) moving = false;
      else following = atEnd(event.target);
      showFollow();
    },
    true,
  );

  function prepareConsole() {
    const copy = $("[data-console-copy]");
    if (copy) copy.hidden = false;
    const live = $("[data-console-live]");
    if (live && !$("#console-tail")) live.hidden = true;
  }

  async function copyConsole(button) {
    const text = $$(".line", lines())
      .map((line) => {
        const at = $(".line-at", line).textContent;
        const said = $(".line-text", line);
        const words = said ? said.textContent : `[${$(".bar-name", line).textContent}] ${$(".bar-value", line).textContent}`;
        return `${at.padStart(12)}  ${words}`;
      })
      .join("\n");
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      // The clipboard is open to secure pages only; elsewhere the old way.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    const label = $("[data-label]", button);
    label.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => (label.textContent = "Copy"), 1600);
  }

  // The last answer of a run that is over (286) ends the tail, and with it the word "live".
  document.addEventListener("htmx:afterSwap", (event) => {
    const { xhr, requestConfig } = event.detail;
    if (xhr && xhr.status === 286 && requestConfig.elt.matches("[data-tail]"))
      requestConfig.elt.remove();
  });

  // ---- Clicks, keys, colours -----------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-close]")) button.closest("[data-toast]").remove();
    if (button.matches("[data-console-copy]")) copyConsole(button);
    if (button.matches("[data-console-follow]")) {
      following = true;
      follow();
    }
    if (button.id === "theme") nextTheme();
  });

  document.addEventListener("keydown", (event) => {
    if (event.target instanceof Element && event.target.closest("input, textarea, select")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = $(`[data-focus-key="${CSS.escape(event.key)}"]`);
    if (!target) return;
    event.preventDefault();
    target.focus();
    target.select();
  });

  function nextTheme() {
    const order = ["auto", "light", "dark"];
    const next = order[(order.indexOf(theme()) + 1) % order.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("recurring-theme");
      else localStorage.setItem("recurring-theme", next);
    } catch (error) {
      // Not remembered then.
    }
    showTheme();
  }
  function theme() {
    return document.documentElement.dataset.theme || "auto";
  }
  function showTheme() {
    const button = $("#theme");
    const words = { auto: "as the system", light: "light", dark: "dark" }[theme()];
    button.hidden = false;
    button.title = `Colours: ${words}`;
    button.setAttribute("aria-label", button.title);
    for (const icon of $$("[data-theme-icon]", button)) icon.hidden = icon.dataset.themeIcon !== theme();
  }

  function dismissLater(element) {
    setTimeout(() => element.remove(), 8000);
  }

  // ---- Whenever something new stands on the page ------------------------------------------------
  function settle() {
    tell();
    countTicks();
    prepareConsole();
    follow();
    for (const element of $$("[data-toast]:not([data-seen])")) {
      element.dataset.seen = "";
      dismissLater(element);
    }
  }
  document.addEventListener("htmx:afterSwap", settle);
  document.addEventListener("htmx:oobAfterSwap", settle);
  showTheme();
  settle();
  // A finished run is read from its beginning; only a live one is followed.
  if (!$("#console-tail") && lines()) {
    following = false;
    lines().scrollTop = 0;
    showFollow();
  }
})();
