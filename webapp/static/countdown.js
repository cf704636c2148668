// Counts down what the server said is left. Without this module the page says until when.
// Measured with the browser's monotonic clock, because its wall clock may be wrong.

const SAID_AT = [120, 30];

for (const shown of document.querySelectorAll("[data-seconds-left]")) countDown(shown);

function countDown(shown) {
  const text = shown.querySelector("b");
  const voice = shown.querySelector("[role=alert]");
  const endsAt = performance.now() + Number(shown.dataset.secondsLeft) * 1000;
  const minutesWide = text.textContent.indexOf(":"); // or what stands behind would move when ten minutes become nine
  const toSay = SAID_AT.filter((seconds) => Number(shown.dataset.secondsLeft) > seconds);

  function tick() {
    const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    const minutes = String(Math.floor(left / 60)).padStart(minutesWide, "\u2007"); // as wide as a figure
    text.textContent = `${minutes}:${String(left % 60).padStart(2, "0")}`;
    if (left <= toSay[0]) {
      const seconds = toSay.shift();
      voice.textContent = shown.getAttribute(`data-at-${seconds}`);
      shown.classList.add("soon");
    }
    if (left === 0) location.replace(shown.dataset.over);
    else setTimeout(tick, 500);
  }

  tick();
}
