// Who has which seat, as far as this browser knows: the server's states, kept up to date by small
// differences, at the pace that the server asks for. Nothing here decides; the hold does.

const AFTER_TROUBLE_MS = 5_000;
const PATIENCE_MS = 10_000;

export class Board extends EventTarget {
  #states = [];
  #version = null;
  #timer = 0;
  #trouble = false;

  constructor(address, size, mine) {
    super();
    this.address = address;
    this.mine = new Set(mine);
    this.#states = new Array(size).fill("b");
    document.addEventListener("visibilitychange", () => this.#wake());
    window.addEventListener("online", () => this.#wake());
  }

  state(seat) {
    return this.#states[seat];
  }

  /** Free for this customer: what one holds oneself is. */
  isFree(seat) {
    return this.#states[seat] === "f" || (this.#states[seat] === "h" && this.mine.has(seat));
  }

  /** Look once; tell which seats changed. Then look again when the server said to. */
  async look() {
    clearTimeout(this.#timer);
    let pause = AFTER_TROUBLE_MS;
    try {
      const since = this.#version ? `?since=${this.#version}` : "";
      const answer = await fetch(this.address + since, { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(`${answer.status}`);
      const news = await answer.json();
      this.#take(news);
      pause = news.poll_after_ms;
      this.#tell(false);
    } catch {
      this.#tell(true);
    }
    if (!document.hidden) this.#timer = setTimeout(() => this.look(), pause);
  }

  #take(news) {
    const changed = [];
    const put = (seat, state) => {
      if (this.#states[seat] === state) return;
      this.#states[seat] = state;
      changed.push(seat);
    };
    if (news.states) [...news.states].forEach((state, seat) => put(seat, state));
    else for (const [seat, state] of Object.entries(news.changes)) put(Number(seat), state);
    this.#version = news.version;
    if (changed.length) this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }

  #tell(trouble) {
    if (trouble !== this.#trouble) this.dispatchEvent(new Event(trouble ? "lost" : "found"));
    this.#trouble = trouble;
  }

  #wake() {
    if (!document.hidden) this.look();
  }
}
