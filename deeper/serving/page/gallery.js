// The session's pictures. One tab stop; arrow keys go from picture to picture.

import { choose, forgetAll, on, state } from "./state.js";
import { say } from "./speak.js";
import { percent } from "./words.js";

const at = (id) => document.getElementById(id);
const shown = new Map(); // entry → its button

export function startGallery() {
  on("entries", render);
  on("entry", fill);
  on("current", mark);
  at("forget").addEventListener("click", () => {
    forgetAll();
    say("The session is cleared.");
    document.querySelector("[role=tab][aria-selected=true]").focus();
  });
  at("gallery").addEventListener("keydown", (event) => {
    const all = [...at("gallery").querySelectorAll("button")];
    const here = all.indexOf(document.activeElement);
    const to = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || here < 0) return;
    event.preventDefault();
    stop(all[Math.min(all.length - 1, Math.max(0, to))], true);
  });
}

/** Newest first: what was asked last is what one looks for. */
function render() {
  const there = new Set(state.entries);
  for (const [entry, button] of shown) {
    if (there.has(entry)) continue;
    button.parentElement.remove();
    shown.delete(entry);
  }
  for (const entry of state.entries) {
    if (shown.has(entry)) continue;
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1;
    button.append(part("span", "thumb"), part("b", "what"), part("small", "how"));
    button.addEventListener("click", () => {
      stop(button);
      choose(entry);
      at("answer").scrollIntoView({ block: "nearest" });
    });
    item.append(button);
    at("gallery").prepend(item);
    shown.set(entry, button);
    fill(entry);
  }
  const count = state.entries.length;
  at("count").textContent = count ? String(count) : "";
  at("nothing-yet").hidden = count > 0;
  for (const id of ["csv", "json", "forget"]) at(id).disabled = count === 0;
  if (!at("gallery").querySelector("button[tabindex='0']")) stop(at("gallery").querySelector("button"));
}

function fill(entry) {
  const button = shown.get(entry);
  if (!button) return;
  const { answer, status } = entry;
  const unsure = Boolean(answer?.unsure);
  const what = status === "failed" ? "failed" : (answer?.class ?? "…");
  const how = status === "done" ? (unsure ? "unsure" : percent(answer.probability)) : "";
  button.querySelector(".what").textContent = what;
  button.querySelector(".how").textContent = how;
  button.classList.toggle("is-unsure", unsure);
  button.classList.toggle("is-failed", status === "failed");
  button.title = status === "failed" ? `${entry.name}: ${entry.problem}` : entry.name;
  button.setAttribute("aria-label", `${entry.name}: ${what}${how ? `, ${how}` : ""}`);
  if (!entry.thumbnail && status !== "waiting") {
    button.querySelector(".thumb").textContent = /\.(\w{1,5})$/.exec(entry.name)?.[1].toUpperCase() ?? "?";
  }
  if (entry.thumbnail && !button.querySelector("img")) {
    const picture = document.createElement("img");
    picture.alt = "";
    picture.src = entry.thumbnail;
    button.querySelector(".thumb").replaceChildren(picture);
  }
}

function mark() {
  for (const [entry, button] of shown) {
    button.setAttribute("aria-pressed", String(entry === state.current));
    if (entry === state.current) stop(button);
  }
}

/** Makes a button the gallery's one tab stop. */
function stop(button, focus = false) {
  if (!button) return;
  for (const one of shown.values()) one.tabIndex = one === button ? 0 : -1;
  if (focus) button.focus();
}

function part(name, kind) {
  const one = document.createElement(name);
  one.className = kind;
  return one;
}
