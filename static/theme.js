// Runs before the first paint: the colours that the reader chose, and word that scripts work.
// Later it gives the button in the page's head its function.
(function () {
  "use strict";

  const KEY = "recurring-theme";
  const ORDER = ["auto", "light", "dark"];
  const WORDS = { auto: "as the system", light: "light", dark: "dark" };
  const root = document.documentElement;
  root.dataset.scripts = "yes";

  function remembered() {
    try {
      const chosen = localStorage.getItem(KEY);
      return ORDER.includes(chosen) ? chosen : "auto";
    } catch (error) {
      return "auto"; // Storage is closed to us.
    }
  }

  function remember(theme) {
    try {
      if (theme === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch (error) {
      // Then it holds for this page only.
    }
  }

  function apply(theme) {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  function show(button) {
    const theme = root.dataset.theme || "auto";
    button.hidden = false;
    button.title = `Colours: ${WORDS[theme]}`;
    button.setAttribute("aria-label", button.title);
    for (const icon of button.querySelectorAll("[data-theme-icon]"))
      icon.hidden = icon.dataset.themeIcon !== theme;
  }

  apply(remembered());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("#theme");
    if (!button) return;
    show(button);
    button.addEventListener("click", () => {
      const theme = root.dataset.theme || "auto";
      const next = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      apply(next);
      remember(next);
      show(button);
    });
  });
})();
