// Moments as people say them: "3 min ago", "in 12 s". The page itself says them in UTC.
(function () {
  "use strict";

  const NBSP = "\u00a0";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const viewer = `Yours, ${zone}`;
  const pad = (value) => String(value).padStart(2, "0");

  // By the database's clock, so that a viewer whose own clock is wrong is not misled.
  const stated = Date.parse(document.querySelector("meta[name=recurring-now]").content);
  const ahead = Number.isNaN(stated) ? 0 : stated - Date.now();

  const utc = (date) => `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;

  function local(date) {
    const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
    return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  }

  function two(large, unit, small, subunit) {
    return `${large}${NBSP}${unit}${NBSP}${pad(small)}${NBSP}${subunit}`;
  }

  // A length that grows before one's eyes, so in whole seconds, and always of the same width.
  function length(milliseconds) {
    const seconds = Math.max(Math.floor(milliseconds / 1000), 0);
    if (seconds < 60) return `${seconds}${NBSP}s`;
    if (seconds < 3600) return two(Math.floor(seconds / 60), "min", seconds % 60, "s");
    const minutes = Math.floor(seconds / 60);
    if (minutes < 1440) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
    return two(Math.floor(minutes / 1440), "d", Math.floor((minutes % 1440) / 60), "h");
  }

  function rough(milliseconds) {
    const seconds = Math.floor(milliseconds / 1000);
    if (seconds < 60) return `${seconds}${NBSP}s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)}${NBSP}min`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)}${NBSP}h`;
    return `${Math.floor(seconds / 86400)}${NBSP}d`;
  }

  function near(date, now) {
    const past = now - date;
    if (Math.abs(past) > 30 * 86400e3) return local(date).slice(0, 10);
    if (Math.abs(past) < 1000) return "now";
    return past > 0 ? `${rough(past)} ago` : `in ${rough(-past)}`;
  }

  function next(date, now) {
    const late = now - date;
    if (late < 0) return near(date, now);
    return late < 60e3 ? "due now" : `due since ${rough(late)}`;
  }

  const names = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
  const ways = {
    near,
    next,
    since: (date, now) => length(now - date),
    day: (date) => `${names[date.getDay()]} ${local(date).slice(0, 10)}`,
    hours: (date) => local(date).slice(11),
    both: (date, now) => `${local(date)} · ${near(date, now)}`,
    clock: (date, now) => utc(new Date(now)),
  };

  function tell() {
    const now = Date.now() + ahead;
    for (const element of document.querySelectorAll("time[data-time]")) {
      const date = new Date(element.dateTime);
      const text = ways[element.dataset.time](date, now);
      if (element.textContent !== text) element.textContent = text;
      const title = zone === "UTC" ? utc(date) : `${utc(date)}\n${local(date)} ${zone}`;
      if (element.title !== title) element.title = title;
    }
    for (const element of document.querySelectorAll("[data-viewer-zone]"))
      if (element.textContent !== viewer) element.textContent = viewer;
  }

  tell();
  setInterval(() => document.hidden || tell(), 1000);
  for (const name of ["htmx:afterSwap", "htmx:oobAfterSwap", "visibilitychange"])
    document.addEventListener(name, tell);
})();
