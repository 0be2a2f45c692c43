// On the page that says that the database can't be reached: asks for the page that was wanted,
// and goes there as soon as it answers.
(function () {
  "use strict";
  const wanted = document.body.dataset.again || location.href;
  async function ask() {
    if (!document.hidden) {
      try {
        const answer = await fetch(wanted, { method: "HEAD", cache: "no-store" });
        if (answer.status !== 503 && answer.status !== 502 && answer.status !== 504) {
          location.replace(wanted);
          return;
        }
      } catch (error) {
        // The server itself is away; so we ask again.
      }
    }
    setTimeout(ask, 2000);
  }
  setTimeout(ask, 2000);
})();
