// A job's console: asks for what comes after its last line, follows it while the reader is at the
// end, and copies it.
(function () {
  "use strict";

  const one = (selector) => document.querySelector(selector);
  const lines = () => one("#console-lines");
  if (!lines()) return;

  // A run that is over is read from its beginning; only a live one is followed.
  let following = one("#console-tail") !== null;
  let scrolledByUs = false;

  const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24;

  function show() {
    one("[data-console-copy]").hidden = false;
    one("[data-console-follow]").hidden = following || atEnd(lines());
    const live = one("[data-console-live]");
    if (live) live.hidden = one("#console-tail") === null;
  }

  function follow() {
    const box = lines();
    const end = box.scrollHeight - box.clientHeight;
    if (following && box.scrollTop < end - 1) {
      scrolledByUs = true;
      box.scrollTop = end;
    }
    show();
  }

  // Scrolling doesn't bubble, so it is caught on the way down.
  document.addEventListener(
    "scroll",
    (event) => {
      if (event.target !== lines()) return;
      if (scrolledByUs) scrolledByUs = false;
      else following = atEnd(event.target);
      show();
    },
    true,
  );

  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.detail.elt.matches("[data-tail]")) return;
    const last = [...lines().querySelectorAll("[data-seq]")].pop();
    event.detail.parameters.after = last ? last.dataset.seq : "0";
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const { xhr, requestConfig } = event.detail;
    // The last answer of a run that is over.
    if (xhr && xhr.status === 286 && requestConfig.elt.matches("[data-tail]"))
      requestConfig.elt.remove();
    follow();
  });
  // Another run's console has taken the place of this one.
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    if (event.detail.target.id !== "console") return;
    following = one("#console-tail") !== null;
    follow();
  });

  async function copy(button) {
    const text = [...lines().children].map(asText).join("\n");
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      done = copyTheOldWay(text);
    }
    const label = button.querySelector("[data-label]");
    label.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => (label.textContent = "Copy"), 1600);
  }

  function asText(line) {
    const part = (name) => (line.querySelector(name) || { textContent: "" }).textContent;
    const bar = line.matches(".is-bar");
    const words = bar ? `[${part(".bar-name")}] ${part(".bar-value")}` : part(".line-text");
    return `${part(".line-at").padStart(12)}  ${words}`;
  }

  // The clipboard is open to secure addresses only.
  function copyTheOldWay(text) {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-console-copy]")) copy(button);
    if (button.matches("[data-console-follow]")) {
      following = true;
      follow();
    }
  });

  follow();
})();
