// Sends a form without leaving the page, so that a lost answer leaves everything where it was: the
// choice, the map, the form's key. Without this module the browser sends the form as ever.

const PATIENCE_MS = 20_000;

/** Take over a form; `refused` hears the page that said no. */
export function sendKindly(form, refused = () => {}) {
  let underWay = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (underWay) return; // a double tap is one
    underWay = true;
    form.setAttribute("aria-busy", "true");
    const leaving = await send(form, event.submitter, refused);
    if (leaving) return; // stays busy until the next page is there
    underWay = false;
    form.removeAttribute("aria-busy");
  });
  // Coming back by the browser's Back: what the page says may be over.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
}

async function send(form, submitter, refused) {
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new FormData(form, submitter),
      headers: { "Jari-Form": "1" },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const next = answer.headers.get("Location") ?? (answer.redirected ? answer.url : null);
    if (next) {
      location.assign(next);
      return true;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    show(page.querySelector("#trouble > *, .problem"));
    refused(page);
  } catch {
    show(document.querySelector("#network-gone").content.firstElementChild.cloneNode(true));
  }
  return false;
}

function show(words) {
  const trouble = document.querySelector("#trouble");
  const card = document.createElement("div");
  card.setAttribute("role", "alert");
  card.append(words);
  for (const title of card.querySelectorAll("h1")) {
    // This page has a first heading already.
    title.replaceWith(Object.assign(document.createElement("h2"), { textContent: title.textContent }));
  }
  trouble.replaceChildren(card);
  trouble.scrollIntoView({ block: "center" });
  trouble.focus({ preventScroll: true });
}
