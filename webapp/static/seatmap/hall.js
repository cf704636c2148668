// The hall as numbers: where every seat is, who sits beside whom, which is nearest. It never changes;
// the server says how it is packed (webapp/web/map_shapes.py).

const SIDES = [-1, 1];
const AFTER_TROUBLE_MS = 5_000;

/** Load the hall, trying until it is there: the list has the same seats meanwhile. */
export async function loadHall(address) {
  let shape;
  while (!(shape = await download(address))) await new Promise((done) => setTimeout(done, AFTER_TROUBLE_MS));
  return new Hall(shape);
}

async function download(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // no network for a moment
  }
}

/** Turn a first value and differences into the values themselves. */
function summed(differences) {
  let value = 0;
  return differences.map((difference) => (value += difference));
}

export class Hall {
  constructor(shape) {
    this.width = shape.width;
    this.height = shape.height;
    this.stage = shape.stage;
    this.levels = shape.levels;
    this.size = shape.seats;
    this.x = new Float32Array(this.size);
    this.y = new Float32Array(this.size);
    this.number = new Int32Array(this.size);
    this.level = new Uint8Array(this.size);
    this.section = new Uint16Array(this.size);
    this.rowOf = new Array(this.size);
    this.labels = new Array(this.size);
    this.accessible = new Set(shape.accessible);
    this.companion = new Set(shape.companion);
    this.restricted = new Set(shape.restricted);
    this.sections = shape.sections.map((section, index) => this.#section(section, index));
    this.byLabel = new Map(this.labels.map((label, seat) => [label, seat]));
  }

  #section({ code, rows }, index) {
    const made = rows.map((row) => this.#row(row, code, index));
    const seats = made.flatMap((row) => row.seats);
    const xs = seats.map((seat) => this.x[seat]);
    const ys = seats.map((seat) => this.y[seat]);
    const box = { left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
    return { code, index, rows: made, seats, box, outline: outlineOf(made), levels: [...new Set(seats.map((s) => this.level[s]))] };
  }

  #row(packed, code, section) {
    const seats = summed(packed.seat);
    const [numbers, xs, ys] = [summed(packed.number), summed(packed.x), summed(packed.y)];
    const row = { name: packed.row, seats };
    seats.forEach((seat, at) => {
      this.number[seat] = numbers[at];
      this.x[seat] = xs[at];
      this.y[seat] = ys[at];
      this.level[seat] = Array.isArray(packed.level) ? packed.level[at] : packed.level;
      this.section[seat] = section;
      this.rowOf[seat] = row;
      this.labels[seat] = packed.labels ? packed.labels[at] : `${code}-${packed.row}-${numbers[at]}`;
    });
    return row;
  }

  sectionOf(seat) {
    return this.sections[this.section[seat]];
  }

  /** The seats directly beside: a skipped number is an aisle. */
  beside(seat) {
    const { seats } = this.rowOf[seat];
    const at = seats.indexOf(seat);
    return SIDES.map((side) => seats[at + side]).filter(
      (other) => other !== undefined && Math.abs(this.number[other] - this.number[seat]) === 1,
    );
  }

  /** The nearest seat to a point that `accepts`, at most `reach` away; -1 for none. */
  nearest(x, y, reach, accepts = () => true) {
    let found = -1;
    let best = reach * reach;
    for (let seat = 0; seat < this.size; seat += 1) {
      const away = (this.x[seat] - x) ** 2 + (this.y[seat] - y) ** 2;
      if (away <= best && accepts(seat)) {
        best = away;
        found = seat;
      }
    }
    return found;
  }

  /** The next seat from one in a direction, as the eye sees it; -1 at the edge. */
  towards(seat, dx, dy) {
    let found = -1;
    let best = Infinity;
    for (let other = 0; other < this.size; other += 1) {
      const ahead = (this.x[other] - this.x[seat]) * dx + (this.y[other] - this.y[seat]) * dy;
      const aside = Math.abs((this.x[other] - this.x[seat]) * dy) + Math.abs((this.y[other] - this.y[seat]) * dx);
      if (ahead < 3 || aside > ahead * 1.5) continue;
      const away = ahead + 2.5 * aside;
      if (away < best) {
        best = away;
        found = other;
      }
    }
    return found;
  }

  /** The seats that choosing `chosen` would leave alone, and that were not alone before. */
  leftAlone(chosen, isFree) {
    const free = (seat) => isFree(seat) && !chosen.has(seat);
    const neighbours = new Set([...chosen].flatMap((seat) => this.beside(seat)));
    return [...neighbours].filter((seat) => free(seat) && !this.beside(seat).some(free));
  }
}

/** Walk around a section: along its first row, down the rows' ends, back along the last row, up again. */
function outlineOf(rows) {
  const first = rows[0].seats;
  const last = rows.at(-1).seats;
  const between = rows.slice(1, -1);
  const around = [...first, ...between.map((row) => row.seats.at(-1)), ...[...last].reverse(), ...between.map((row) => row.seats[0]).reverse()];
  return [...new Set(around)];
}
