// Notices at the page's edge: each goes after a while, or when it is dismissed; and a word when an
// action could not be done.
(function () {
  "use strict";

  const STAY = 8000;
  const words = {
    0: "The server could not be reached; nothing was done.",
    401: "Sign in again; nothing was done.",
    403: "You are not allowed to do that.",
    404: "It is gone: somebody removed it.",
    503: "The database can't be reached; nothing was done.",
  };
  const place = document.querySelector("#toasts");

  function dismissLater() {
    for (const notice of place.querySelectorAll("[data-toast]:not([data-leaving])")) {
      notice.dataset.leaving = "";
      setTimeout(() => notice.remove(), STAY);
    }
  }

  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
    document.addEventListener(name, (event) => {
      const { elt, xhr } = event.detail;
      if (elt.matches("[data-poll]")) return;
      const notice = document.createElement("div");
      notice.className = "toast is-bad";
      notice.dataset.toast = "";
      notice.textContent = words[xhr.status] || `That went wrong (${xhr.status}).`;
      place.append(notice);
    });

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest("[data-close]");
    if (button) button.closest("[data-toast]").remove();
  });

  new MutationObserver(dismissLater).observe(place, { childList: true });
  dismissLater();
})();
