// Runs before the first paint: the colours that the reader chose, and word that scripts work.
(function () {
  "use strict";
  var root = document.documentElement;
  root.dataset.scripts = "yes";
  try {
    var chosen = localStorage.getItem("recurring-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch (error) {
    // Storage is closed to us: the system's colours then.
  }
})();
