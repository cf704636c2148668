// What part of the hall is seen, and how it is moved: fingers, mouse, wheel, buttons, minimap. It knows
// nothing of seats. `k` is pixels per unit of the hall; (x, y) is the middle of what is seen.

const CLOSEST = 4.2;
const STEP = 1.7;
const MARGIN = 12;
const GLIDE_MS = 260;
const STILL_PIXELS = 8;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Camera extends EventTarget {
  #fingers = new Map();
  #gliding = 0;
  #moved = 0;

  constructor(svg, hall) {
    super();
    this.svg = svg;
    this.hall = hall;
    this.measure();
    this.show(this.whole());
    new ResizeObserver(() => this.#resized()).observe(svg);
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel", "touchend", "wheel"]) {
      svg.addEventListener(kind, this, { passive: false });
    }
  }

  measure() {
    const box = this.svg.getBoundingClientRect();
    this.pixels = { width: Math.max(1, box.width), height: Math.max(1, box.height) };
    this.fitting = Math.min(
      (this.pixels.width - 2 * MARGIN) / this.hall.width,
      (this.pixels.height - 2 * MARGIN) / this.hall.height,
    );
  }

  whole() {
    return { x: this.hall.width / 2, y: this.hall.height / 2, k: this.fitting };
  }

  get zoomed() {
    return this.k > this.fitting * 1.02;
  }

  /** The part of the hall that is seen. */
  get seen() {
    const [width, height] = [this.pixels.width / this.k, this.pixels.height / this.k];
    return { left: this.x - width / 2, top: this.y - height / 2, right: this.x + width / 2, bottom: this.y + height / 2 };
  }

  show({ x, y, k }) {
    this.k = Math.min(CLOSEST, Math.max(this.fitting, k));
    const [halfWidth, halfHeight] = [this.pixels.width / this.k / 2, this.pixels.height / this.k / 2];
    const inside = (value, half, size) =>
      size + (2 * MARGIN) / this.k <= 2 * half ? size / 2 : Math.min(size + MARGIN / this.k - half, Math.max(half - MARGIN / this.k, value));
    this.x = inside(x, halfWidth, this.hall.width);
    this.y = inside(y, halfHeight, this.hall.height);
    this.svg.setAttribute("viewBox", `${this.x - halfWidth} ${this.y - halfHeight} ${2 * halfWidth} ${2 * halfHeight}`);
    this.svg.classList.toggle("zoomed", this.zoomed);
    this.dispatchEvent(new Event("move"));
  }

  glide(target) {
    cancelAnimationFrame(this.#gliding);
    if (calm.matches) {
      this.show(target);
      return;
    }
    const from = { x: this.x, y: this.y, k: this.k };
    const goal = { ...target, k: Math.min(CLOSEST, Math.max(this.fitting, target.k)) };
    const started = performance.now();
    const frame = (now) => {
      const share = Math.min(1, (now - started) / GLIDE_MS);
      const eased = 1 - (1 - share) ** 3;
      const between = (name) => from[name] + (goal[name] - from[name]) * eased;
      this.show({ x: between("x"), y: between("y"), k: from.k * (goal.k / from.k) ** eased });
      if (share < 1) this.#gliding = requestAnimationFrame(frame);
    };
    this.#gliding = requestAnimationFrame(frame);
  }

  fit() {
    this.glide(this.whole());
  }

  /** Bring a box of the hall into view, at least at `closeness` pixels a unit: what does not fit then, `around` a point. */
  frame(box, closeness, around) {
    const margin = 20;
    const [width, height] = [box.right - box.left + 2 * margin, box.bottom - box.top + 2 * margin];
    const k = Math.max(closeness, Math.min(this.pixels.width / width, this.pixels.height / height));
    const within = (value, from, size, half) =>
      size <= 2 * half ? from + size / 2 : Math.min(from + size - half, Math.max(from + half, value));
    const x = within(around.x, box.left - margin, width, this.pixels.width / k / 2);
    const y = within(around.y, box.top - margin, height, this.pixels.height / k / 2);
    this.glide({ x, y, k });
  }

  zoom(factor) {
    this.glide({ x: this.x, y: this.y, k: this.k * factor });
  }

  zoomIn() {
    this.zoom(STEP);
  }

  zoomOut() {
    this.zoom(1 / STEP);
  }

  /** See to it that a point is well inside of what is seen. */
  reveal(x, y) {
    const { left, right, top, bottom } = this.seen;
    const [roomX, roomY] = [(right - left) * 0.15, (bottom - top) * 0.15];
    if (x < left + roomX || x > right - roomX || y < top + roomY || y > bottom - roomY) {
      this.glide({ x, y, k: this.k });
    }
  }

  /** Turn a place on the screen into a place in the hall. */
  at(clientX, clientY) {
    const box = this.svg.getBoundingClientRect();
    const { left, top } = this.seen;
    return { x: left + (clientX - box.left) / this.k, y: top + (clientY - box.top) / this.k };
  }

  #resized() {
    const wasWhole = !this.zoomed;
    this.measure();
    this.show(wasWhole ? this.whole() : this);
  }

  #around(clientX, clientY, k) {
    const held = this.at(clientX, clientY);
    this.show({ x: this.x, y: this.y, k });
    const now = this.at(clientX, clientY);
    this.show({ x: this.x + held.x - now.x, y: this.y + held.y - now.y, k: this.k });
  }

  handleEvent(event) {
    if (event.type === "wheel") this.#wheel(event);
    else if (event.type === "pointerdown") this.#press(event);
    else if (event.type === "pointermove") this.#drag(event);
    else if (event.type === "touchend") this.#swallow(event);
    else this.#lift(event);
  }

  #wheel(event) {
    if (event.deltaY > 0 && !this.zoomed) return; // all is seen: the page scrolls on
    event.preventDefault();
    cancelAnimationFrame(this.#gliding);
    const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    this.#around(event.clientX, event.clientY, this.k * Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)));
  }

  #press(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    cancelAnimationFrame(this.#gliding);
    this.#fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.#fingers.size === 1) this.#moved = 0;
    else this.#moved = Infinity; // two fingers are no tap
  }

  #drag(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) {
      this.dispatchEvent(new CustomEvent("hover", { detail: event }));
      return;
    }
    const now = { x: event.clientX, y: event.clientY };
    if (this.#fingers.size === 1) {
      this.#moved += Math.hypot(now.x - before.x, now.y - before.y);
      if (this.#moved > STILL_PIXELS) {
        this.svg.setPointerCapture(event.pointerId);
        this.show({ x: this.x - (now.x - before.x) / this.k, y: this.y - (now.y - before.y) / this.k, k: this.k });
      }
    } else {
      const [other] = [...this.#fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const spread = (a) => Math.max(10, Math.hypot(a.x - other.x, a.y - other.y));
      this.#around((now.x + other.x) / 2, (now.y + other.y) / 2, (this.k * spread(now)) / spread(before));
    }
    this.#fingers.set(event.pointerId, now);
  }

  /** A tap was heard: no click may follow it, on a button of the bar that has just come up under the finger. */
  #swallow(event) {
    if (event.cancelable) event.preventDefault();
  }

  #lift(event) {
    const known = this.#fingers.delete(event.pointerId);
    if (known && event.type === "pointerup" && this.#moved <= STILL_PIXELS) {
      this.dispatchEvent(new CustomEvent("tap", { detail: event }));
    }
  }
}
