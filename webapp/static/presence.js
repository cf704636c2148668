// Tells the server now and then that somebody is there: while the page is being used, not while it lies open.

const EVERY_MS = 20000;

const address = document.querySelector("[data-presence]").dataset.presence;
let toldAt = Date.now();

function here() {
  if (Date.now() - toldAt >= EVERY_MS) {
    toldAt = Date.now();
    fetch(address, { headers: { "X-Looking": "1" }, redirect: "manual" }).catch(() => {});
  }
}

for (const kind of ["pointerdown", "keydown", "scroll", "touchstart"]) {
  addEventListener(kind, here, { passive: true });
}
