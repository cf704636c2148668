// Counts down what the server said is left. Without this module the page says until when.
// Measured with the browser's monotonic clock, because its wall clock may be wrong.

const shown = document.querySelector("#countdown");
const text = shown.querySelector("b");
const endsAt = performance.now() + Number(shown.dataset.secondsLeft) * 1000;

function tick() {
  const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
  text.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  if (left === 0) {
    location.replace(shown.dataset.over);
  } else {
    setTimeout(tick, 500);
  }
}

tick();
