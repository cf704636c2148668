// Does the work that is asked for before joining, when the form is sent, and sends it then.

const form = document.querySelector("form[data-challenge]");
const field = form.querySelector("[name=challenge_answer]");

async function work(challenge, bits) {
  const text = new TextEncoder();
  for (let nonce = 0; ; nonce += 1) {
    const answer = `${challenge}:${nonce}`;
    const digest = new DataView(await crypto.subtle.digest("SHA-256", text.encode(answer)));
    if (digest.getUint32(0) >>> (32 - bits) === 0) {
      return answer;
    }
  }
}

let underWay = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (underWay) return; // a double tap is one
  if (!crypto.subtle) {
    form.querySelector("#no-work").hidden = false; // browsers have it over https, and on localhost
    return;
  }
  underWay = true;
  form.setAttribute("aria-busy", "true");
  field.value = await work(form.dataset.challenge, Number(form.dataset.bits));
  form.submit();
});
// Coming back by the browser's Back: what is asked may be over.
addEventListener("pageshow", (event) => event.persisted && location.reload());
