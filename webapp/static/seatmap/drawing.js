// Draws the hall. From far: sections with their name, what they cost and how many are free. From near:
// seats, all those of one section, price and state in one path, so that 20,000 cost a phone some hundred
// elements; a change redraws one section's paths. Shapes tell prices apart, colour is only the second sign.

const SVG = "http://www.w3.org/2000/svg";
const NEAR = 0.72; // pixels per unit from which on seats are drawn: 7 pixels between two seats
const NUMBERS_FROM = 2.3;
const ROOM = 9; // around a section's seats
const R = 4.4;
const [TINY, SMALL, LARGE] = [8, 10, 14]; // of a letter, in pixels
const [LINE, LETTER, CLEAR] = [1.25, 0.6, 0.84]; // of its size: line, width; and of a section: what is written on

const circle = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
const SHAPES = [
  (x, y) => circle(x, y, R),
  (x, y) => `M${x - 4} ${y - 4}h8v8h-8z`,
  (x, y) => `M${x} ${y - 4.9}l4.900 4.900l-4.900 4.900l-4.900-4.900z`,
  (x, y) => `M${x} ${y - 4.8}l4.600 8.600h-9.200z`,
  (x, y) => `M${x - 4.5} ${y - 1.7}h2.800v-2.800h3.400v2.800h2.800v3.400h-2.800v2.800h-3.400v-2.800h-2.800z`,
  (x, y) => `M${x} ${y + 4.8}l4.600-8.600h-9.200z`,
];
const STATES = {
  h: (x, y) => circle(x, y, 3.4),
  s: (x, y) => `M${x - 2} ${y - 2}l4 4M${x + 2} ${y - 2}l-4 4`,
  b: (x, y) => `M${x - 2} ${y}h4`,
};

