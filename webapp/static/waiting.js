// Looks again when the server said to, and replaces the figures without reloading the page. Without
// this module the page reloads itself.

const AFTER_TROUBLE_SECONDS = 5;

const place = document.querySelector("#place");
place.setAttribute("aria-live", "polite");

function lookAgainIn(seconds) {
  setTimeout(look, seconds * 1000);
}

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.status >= 500 || answer.status === 429) {
      lookAgainIn(Number(answer.headers.get("Retry-After")) || AFTER_TROUBLE_SECONDS);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const news = page.querySelector("#place");
    if (answer.redirected || !news) {
      location.reload(); // let in, or over: the server says where to go
      return;
    }
    place.replaceChildren(...news.childNodes);
    document.title = page.title;
    lookAgainIn(Number(news.dataset.refreshSeconds));
  } catch {
    lookAgainIn(AFTER_TROUBLE_SECONDS); // no network for a moment: the place is kept
  }
}

lookAgainIn(Number(place.dataset.refreshSeconds));
