// The seat map: puts hall, camera, drawing, board and choice together, and listens to the customer.
// Without this module the page has the same seats as a list.

import { sendKindly } from "../sending.js";
import { Board } from "./board.js";
import { Camera } from "./camera.js";
import { Choice, fill } from "./choice.js";
import { draw, Drawing } from "./drawing.js";
import { loadHall } from "./hall.js";
import { Sale } from "./sale.js";

const CLOSE = 1.5; // pixels per unit: 15 between two seats, enough for a thumb with `reach` around it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const find = (selector) => document.querySelector(selector);

class SeatMap {
  #cursor = -1;
  #pointed = 0;

  constructor(hall, data) {
    this.hall = hall;
    this.sale = new Sale(data, hall);
    this.board = new Board(data.availability, hall.size, data.mine);
    this.choice = new Choice(hall, this.board, this.sale);
    this.frame = find("#hall");
    this.card = find("#seatcard");
    for (const part of document.querySelectorAll("#map .later")) part.classList.remove("later");
    find("#coming").remove();
    this.camera = new Camera(find("#drawing"), hall);
    this.drawing = new Drawing(find("#drawing"), hall, this.camera, this.sale, this.board);
    this.#makeMinimap();
    this.#listen(data);
  }

  #listen(data) {
    this.board.addEventListener("change", (event) => this.#changed(event.detail));
    this.board.addEventListener("lost", () => this.choice.say(this.sale.words.offline));
    this.board.addEventListener("found", () => this.choice.say(this.sale.words.online));
    this.board.addEventListener("change", () => this.#begin(data), { once: true });
    this.choice.addEventListener("change", () => this.drawing.choose(this.choice.seats));
    this.camera.addEventListener("tap", (event) => this.#tap(event.detail));
    this.camera.addEventListener("hover", (event) => this.#hover(event.detail));
    this.camera.addEventListener("move", () => this.#moved());
    this.frame.addEventListener("keydown", (event) => this.#key(event));
    this.frame.addEventListener("blur", () => this.#point(-1));
    this.frame.addEventListener("pointerleave", (event) => (this.card.hidden ||= event.pointerType === "mouse"));
    find(".zoom").addEventListener("click", (event) => this.#zoom(event.target.dataset.zoom));
    find(".legend").addEventListener("click", (event) => this.#filter(event.target.closest("button")));
  }

  #begin(data) {
    this.choice.start([...data.mine, ...data.chosen.map((label) => this.hall.byLabel.get(label))]);
    const gone = data.chosen.map((label) => this.hall.byLabel.get(label)).filter((seat) => !this.board.isFree(seat));
    this.choice.lose(gone);
    find("#map").dataset.ready = "yes";
    performance.mark("seatmap-ready");
  }

  #changed(seats) {
    const touched = new Set(seats.map((seat) => this.hall.sectionOf(seat)));
    this.drawing.refresh(touched);
    this.drawing.look();
    this.choice.heed(seats);
  }

  #tap({ clientX, clientY }) {
    const { x, y } = this.camera.at(clientX, clientY);
    if (!this.drawing.near) {
      const seat = this.hall.nearest(x, y, 40 / this.camera.k);
      if (seat >= 0) this.#enter(this.hall.section[seat], { x, y });
      return;
    }
    const seat = this.hall.nearest(x, y, this.drawing.reach, (other) => this.board.isFree(other));
    const taken = this.hall.nearest(x, y, 6);
    const meant = taken >= 0 && !this.board.isFree(taken) ? taken : seat;
    if (meant < 0) {
      this.card.hidden = true;
      return;
    }
    this.choice.toggle(meant);
    this.#describe(meant);
  }

  #hover({ clientX, clientY, pointerType }) {
    if (pointerType !== "mouse") return;
    const { x, y } = this.camera.at(clientX, clientY);
    const seat = this.hall.nearest(x, y, this.drawing.near ? 6 : 24 / this.camera.k);
    this.frame.classList.toggle("pointing", seat >= 0);
    if (!this.drawing.near) this.drawing.outline(seat < 0 ? -1 : this.hall.section[seat]);
    if (seat < 0) this.card.hidden = true;
    else if (this.drawing.near) this.#describe(seat);
    else this.#describeSection(this.hall.sectionOf(seat));
  }

  #enter(index, around) {
    this.#pointed = index;
    this.camera.frame(this.hall.sections[index].box, CLOSE, around);
    const { code } = this.hall.sections[index];
    const [free, from] = this.drawing.sections[index].summary;
    this.choice.say(fill(this.sale.words.section, { section: this.sale.sections[code], free, from }));
  }

  // -- what a seat is --

  #describe(seat) {
    const lines = [this.sale.place(seat), `${this.sale.levelName(seat)} · ${this.sale.priceOf(seat)}`, this.sale.stateOf(seat, this.board, this.choice)];
    const notes = this.sale.notes(seat);
    this.#fillCard(notes.length ? [...lines, notes.join(", ")] : lines);
  }

  #describeSection(section) {
    this.#fillCard([this.sale.sections[section.code], ...this.drawing.sections[section.index].summary]);
  }

  #fillCard(lines) {
    const [title, ...rest] = lines.filter(Boolean);
    const strong = Object.assign(document.createElement("strong"), { textContent: title });
    this.card.replaceChildren(strong, ...rest.map((line) => Object.assign(document.createElement("span"), { textContent: line })));
    this.card.hidden = false;
  }

