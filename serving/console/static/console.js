// What changes by itself: an element with data-look is asked for again each second until it is over.
// Without this script every page works; one then presses "look again".
"use strict";
const EACH = 1000;
for (const place of document.querySelectorAll("[data-look]")) {
  const until = place.dataset.until, before = until && document.querySelector(until)?.textContent;
  const look = async () => {
    try {
      const answer = await fetch(place.dataset.look, { credentials: "same-origin", redirect: "follow" });
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok || answer.redirected) return location.reload();
      if (until) {
        if (found.querySelector(until)?.textContent !== before) return location.reload();
      } else {
        place.replaceChildren(...found.body.childNodes);
        if (place.querySelector("[data-over]")) return location.reload();
      }
    } catch { /* the service restarts; the next look tells */ }
    setTimeout(look, EACH);
  };
  setTimeout(look, EACH);
}
