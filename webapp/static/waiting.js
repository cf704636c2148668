// Looks again when the server said to, and replaces the figures without reloading the page. Without
// this module the page reloads itself.
//
// A screen reader hears only what has changed. When it is one's turn: a sound, if one was asked for,
// the title, and then the seats.

const AFTER_TROUBLE_SECONDS = 5;
const SEATS_AFTER_MS = 1500;

const place = document.querySelector("#place");
const news = document.querySelector("#news");
const soundLine = document.querySelector("#sound");
const soundButton = soundLine.querySelector("button");
let sound = null;
let timer = 0;
let lookedAt = Date.now();
let told = newsOf(place);

function newsOf(shown) {
  return shown.querySelector("[data-news]")?.textContent.trim() ?? "";
}

function lookAgainIn(seconds) {
  clearTimeout(timer);
  timer = setTimeout(look, seconds * 1000);
}

async function look() {
  lookedAt = Date.now();
  try {
    const answer = await fetch(news.dataset.address, { headers: { Accept: "text/html" } });
    if (answer.status >= 500 || answer.status === 429) {
      lookAgainIn(Number(answer.headers.get("Retry-After")) || AFTER_TROUBLE_SECONDS);
      return;
    }
    if (answer.status === 204) {
      comeIn();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const shown = page.querySelector("#place");
    if (!shown) {
      location.reload(); // over, or signed out elsewhere: the server says why
      return;
    }
    place.replaceChildren(...shown.childNodes);
    place.dataset.refreshSeconds = shown.dataset.refreshSeconds;
    document.title = shown.dataset.title;
    if (newsOf(place) !== told) {
      told = newsOf(place);
      news.textContent = told;
    }
    lookAgainIn(Number(shown.dataset.refreshSeconds));
  } catch {
    lookAgainIn(AFTER_TROUBLE_SECONDS); // no network for a moment: the place is kept
  }
}

function comeIn() {
  clearTimeout(timer);
  news.textContent = document.title = news.dataset.yourTurn;
  if (sound) {
    ring();
  }
  setTimeout(() => location.reload(), SEATS_AFTER_MS); // the server leads on to the seats
}

function ring() {
  sound.resume(); // phones pause it while the page is out of sight
  for (const [start, pitch] of [[0, 660], [0.25, 880], [0.5, 1100]]) {
    const tone = sound.createOscillator();
    const volume = sound.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.2, sound.currentTime + start);
    volume.gain.exponentialRampToValueAtTime(0.001, sound.currentTime + start + 0.22);
    tone.connect(volume).connect(sound.destination);
    tone.start(sound.currentTime + start);
    tone.stop(sound.currentTime + start + 0.23);
  }
}

// After a sleep, in another tab, or without a network for a while: look at once, but not sooner than
// the server has asked for.
function lookIfDue() {
  const due = Number(place.dataset.refreshSeconds) * 1000;
  if (document.visibilityState === "visible" && Date.now() - lookedAt >= due) {
    look();
  }
}

document.addEventListener("visibilitychange", lookIfDue);
addEventListener("online", lookIfDue);
addEventListener("pageshow", lookIfDue);
soundLine.classList.toggle("later", !("AudioContext" in window));
soundButton.addEventListener("click", () => {
  sound ??= new AudioContext(); // browsers make a sound only for those who asked for one
  ring();
  soundButton.textContent = soundButton.dataset.on; // it stays, and keeps the focus
});
lookAgainIn(Number(place.dataset.refreshSeconds));
