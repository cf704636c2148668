// Keeps the tickets on this device, so that they can be shown where there is no network: at the door.

const KEPT = "jari-tickets";

async function keep() {
  await navigator.serviceWorker.register("/offline.js");
  await navigator.serviceWorker.ready;
  const kept = await caches.open(KEPT);
  const styles = [...document.querySelectorAll("link[rel=stylesheet], link[rel=icon]")].map((link) => link.href);
  // Who signed out meanwhile, here or in another tab, is sent to sign in: that page is not to be kept.
  const pages = [location.pathname, "/bookings"].map((path) => new Request(path, { redirect: "error" }));
  await kept.addAll([...pages, ...styles]);
}

const line = document.querySelector("#kept");
try {
  await keep();
} catch (error) {
  // A full or private browser keeps nothing, and signing out deletes what is being kept.
  console.warn("The tickets were not kept.", error);
  line.textContent = line.dataset.failed;
}
line.classList.remove("later");
