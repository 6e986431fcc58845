// The answer: the class, how sure, the runners-up, how long it took. Names are other people's text: only ever text nodes.

import { say } from "./speak.js";
import { state } from "./state.js";
import { counted, milliseconds, percent, sentence } from "./words.js";

const at = (id) => document.getElementById(id);
const SHOWN_CLASSES = 24;

function only(id) {
  for (const one of ["empty", "result"]) at(one).hidden = one !== id;
}

/** One line about what went wrong. What was answered before is not about this picture: it goes. */
export function problem(error, name = "") {
  // What is said already is not said again: a screen reader would begin anew each time that a camera asks.
  if (!at("problem").hidden && at("problem").textContent === error.message && at("asked").textContent === name) return;
  at("asked").textContent = name;
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  only("");
}

function noProblem(name = "") {
  at("asked").textContent = name;
  at("problem").hidden = true;
  at("problem").textContent = "";
}

/** Nothing asked yet: what the model can tell apart. */
export function showNothing() {
  noProblem();
  only("empty");
  const { classes } = state.model;
  const more = classes.length - SHOWN_CLASSES;
  at("invitation").textContent = {
    picture: "Show it one of these.", draw: "Draw one of these.", camera: "Point it at one of these.",
  }[state.source];
  at("knows").textContent = `It knows ${counted(classes.length, "class", "classes")}, and takes everything for one of them.`;
  const items = classes.slice(0, SHOWN_CLASSES).map((name) => element("li", name));
  if (more > 0) items.push(element("li", `and ${more.toLocaleString("en")} more`, "more"));
  at("classes").replaceChildren(...items);
}

export const empty = () => { if (state.model) showNothing(); };

/** An entry of the session, whatever has become of it. */
export function showEntry(entry) {
  if (entry === null) {
    empty();
  } else if (entry.status === "failed" || entry.problem) {
    problem(new Error(entry.problem), entry.name);
  } else if (entry.status === "done") {
    showAnswer({ name: entry.name, answer: entry.answer, roundTrip: entry.roundTrip, live: false });
  } else {
    noProblem(entry.name);
    only("result");
    at("result").setAttribute("aria-busy", "true");
    at("result").classList.remove("is-unsure");
    at("verdict").textContent = "…";
    at("unsure").hidden = true;
    at("bars").replaceChildren();
    at("timing").textContent = "";
  }
}

export function showAnswer({ name, answer, roundTrip, live }) {
  noProblem(live ? "" : name);
  only("result");
  const unsure = Boolean(answer.unsure);
  at("result").removeAttribute("aria-busy");
  at("result").classList.toggle("is-unsure", unsure);
  const beside = unsure ? `perhaps ${answer.class}` : percent(answer.probability);
  at("verdict").replaceChildren(element("span", unsure ? "Unsure" : answer.class, "word"), " ", element("span", beside, "share"));
  at("unsure").hidden = !unsure;
  at("unsure").textContent = unsure ? sentence(answer.unsure) : "";
  bars(answer.top);
  at("timing").replaceChildren(
    element("span", `${milliseconds(answer.milliseconds)} on the server`),
    element("span", `${milliseconds(roundTrip)} there and back`),
    element("span", state.models.length > 1 ? `${answer.model}, version ${answer.version}` : `version ${answer.version}`),
  );
  const told = unsure ? `Unsure: ${answer.unsure}. Best guess ${answer.class}.` : `${answer.class}, ${percent(answer.probability)}.`;
  say(live ? told : `${name}: ${told}`, { calm: live });
}

/** Rows are kept and filled anew, so that bars move to their new lengths instead of blinking. */
function bars(top) {
  const list = at("bars");
  while (list.children.length > top.length) list.lastChild.remove();
  while (list.children.length < top.length) {
    const row = element("li");
    const track = element("span", "", "track");
    track.setAttribute("aria-hidden", "true");
    track.append(element("span", "", "fill"));
    row.append(element("span", "", "label"), " ", track, element("span", "", "value"));
    list.append(row);
  }
  top.forEach((one, place) => {
    const row = list.children[place];
    row.querySelector(".label").textContent = one.class;
    row.querySelector(".label").title = one.class;
    row.querySelector(".value").textContent = percent(one.probability);
    row.querySelector(".fill").style.setProperty("--share", one.probability);
  });
}

function element(name, text = "", kind = "") {
  const one = document.createElement(name);
  if (text) one.textContent = text;
  if (kind) one.className = kind;
  return one;
}
