// The door by camera: sees a ticket's QR code, asks the house, and shows its answer as large as the page
// does. Without this module, or without a camera, the code is typed.

const LOOK_EVERY_MS = 150;
const SAME_TICKET_MS = 4_000; // a ticket held before the camera is asked about once
const SIDE_MAX = 720;

const camera = document.querySelector("#camera");
const video = document.querySelector("#video");
const form = document.querySelector("#code-form");
const said = document.querySelector("#camera-said");
let last = { code: "", at: -Infinity };
let asking = false;

/** Return what finds codes in a frame: the browser's own detector, or ours where it has none. */
async function makeDetector() {
  if ("BarcodeDetector" in window) {
    const formats = await BarcodeDetector.getSupportedFormats();
    if (formats.includes("qr_code")) {
      const own = new BarcodeDetector({ formats: ["qr_code"] });
      return async () => (await own.detect(video))[0]?.rawValue;
    }
  }
  const { decodeQR } = await import(camera.dataset.decoder);
  const canvas = document.createElement("canvas");
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  return async () => {
    const scale = Math.min(1, SIDE_MAX / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    paper.drawImage(video, 0, 0, canvas.width, canvas.height);
    try {
      return decodeQR(paper.getImageData(0, 0, canvas.width, canvas.height));
    } catch {
      return undefined; // it throws where there is no code to see
    }
  };
}

async function start() {
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    said.textContent = camera.dataset.refused;
    return;
  }
  document.querySelector("#finder").hidden = false;
  document.querySelector("#scan").hidden = true;
  await video.play();
  const find = await makeDetector();
  for (;;) {
    const code = asking || document.hidden ? undefined : await find();
    const known = code === last.code && performance.now() - last.at < SAME_TICKET_MS;
    if (code && known) last.at = performance.now();
    else if (code) await ask(code);
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
}

async function ask(code) {
  asking = true;
  last = { code, at: performance.now() };
  const body = new FormData(form);
  body.set("code", code);
  try {
    let answer = await fetch(location.href, { method: "POST", body, headers: { "Jari-Form": "1" } });
    const next = answer.headers.get("Location");
    if (next) answer = await fetch(next);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    show(page.querySelector("#answer > *, .problem"));
  } catch {
    last.code = ""; // ask again about the same ticket: nobody knows what happened
    show(document.querySelector("#network-gone").content.firstElementChild.cloneNode(true));
  }
  asking = false;
}

function show(words) {
  document.querySelector("#answer").replaceChildren(words);
  navigator.vibrate?.(words.classList.contains("go") ? 80 : [200, 80, 200]);
}

if (navigator.mediaDevices?.getUserMedia) {
  camera.classList.remove("later");
  document.querySelector("#scan").addEventListener("click", start);
}