export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class Drawing {
  /** `sale` says names, prices and words; `board` which seats are free, mine and wanted. */
  constructor(svg, hall, camera, sale, board) {
    Object.assign(this, { svg, hall, camera, sale, board });
    this.shapeOf = sale.rank.map((rank) => rank % SHAPES.length);
    this.sections = hall.sections.map((section) => this.#makeSection(section));
    this.chosen = draw("g", { class: "chosen" });
    this.cursor = draw("circle", { class: "cursor", r: 7.5, visibility: "hidden" });
    svg.replaceChildren(
      this.#makeStage(),
      ...this.sections.map((part) => part.group),
      this.chosen,
      this.cursor,
    );
    this.filter = { levels: new Set(), accessible: false };
    camera.addEventListener("move", () => this.look());
    this.refresh(hall.sections);
    this.look();
  }

  get near() {
    return this.camera.k >= NEAR;
  }

  /** How far from a seat a tap still means it: a finger's width from far, the seat's own place from near. */
  get reach() {
    return Math.max(6, 16 / this.camera.k);
  }

  #makeStage() {
    const { x, y, width, height } = this.hall.stage;
    const bow = height * 0.28;
    const d = `M${x} ${y}h${width}v${height - bow}q${-width / 2} ${2 * bow} ${-width} 0z`;
    return draw("g", { class: "stage" }, draw("path", { d }), this.#text(x + width / 2, y + height / 2, this.sale.words.stage, "stagename"));
  }

  #text(x, y, text, name) {
    const element = draw("text", { x, y, class: name });
    element.textContent = text;
    return element;
  }

  #makeSection(section) {
    const points = section.outline.map((seat) => `${this.hall.x[seat]},${this.hall.y[seat]}`).join(" ");
    const shell = draw("polygon", { class: "shell", points, "stroke-width": 2 * ROOM });
    const { left, right, top, bottom } = section.box;
    const [x, y] = middleOf(this.hall, section, (left + right) / 2, (top + bottom) / 2);
    const room = roomAt(this.hall, section, x, y);
    const lines = [0, 1, 2].map(() => this.#text(room.x, y, "", "line"));
    const label = draw("g", { class: "label" }, ...lines);
    const seats = draw("g", { class: "seats" });
    const group = draw("g", { class: "section", "data-section": section.code }, shell, seats, label);
    return { section, group, shell, seats, label, lines, at: { x, y }, room, drawn: false, numbered: false };
  }

  /** Show more or less, as the camera asks for it. */
  look() {
    const { k, seen } = this.camera;
    this.svg.classList.toggle("near", this.near);
    const numbers = k >= NUMBERS_FROM;
    for (const part of this.sections) {
      const { box } = part.section;
      const inView = box.left < seen.right + ROOM && box.right > seen.left - ROOM && box.top < seen.bottom + ROOM && box.bottom > seen.top - ROOM;
      const withSeats = this.near && inView;
      if (withSeats && (!part.drawn || part.numbered !== numbers)) this.#drawSeats(part, numbers);
      part.seats.classList.toggle("hiding", !withSeats);
      part.label.classList.toggle("hiding", this.near || !inView);
      if (!this.near && inView) this.#placeLabel(part, k);
    }
  }

  #placeLabel(part, k) {
    const { code } = part.section;
    const [width, height] = [part.room.width * k * CLEAR, part.room.height * k];
    const [free, from] = part.summary;
    // In full, in short, or the code alone: whatever there is room for.
    const texts = [
      [this.sale.sections[code], free, from],
      [`${code} · ${part.short}`, part.price],
      [code, part.short, part.price],
      [code, part.short],
      [code],
    ].find((lines) => widest(lines) * LETTER * SMALL < width && lines.length * SMALL * LINE < height) ?? [code];
    const size = Math.min(LARGE, Math.max(TINY, width / (widest(texts) * LETTER))) / k;
    part.lines.forEach((line, at) => {
      line.textContent = texts[at] ?? "";
      line.setAttribute("font-size", at ? size * 0.88 : size);
      line.setAttribute("y", part.at.y + (at - (texts.length - 1) / 2) * size * LINE);
    });
  }

  #drawSeats(part, numbers) {
    const paths = new Map();
    const add = (name, d) => paths.set(name, (paths.get(name) ?? "") + d);
    const { hall, board } = this;
    for (const seat of part.section.seats) {
      const [x, y] = [hall.x[seat], hall.y[seat]];
      if (!board.isFree(seat)) {
        add(`state-${board.state(seat)}`, STATES[board.state(seat)](x, y));
        continue;
      }
      const shape = this.shapeOf[hall.level[seat]];
      add(`free level-${shape}${this.#wanted(seat) ? "" : " dim"}`, SHAPES[shape](x, y));
      if (numbers) continue;
      if (hall.accessible.has(seat) || hall.companion.has(seat)) add("hole", circle(x, y, 1.8));
      if (hall.restricted.has(seat)) add("slash", `M${x - 3.4} ${y + 3.4}l6.800-6.800`);
    }
    part.seats.replaceChildren(
      ...[...paths].map(([name, d]) => draw("path", { class: name, d })),
      ...this.#rowNames(part.section),
      ...(numbers ? this.#numbers(part.section) : []),
    );
    part.drawn = true;
    part.numbered = numbers;
  }

  #rowNames(section) {
    const { hall } = this;
    return section.rows.flatMap(({ name, seats }) => {
      const ends = [[seats[0], seats[1] ?? seats[0]], [seats.at(-1), seats.at(-2) ?? seats.at(-1)]];
      return ends.map(([end, next], side) => {
        const away = Math.hypot(hall.x[end] - hall.x[next], hall.y[end] - hall.y[next]);
        const [dx, dy] = away ? [(hall.x[end] - hall.x[next]) / away, (hall.y[end] - hall.y[next]) / away] : [side ? 1 : -1, 0];
        return this.#text(hall.x[end] + dx * 9, hall.y[end] + dy * 9, name, "rowname");
      });
    });
  }

  #numbers(section) {
    const { hall, board } = this;
    return section.seats
      .filter((seat) => board.isFree(seat))
      .map((seat) => this.#text(hall.x[seat], hall.y[seat], sign(hall, seat), `seatnumber level-${this.shapeOf[hall.level[seat]]}`));
  }

  #wanted(seat) {
    const { levels, accessible } = this.filter;
    if (accessible && !this.hall.accessible.has(seat) && !this.hall.companion.has(seat)) return false;
    return levels.size === 0 || levels.has(this.hall.levels[this.hall.level[seat]]);
  }

  setFilter(filter) {
    this.filter = filter;
    this.refresh(this.hall.sections);
    this.look();
  }

  /** Draw sections anew, after seats in them changed hands or the filter did. */
  refresh(sections) {
    for (const section of sections) {
      const part = this.sections[section.index];
      const free = section.seats.filter((seat) => this.board.isFree(seat) && this.#wanted(seat));
      const prices = free.map((seat) => this.sale.minorOf(seat));
      const cheapest = Math.min(...prices);
      const words = this.sale.words;
      part.summary = free.length
        ? [words.freeSeats.replace("{count}", free.length), words.from.replace("{price}", this.sale.price(cheapest))]
        : [words.full, ""];
      part.short = free.length ? String(free.length) : "–";
      part.price = free.length ? this.sale.price(cheapest) : words.full;
      part.group.classList.toggle("full", free.length === 0);
      const main = mostCommon(section.seats.map((seat) => this.shapeOf[this.hall.level[seat]]));
      part.shell.setAttribute("class", `shell level-${main}`);
      if (part.drawn && this.near) this.#drawSeats(part, part.numbered);
      else part.drawn = false;
    }
  }

  /** Show which seats are chosen: on top, in the strongest contrast, with a tick. */
  choose(seats) {
    this.chosen.replaceChildren(
      ...seats.flatMap((seat) => {
        const [x, y] = [this.hall.x[seat], this.hall.y[seat]];
        return [
          draw("circle", { cx: x, cy: y, r: 5.6 }),
          draw("path", { d: `M${x - 2.6} ${y + 0.2}l1.900 1.900l3.400-4.100` }),
        ];
      }),
    );
  }

  point(seat) {
    this.cursor.setAttribute("visibility", seat < 0 ? "hidden" : "visible");
    if (seat >= 0) {
      this.cursor.setAttribute("cx", this.hall.x[seat]);
      this.cursor.setAttribute("cy", this.hall.y[seat]);
    }
  }

  outline(index) {
    for (const part of this.sections) part.group.classList.toggle("pointed", part.section.index === index);
  }
}

