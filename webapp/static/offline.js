// Answers with what was kept when there is no network. The network always comes first: a cancelled
// booking must not look valid to somebody who is online. Signing out deletes everything that was kept.

const KEPT = "jari-tickets";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { pathname, origin } = new URL(event.request.url);
  const ours = origin === self.location.origin && event.request.method === "GET";
  if (ours && /^\/(bookings|static)(\/|$)/.test(pathname)) event.respondWith(answer(event.request));
});

async function answer(request) {
  try {
    return await fetch(request);
  } catch (gone) {
    const kept = await (await caches.open(KEPT)).match(request, { ignoreVary: true });
    if (kept) return kept;
    throw gone;
  }
}
