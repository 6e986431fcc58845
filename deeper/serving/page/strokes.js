// A drawing as strokes, in pixels of the model's input. Knows nothing of the document: a canvas's pen is given to it.

/** @typedef {{width: number, points: {x: number, y: number}[]}} Stroke */

export class Drawing {
  /** `width`, `height`: of the model's input. */
  constructor(width, height) {
    Object.assign(this, { width, height });
    /** @type {Stroke[]} */
    this.strokes = [];
    this.drawn = false; // whether a stroke goes on: one that was undone under the pen does not
    this.before = []; // what undo goes back to, also over Clear and Centre
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  begin(point, width) {
    this.#remember();
    this.strokes = [...this.strokes, { width, points: [point] }];
    this.drawn = true;
  }

  extend(point) {
    if (this.drawn) this.strokes.at(-1).points.push(point);
  }

  clear() {
    if (this.isEmpty) return;
    this.#remember();
    this.strokes = [];
    this.drawn = false;
  }

  undo() {
    if (this.before.length) this.strokes = this.before.pop();
    this.drawn = false;
  }

  /** Moves the centre of mass to the middle and scales the longer side to 20/28, as MNIST's makers did with theirs. */
  centre() {
    const points = this.strokes.flatMap((one) => one.points);
    const xs = points.map((one) => one.x);
    const ys = points.map((one) => one.y);
    const pen = Math.max(...this.strokes.map((one) => one.width));
    const longer = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
    const wanted = (Math.min(this.width, this.height) * 20) / 28 - pen;
    // The pen keeps its width, and a mere dot stays one.
    const scale = longer > pen ? wanted / longer : 1;
    const middle = this.#mass();
    const moved = ({ x, y }) => ({ x: this.width / 2 + scale * (x - middle.x), y: this.height / 2 + scale * (y - middle.y) });
    this.#remember();
    this.drawn = false;
    this.strokes = this.strokes.map((one) => ({ width: one.width, points: one.points.map(moved) }));
  }

  /** On a canvas of `scale` of its pixels to one of the model's. */
  paint(pen, scale, { ink, ground }) {
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.fillStyle = ground;
    pen.fillRect(0, 0, this.width * scale, this.height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.strokeStyle = ink;
    pen.lineCap = "round";
    pen.lineJoin = "round";
    for (const { width, points } of this.strokes) {
      pen.lineWidth = width;
      pen.beginPath();
      pen.moveTo(points[0].x, points[0].y);
      // Through the middles, with the points as handles: a quick hand leaves few points, and no corners.
      for (let place = 1; place < points.length - 1; place += 1) {
        const { x, y } = points[place];
        const next = points[place + 1];
        pen.quadraticCurveTo(x, y, (x + next.x) / 2, (y + next.y) / 2);
      }
      pen.lineTo(points.at(-1).x, points.at(-1).y);
      pen.stroke();
    }
  }

  /** Centre of mass of the ink: of each piece its middle, by its length and width. */
  #mass() {
    let x = 0;
    let y = 0;
    let total = 0;
    for (const { width, points } of this.strokes) {
      for (let place = 0; place < points.length; place += 1) {
        const here = points[place];
        const past = points[Math.max(0, place - 1)];
        const weight = width * (Math.hypot(here.x - past.x, here.y - past.y) + 1e-6);
        x += (weight * (here.x + past.x)) / 2;
        y += (weight * (here.y + past.y)) / 2;
        total += weight;
      }
    }
    return { x: x / total, y: y / total };
  }

  #remember() {
    this.before.push(this.strokes.map((one) => ({ width: one.width, points: [...one.points] })));
    if (this.before.length > 200) this.before.shift();
  }
}