/** A section's middle, on a seat: a bow's own middle lies outside of it. */
function middleOf(hall, section, x, y) {
  let best = section.seats[0];
  for (const seat of section.seats) {
    if (Math.hypot(hall.x[seat] - x, hall.y[seat] - y) < Math.hypot(hall.x[best] - x, hall.y[best] - y)) best = seat;
  }
  return [hall.x[best], hall.y[best]];
}

/** How wide and high a section is around a point, and its middle across: where it leans, as wide as above and below alike. */
function roomAt(hall, section, x, y) {
  const across = (from, to) => section.seats.filter((seat) => hall.y[seat] >= y + from && hall.y[seat] <= y + to).map((seat) => hall.x[seat]);
  const bands = [across(-34, -14), across(-7, 7), across(14, 34)].filter((xs) => xs.length);
  const left = Math.max(...bands.map((xs) => Math.min(...xs)));
  const right = Math.min(...bands.map((xs) => Math.max(...xs)));
  const ys = section.seats.filter((seat) => Math.abs(hall.x[seat] - x) < 7).map((seat) => hall.y[seat]);
  return { x: (left + right) / 2, width: right - left + 2 * ROOM, height: Math.max(...ys) - Math.min(...ys) + 2 * ROOM };
}

/** The longest line's letters; a Korean one is as wide as two. */
function widest(lines) {
  return Math.max(...lines.map((line) => [...line].reduce((sum, letter) => sum + (letter > "\u1100" ? 1.7 : 1), 0)));
}

function sign(hall, seat) {
  if (hall.accessible.has(seat)) return "♿︎";
  if (hall.restricted.has(seat)) return `${hall.number[seat]}◐`;
  return hall.companion.has(seat) ? `${hall.number[seat]}⚬` : String(hall.number[seat]);
}

function mostCommon(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}
