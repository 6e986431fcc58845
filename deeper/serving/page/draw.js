// The canvas: by pointer or by keys, asked about while one draws. What is shown is what is sent.

import { Live } from "./live.js";
import { enqueue, keep } from "./queue.js";
import { say } from "./speak.js";
import { drawable, on, state } from "./state.js";
import { Drawing } from "./strokes.js";

const at = (id) => document.getElementById(id);
const EVERY = 80;
const COLOURS = { dark: { ink: "#fff", ground: "#000" }, light: { ink: "#000", ground: "#fff" } };

export function startDrawing() {
  const canvas = at("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let drawing = new Drawing(28, 28);
  let scale = 12;
  let kept = 0;
  const live = new Live({ source: "draw", take, every: EVERY });

  async function take() {
    if (drawing.isEmpty) return null;
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
    return { name: "drawing", blob };
  }

  function suit() {
    const { model } = state;
    if (!drawable(model)) return;
    if (model.width !== drawing.width || model.height !== drawing.height) drawing = new Drawing(model.width, model.height);
    scale = Math.floor(336 / Math.max(model.width, model.height));
    canvas.width = scale * model.width;
    canvas.height = scale * model.height;
    at("finder-draw").style.setProperty("--aspect", model.width / model.height);
    at("finder-draw").classList.toggle("light", model.ground === "light");
    changed();
  }

  function changed() {
    drawing.paint(pen, scale, COLOURS[state.model.ground] ?? COLOURS.dark);
    at("undo").disabled = drawing.before.length === 0;
    at("clear").disabled = at("centre").disabled = drawing.isEmpty;
    at("finder-draw").classList.toggle("touched", !drawing.isEmpty);
    if (drawing.isEmpty) at("keep-drawing").disabled = true;
    if (state.source === "draw") live.nudge();
  }

  // 2.4 of MNIST's 28 pixels, whatever the size of the input.
  const width = () => (Number(at("pen").value) * Math.min(drawing.width, drawing.height)) / 28;
  const begin = (point) => { drawing.begin(point, width()); changed(); };
  const extend = (point) => { drawing.extend(point); changed(); };
  const actions = {
    undo: () => drawing.undo(),
    clear: () => drawing.clear(),
    centre: () => drawing.centre(),
  };
  function act(name) {
    if (name !== "undo" && drawing.isEmpty) return;
    // The button that was pressed must not vanish under the focus: the canvas takes it.
    const held = document.activeElement;
    actions[name]();
    changed();
    if (held?.disabled) canvas.focus();
  }
  for (const name of Object.keys(actions)) at(name).addEventListener("click", () => act(name));
  at("keep-drawing").addEventListener("click", async () => {
    if (!live.latest) return;
    kept += 1;
    const named = { name: `drawing ${kept}`, source: "drawing" };
    say(`Drawing ${kept} kept.`);
    // What is seen is what is kept, also where the last answer is about an earlier stroke.
    if (live.behind) {
      const taken = await take();
      if (taken) enqueue([{ ...taken, ...named }]);
    } else {
      keep({ ...live.latest, ...named });
    }
  });
  on("live", ({ source }) => {
    // An answer may come when the canvas was cleared meanwhile.
    if (source === "draw") at("keep-drawing").disabled = drawing.isEmpty;
  });

  byPointer(canvas, () => drawing, { begin, extend });
  byKeys(canvas, () => drawing, { begin, extend, act });
  on("model", suit);
  suit();
  return { nudge: changed, pause: () => live.stop() };
}

function byPointer(canvas, current, { begin, extend }) {
  let down = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * current().width,
      y: ((event.clientY - box.top) / box.height) * current().height,
    };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (down !== null || event.button !== 0) return; // a second finger draws nothing
    down = event.pointerId;
    canvas.setPointerCapture(down);
    begin(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== down) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) extend(place(one));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (event.pointerId === down) down = null;
    });
  }
}

function byKeys(canvas, current, { begin, extend, act }) {
  const nib = at("nib");
  const spot = { x: 0.5, y: 0.5 }; // shares of the sides
  let down = false;
  const point = () => ({ x: spot.x * current().width, y: spot.y * current().height });
  const show = () => {
    nib.style.setProperty("--x", spot.x);
    nib.style.setProperty("--y", spot.y);
    nib.classList.toggle("down", down);
  };
  canvas.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 4 : 1;
    const [across, up] = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key] ?? [0, 0];
    if (across || up) {
      spot.x = Math.min(1, Math.max(0, spot.x + across / current().width));
      spot.y = Math.min(1, Math.max(0, spot.y + up / current().height));
      if (down) extend(point());
    } else if (event.key === " ") {
      down = !down;
      if (down) begin(point());
      say(down ? "Pen down." : "Pen up.");
    } else if (event.key === "Delete" || event.key === "Backspace") {
      down = false;
      act("clear");
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      down = false;
      act("undo");
    } else {
      return;
    }
    event.preventDefault();
    nib.hidden = false;
    show();
  });
  canvas.addEventListener("blur", () => {
    down = false;
    nib.hidden = true;
  });
}
