// Keeps the tickets on this device, so that they can be shown where there is no network: at the door.

const KEPT = "jari-tickets";

async function keep() {
  await navigator.serviceWorker.register("/offline.js");
  await navigator.serviceWorker.ready;
  const kept = await caches.open(KEPT);
  const styles = [...document.querySelectorAll("link[rel=stylesheet], link[rel=icon]")].map((link) => link.href);
  await kept.addAll([location.pathname, "/bookings", ...styles]);
  document.querySelector("#kept").classList.remove("later");
}

if ("serviceWorker" in navigator) await keep();
