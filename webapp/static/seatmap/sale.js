// Names, prices and words of this sale, as the page brought them: in its language, in its way of writing
// money.

import { fill } from "./choice.js";

export class Sale {
  constructor(data, hall) {
    Object.assign(this, data);
    this.hall = hall;
    // The hall numbers its price levels from the stage, the sale as the organiser ordered them.
    this.rank = hall.levels.map((code) => this.levels.findIndex((level) => level.code === code));
  }

  levelOf(seat) {
    return this.levels[this.rank[this.hall.level[seat]]];
  }

  levelName(seat) {
    return this.levelOf(seat).name;
  }

  minorOf(seat) {
    return this.levelOf(seat).minor;
  }

  priceOf(seat) {
    return this.price(this.minorOf(seat));
  }

  price(minor) {
    const { pattern, decimals } = this.money;
    const digits = (minor / 10 ** decimals).toFixed(decimals).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
    return pattern.replace("{}", digits);
  }

  place(seat) {
    const section = this.sections[this.hall.sectionOf(seat).code];
    return fill(this.words.place, { section, row: this.hall.rowOf[seat].name, seat: this.hall.number[seat] });
  }

  /** As short as it can be said: 1A · C 12. */
  short(seat) {
    return `${this.hall.sectionOf(seat).code} ${this.hall.rowOf[seat].name} ${this.hall.number[seat]}`;
  }

  notes(seat) {
    const { hall, words } = this;
    return ["accessible", "companion", "restricted"].filter((kind) => hall[kind].has(seat)).map((kind) => words[kind]);
  }

  stateOf(seat, board, choice) {
    const { words } = this;
    if (choice.has(seat)) return words.chosen;
    if (board.isFree(seat)) return board.mine.has(seat) ? words.yours : words.free;
    return { h: words.held, s: words.sold, b: words.closed }[board.state(seat)];
  }
}