  // -- by keyboard --

  #key(event) {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key in ARROWS) this.#step(...ARROWS[key]);
    else if (key === "Enter" || key === " ") this.#press();
    else if (key === "+" || key === "=") this.camera.zoomIn();
    else if (key === "-") this.camera.zoomOut();
    else if (key === "0" || key === "Escape") this.#back();
    else return;
    event.preventDefault();
  }

  #step(dx, dy) {
    if (!this.drawing.near) {
      this.#stepSection(dx, dy);
      return;
    }
    const next = this.#cursor >= 0
      ? this.hall.towards(this.#cursor, dx, dy)
      : this.hall.nearest(this.camera.x, this.camera.y, Infinity);
    if (next < 0) return;
    this.#point(next);
    this.camera.reveal(this.hall.x[next], this.hall.y[next]);
    this.#describe(next);
    const notes = this.sale.notes(next);
    this.choice.say([this.sale.place(next), this.sale.levelName(next), this.sale.priceOf(next), this.sale.stateOf(next, this.board, this.choice), ...notes].join(", "));
  }

  #stepSection(dx, dy) {
    const here = middle(this.hall.sections[this.#pointed].box);
    let best = -1;
    let least = Infinity;
    for (const section of this.hall.sections) {
      const there = middle(section.box);
      const ahead = (there.x - here.x) * dx + (there.y - here.y) * dy;
      const aside = Math.abs((there.x - here.x) * dy) + Math.abs((there.y - here.y) * dx);
      if (ahead > 5 && ahead + 2 * aside < least) {
        least = ahead + 2 * aside;
        best = section.index;
      }
    }
    if (best >= 0) this.#pointed = best;
    const section = this.hall.sections[this.#pointed];
    this.drawing.outline(this.#pointed);
    this.#describeSection(section);
    const [free, from] = this.drawing.sections[this.#pointed].summary;
    this.choice.say(fill(this.sale.words.section, { section: this.sale.sections[section.code], free, from }));
  }

  #press() {
    if (!this.drawing.near) {
      const { seats } = this.hall.sections[this.#pointed];
      const first = seats.find((seat) => this.board.isFree(seat)) ?? seats[0];
      this.#enter(this.#pointed, { x: this.hall.x[first], y: this.hall.y[first] });
      this.#point(first);
    } else if (this.#cursor >= 0) {
      this.choice.toggle(this.#cursor);
      this.#describe(this.#cursor);
    } else this.#step(0, 0);
  }

  #back() {
    this.#point(-1);
    this.card.hidden = true;
    this.camera.fit();
  }

  #point(seat) {
    this.#cursor = seat;
    this.drawing.point(seat);
    if (seat >= 0) this.#pointed = this.hall.section[seat];
  }

  // -- around the map --

  #zoom(how) {
    if (how === "in") this.camera.zoomIn();
    else if (how === "out") this.camera.zoomOut();
    else if (how === "fit") this.#back();
  }

  #filter(button) {
    if (!button) return;
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    const pressed = [...document.querySelectorAll('.legend [aria-pressed="true"]')];
    this.drawing.setFilter({
      levels: new Set(pressed.map((key) => key.dataset.level).filter(Boolean)),
      accessible: pressed.some((key) => key.dataset.only === "accessible"),
    });
  }

  #makeMinimap() {
    const minimap = find("#minimap");
    minimap.setAttribute("viewBox", `0 0 ${this.hall.width} ${this.hall.height}`);
    const parts = this.hall.sections.map(({ outline }) =>
      draw("polygon", { points: outline.map((seat) => `${this.hall.x[seat]},${this.hall.y[seat]}`).join(" ") }),
    );
    this.window = draw("rect", { class: "window", rx: 8 });
    minimap.replaceChildren(...parts, this.window);
    const go = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = minimap.getBoundingClientRect();
      const scale = Math.min(box.width / this.hall.width, box.height / this.hall.height);
      const x = (event.clientX - box.left - (box.width - this.hall.width * scale) / 2) / scale;
      const y = (event.clientY - box.top - (box.height - this.hall.height * scale) / 2) / scale;
      this.camera.show({ x, y, k: this.camera.k });
    };
    minimap.addEventListener("pointerdown", go);
    minimap.addEventListener("pointermove", go);
  }

  #moved() {
    const { left, top, right, bottom } = this.camera.seen;
    find("#minimap").toggleAttribute("hidden", !this.camera.zoomed);
    const place = { x: left, y: top, width: right - left, height: bottom - top };
    for (const [name, value] of Object.entries(place)) this.window.setAttribute(name, value);
  }
}

function middle(box) {
  return { x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 };
}

const data = JSON.parse(find("#sale").textContent);
for (const form of document.querySelectorAll("form[data-send]")) sendKindly(form);
const map = new SeatMap(await loadHall(data.map), data);
await map.board.look();
