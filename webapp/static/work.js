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

form.addEventListener("submit", async (event) => {
  if (!field.value) {
    event.preventDefault();
    form.querySelector("button").disabled = true;
    field.value = await work(form.dataset.challenge, Number(form.dataset.bits));
    form.submit();
  }
});
