// Parts of a page that ask for themselves again (data-poll): conditionally, only while somebody
// looks, without undoing what the reader did, and with a word when no answer comes.
(function () {
  "use strict";

  const polls = (element) => element instanceof Element && element.matches("[data-poll]");

  // The browser keeps no page (no-store), so we keep the tag of what is shown: by the id of the
  // part, with the address that it came from.
  const tags = new Map();

  function address(path, parameters) {
    const pairs = Object.keys(parameters || {}).map((name) => `${name}=${parameters[name]}`);
    return pairs.length ? `${path}#${pairs.join("&")}` : path;
  }

  document.addEventListener("htmx:configRequest", (event) => {
    const { elt, headers, parameters, path, verb } = event.detail;
    if (!polls(elt) || verb !== "get") return;
    const known = tags.get(elt.id);
    if (known && known.address === address(path, parameters)) headers["If-None-Match"] = known.tag;
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, requestConfig, shouldSwap } = event.detail;
    if (!shouldSwap) return;
    // The console's tail adds to another element; what it asks for next is its own affair.
    const part = requestConfig.elt.matches("[data-tail]") ? requestConfig.elt : target;
    const tag = xhr.getResponseHeader("ETag");
    if (tag && requestConfig.verb === "get")
      tags.set(part.id, { tag, address: address(requestConfig.path, requestConfig.parameters) });
    else tags.delete(part.id);
  });

  // Nobody looks: nobody asks. Seen again: all ask at once.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && polls(event.detail.elt)) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("[data-poll]")) htmx.trigger(element, "wake");
  });

  // What the reader selected, typed, chose and opened stays when the part around it is renewed.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) => {
    if (element.localName === "input" && element.type !== "hidden")
      return name !== "checked" && name !== "value";
    if (name === "selected") return false;
    return !(name === "open" && element.localName === "details");
  };

  // A banner while answers don't come.
  const failing = new Set();
  const words = {
    401: "You are no longer let in. Sign in again, then reload this page.",
    403: "You are no longer let in. Sign in again, then reload this page.",
    404: "This was removed in the meantime.",
    503: "The database can't be reached, trying again …",
    504: "The database takes too long, trying again …",
  };

  function tell(status) {
    const banner = document.querySelector("#offline");
    banner.hidden = failing.size === 0;
    if (failing.size)
      banner.querySelector("[data-offline-text]").textContent =
        words[status] || "Connection lost, trying again …";
  }

  // A request that another one has replaced ends without any of these.
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"])
    document.addEventListener(name, (event) => {
      const { elt, xhr } = event.detail;
      if (!polls(elt)) return;
      failing.add(elt.id);
      tell(xhr.status);
    });
  document.addEventListener("htmx:afterRequest", (event) => {
    const { elt, successful, xhr } = event.detail;
    if (!polls(elt) || !(successful || xhr.status === 304)) return;
    failing.delete(elt.id);
    tell(xhr.status);
  });
})();
