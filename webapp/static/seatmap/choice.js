// The seats that are chosen, in the map, in the list and in the bar: one choice, three places to see it.

const LISTED_MAX = 12;

export class Choice extends EventTarget {
  #seats = new Set();

  constructor(hall, board, sale) {
    super();
    Object.assign(this, { hall, board, sale });
    this.picked = document.querySelector("#picked");
    this.bar = document.querySelector("#bar");
    this.warnings = document.querySelector("#warnings");
    this.boxes = new Map();
    for (const box of document.querySelectorAll('#rows input[name="seat"]')) this.boxes.set(hall.byLabel.get(box.value), box);
    document.querySelector("#rows")?.addEventListener("change", (event) => this.#ticked(event.target));
    document.querySelector("#rows .stick")?.remove(); // the bar has the button
    this.picked.addEventListener("click", (event) => this.#clicked(event));
    this.warnings.addEventListener("click", (event) => this.#clicked(event));
    this.bar.addEventListener("submit", (event) => this.#refuse(event), true);
  }

  get seats() {
    return [...this.#seats].sort((a, b) => a - b);
  }

  has(seat) {
    return this.#seats.has(seat);
  }

  start(seats) {
    this.#seats = new Set(seats.filter((seat) => this.board.isFree(seat)).slice(0, this.sale.seatsMax));
    this.#show();
  }

  toggle(seat) {
    if (this.#seats.has(seat)) this.remove(seat);
    else this.add(seat);
  }

  add(seat) {
    const { sale } = this;
    if (!this.board.isFree(seat)) {
      this.#warn(sale.words.taken, seat);
    } else if (this.#seats.size >= sale.seatsMax) {
      this.#warn(sale.words.limit.replace("{count}", sale.seatsMax), -1);
    } else {
      this.#seats.add(seat);
      this.#show();
      this.say(fill(sale.words.added, { place: sale.place(seat), price: sale.priceOf(seat), count: this.#seats.size, total: this.total }));
      return;
    }
    this.#tickBoxes();
  }

  remove(seat) {
    this.#seats.delete(seat);
    this.#show();
    this.say(this.sale.words.removed.replace("{place}", this.sale.place(seat)));
  }

  get total() {
    return this.sale.price(this.seats.reduce((sum, seat) => sum + this.sale.minorOf(seat), 0));
  }

  /** Seats changed hands: let go of those that are gone, say so, and offer the nearest. */
  heed(changed) {
    const lost = changed.filter((seat) => this.#seats.has(seat) && !this.board.isFree(seat));
    for (const seat of changed) this.#showState(seat);
    if (!lost.length) {
      if (changed.length && this.#seats.size) this.#show();
      return;
    }
    lost.forEach((seat) => this.#seats.delete(seat));
    this.#show();
    this.lose(lost);
  }

  lose(lost) {
    for (const seat of lost) {
      const nearest = this.hall.nearest(this.hall.x[seat], this.hall.y[seat], Infinity, (other) => this.#offers(seat, other));
      const text = this.sale.words.lost.replace("{place}", this.sale.place(seat));
      const offer = nearest < 0 ? "" : fill(this.sale.words.nearest, { place: this.sale.place(nearest), price: this.sale.priceOf(nearest) });
      this.#warn(text, nearest, offer);
    }
  }

  #offers(lost, other) {
    const same = this.hall.level[lost] === this.hall.level[other];
    return same && this.board.isFree(other) && !this.#seats.has(other);
  }

  /** Say something to those who listen. */
  say(text) {
    document.querySelector("#said").textContent = text;
  }

  #ticked(box) {
    if (box.name !== "seat") return;
    const seat = this.hall.byLabel.get(box.value);
    if (box.checked) this.add(seat);
    else this.remove(seat);
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const seat = Number(button.dataset.seat);
    button.closest(".warning")?.remove();
    if (button.dataset.act === "add") this.add(seat);
    else this.remove(seat);
  }

  #refuse(event) {
    const alone = this.sale.rule === "strict" ? this.#alone() : [];
    if (this.#seats.size && !alone.length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!this.#seats.size) this.#warn(this.sale.words.none, -1);
    else this.#warnAlone(alone);
  }

  #alone() {
    if (this.sale.rule === "off") return [];
    return this.hall.leftAlone(this.#seats, (seat) => this.board.isFree(seat));
  }

  #warnAlone(alone) {
    this.warnings.querySelectorAll(".alone").forEach((warning) => warning.remove());
    for (const seat of alone) {
      const text = this.sale.words.alone.replace("{place}", this.sale.place(seat));
      this.#warn(this.sale.rule === "strict" ? `${text} ${this.sale.words.strict}` : text, seat, this.sale.words.takeIt, "alone");
    }
  }

  #warn(text, seat, offer = "", kind = "") {
    const warning = document.createElement("div");
    warning.className = `warning ${kind}`;
    const words = document.createElement("p");
    words.textContent = text;
    warning.append(words);
    if (offer) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: offer, className: "quiet" });
      Object.assign(button.dataset, { seat, act: "add" });
      warning.append(button);
    }
    while (this.warnings.children.length > 2) this.warnings.firstChild.remove();
    this.warnings.append(warning);
    this.bar.hidden = false;
  }

  #show() {
    const { words } = this.sale;
    this.warnings.querySelectorAll(".warning").forEach((warning) => warning.remove());
    this.picked.replaceChildren(...this.seats.slice(0, LISTED_MAX).map((seat) => this.#chip(seat)));
    document.querySelector("#sum-count").textContent = this.#seats.size ? "" : words.none;
    document.querySelector("#sum-total").textContent = this.#seats.size ? this.total : "";
    this.bar.hidden = this.#seats.size === 0;
    if (this.#seats.size < this.sale.seatsMax || this.sale.rule === "strict") this.#warnAlone(this.#alone());
    this.#tickBoxes();
    this.dispatchEvent(new Event("change"));
  }

  #chip(seat) {
    const chip = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.dataset.seat = seat;
    button.setAttribute("aria-label", this.sale.words.remove.replace("{place}", this.sale.place(seat)));
    button.append(this.sale.short(seat), Object.assign(document.createElement("span"), { textContent: "×" }));
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "seat", value: this.hall.labels[seat] });
    chip.append(button, field);
    return chip;
  }

  #tickBoxes() {
    for (const [seat, box] of this.boxes) box.checked = this.#seats.has(seat);
  }

  #showState(seat) {
    const box = this.boxes.get(seat);
    if (!box) return;
    const { words } = this.sale;
    const own = this.board.mine.has(seat);
    box.disabled = !this.board.isFree(seat);
    const state = { f: words.free, h: words.held, s: words.sold, b: words.closed }[this.board.state(seat)];
    box.parentElement.querySelector(".state").textContent = own && this.board.isFree(seat) ? words.yours : state;
  }
}

export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
