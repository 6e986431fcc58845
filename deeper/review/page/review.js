// The review: shows one suspect at a time, takes one decision, moves on to the next open one.
// Names and ids are other people's text: they only ever become text nodes.

import { quickClasses, searched } from "./classes.js";

const REASONS = {
  label: "Doubtful label",
  mistake: "The network reads it otherwise",
  duplicate: "Same picture, two labels",
  leak: "In two splits",
  outlier: "Unlike all others",
};
const DONE = { keep: "kept", exclude: "excluded", unsure: "unsure" };

const at = (id) => document.getElementById(id);
const state = { names: [], suspects: [], number: 0, quick: [], busy: false, option: -1, file: "", earlier: "", again: false, mine: [] };

const current = () => state.suspects[state.number];
const decidedCount = () => state.suspects.filter((one) => one.decision).length;

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

function said(decision) {
  return decision.kind === "relabel" ? `relabelled ${state.names[decision.to] ?? "?"}` : DONE[decision.kind];
}

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The review's server does not answer. Was `deeper review` stopped? What was saved is safe; start it again and open its new address.");
  }
  if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Error(await answer.text());
  const plain = await answer.json();
  if (!answer.ok) throw new Error(plain.error);
  return plain;
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

function show(number, { focus = false } = {}) {
  state.number = number;
  const suspect = current();
  const { names } = state;
  at("done").hidden = true;
  at("main").hidden = false;

  const picture = at("picture");
  picture.src = `/picture/${suspect.picture}`;
  picture.alt = `The picture in question, given ${names[suspect.given]}`;
  picture.classList.toggle("small", Math.max(...suspect.size) <= 128);
  at("identity").textContent = `${suspect.id} · ${suspect.split} · ${suspect.size[0]} × ${suspect.size[1]}`;

  // A list of somebody's own may give neither.
  at("reason").textContent = suspect.reasons.map((one) => REASONS[one]).join(" · ") || "From your list";
  at("reason").dataset.reason = suspect.reasons[0] ?? "listed";
  at("confidence").textContent = suspect.reasons.length ? `${Math.round(100 * suspect.confidence)} %` : "";
  const other = suspect.suggested !== null && suspect.suggested !== suspect.given;
  at("asked").textContent = other
    ? `Is it ${names[suspect.given]}, or ${names[suspect.suggested]}?`
    : `Is it ${names[suspect.given]}, and does it belong here?`;
  at("given").textContent = names[suspect.given];
  at("suggested").textContent = other ? names[suspect.suggested] : "–";
  at("suggested").parentElement.classList.toggle("none", !other);
  at("detail").textContent = suspect.detail;

  const accept = at("accept");
  accept.hidden = !other;
  accept.replaceChildren();
  if (other) accept.append(make("kbd", "↵"), make("span", `Relabel as ${names[suspect.suggested]}`));

  showQuick(suspect);
  showNeighbours(suspect, other);
  showDecision();
  closeSearch();
  if (focus) at("asked").focus({ preventScroll: true });

  // The next one is on the way while this one is looked at.
  const next = state.suspects[nextOpen(number) ?? number + 1];
  if (next) new Image().src = `/picture/${next.picture}`;
}

function showQuick(suspect) {
  state.quick = quickClasses(state.names, suspect);
  const buttons = state.quick.map(({ index, key }) => {
    const button = make("button");
    button.type = "button";
    button.dataset.to = index;
    button.setAttribute("aria-keyshortcuts", key);
    const same = index === suspect.given;
    if (same) button.classList.add("is-given");
    if (index === suspect.suggested) button.classList.add("is-suggested");
    const name = make("span", state.names[index]);
    button.append(...(state.names[index] === key ? [name] : [make("kbd", key), name]));
    if (same) button.title = "the class that it has";
    button.addEventListener("click", () => decide("relabel", index));
    return button;
  });
  at("quick").replaceChildren(...buttons);
  at("quick-title").hidden = buttons.length === 0;
  at("search-box").hidden = state.quick.length === state.names.length;
}

function showNeighbours(suspect, other) {
  const list = suspect.neighbours.map((near) => {
    const item = make("li");
    const kind = near.label === suspect.given ? "as-given" : other && near.label === suspect.suggested ? "as-suggested" : "as-other";
    item.className = kind;
    const image = make("img");
    image.src = `/picture/${near.picture}`;
    image.alt = "";
    image.loading = "lazy";
    image.className = suspect.size[0] <= 128 ? "small" : "";
    item.append(image, make("strong", state.names[near.label]), make("small", near.split));
    item.title = `${state.names[near.label]} · ${near.id}`;
    return item;
  });
  at("neighbours").replaceChildren(...list);
  document.querySelector(".neighbours").hidden = list.length === 0;
  const same = suspect.neighbours.filter((near) => near.label === suspect.given).length;
  const as = suspect.neighbours.filter((near) => other && near.label === suspect.suggested).length;
  const pieces = [`${same} of ${list.length} are ${state.names[suspect.given]}`];
  if (other) pieces.push(`${as} are ${state.names[suspect.suggested]}`);
  at("votes").textContent = pieces.join(", ");
}

function showDecision() {
  const { decision } = current();
  for (const button of document.querySelectorAll("[data-decision]")) {
    button.setAttribute("aria-pressed", String(decision?.kind === button.dataset.decision));
  }
  for (const button of at("quick").children) {
    button.setAttribute("aria-pressed", String(decision?.kind === "relabel" && decision.to === Number(button.dataset.to)));
  }
  const count = decidedCount();
  at("bar").max = state.suspects.length;
  at("bar").value = count;
  at("count").textContent = `${count.toLocaleString("en")} of ${state.suspects.length.toLocaleString("en")} decided`;
  at("place").textContent = `${state.number + 1} / ${state.suspects.length}`;
  at("previous").disabled = state.number === 0;
  at("next").disabled = state.number === state.suspects.length - 1;
  at("undo").disabled = count === 0;
}

function nextOpen(from) {
  const { suspects } = state;
  for (let step = 1; step <= suspects.length; step += 1) {
    const number = (from + step) % suspects.length;
    if (!suspects[number].decision) return number;
  }
  return null;
}

/** The next to look at after a decision: an open one, or simply the next where they are gone through once more. */
function following(number) {
  const open = nextOpen(number);
  if (open !== null || !state.again) return open;
  return number + 1 < state.suspects.length ? number + 1 : null;
}

function speak(text) {
  at("spoken").textContent = text;
}

/** Takes over what holds now; whether that was decided in another window meanwhile, in which case nothing was written. */
function elsewhere(answer) {
  state.suspects[answer.number].decision = answer.decision;
  if (!answer.elsewhere) return false;
  show(answer.number, { focus: true });
  const now = answer.decision ? said(answer.decision) : "taken back";
  problem(`Decided in another window meanwhile: ${state.suspects[answer.number].id} ${now}. Nothing was changed; decide again to change it.`);
  return true;
}

async function decide(kind, to = null) {
  if (state.busy) return;
  state.busy = true;
  const { number } = state;
  try {
    const answer = await ask("/decide", { number, decision: kind, to, seen: state.suspects[number].decision });
    if (elsewhere(answer)) return;
    state.mine.push(number);
    problem("");
    const words = said(answer.decision);
    at("saved").textContent = `Saved: ${state.suspects[number].id} ${words}`;
    const next = following(number);
    if (next === null) finish();
    else show(next, { focus: true });
    speak(`${words}. ${next === null ? "All are looked at." : at("asked").textContent}`);
  } catch (error) {
    problem(`Not saved: ${error.message}`);
  } finally {
    state.busy = false;
  }
}

async function undo() {
  if (state.busy) return;
  state.busy = true;
  try {
    // This window's own latest decision; where it has taken none yet, the latest of all.
    const number = state.mine.at(-1);
    const answer = await ask("/undo", number === undefined ? {} : { number, seen: state.suspects[number].decision });
    state.mine.pop();
    if (elsewhere(answer)) return;
    problem("");
    at("saved").textContent = `Taken back: ${state.suspects[answer.number].id}`;
    show(answer.number, { focus: true });
    speak(`Taken back. ${at("asked").textContent}`);
  } catch (error) {
    problem(error.message);
  } finally {
    state.busy = false;
  }
}

function finish() {
  state.again = false;
  const counts = new Map();
  for (const { decision } of state.suspects) {
    const kind = decision.kind === "relabel" ? "relabelled" : DONE[decision.kind];
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  at("summary").textContent = [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
  at("command").textContent = `deeper build SOURCE --out NEW_DATASET ${state.earlier}--corrections ${state.file}`;
  at("earlier").hidden = !state.earlier;
  showDecision();
  at("main").hidden = true;
  at("done").hidden = false;
  at("done-title").focus();
}

// The search for a class: a combobox, as the ARIA authoring practices describe it.

function openSearch() {
  const input = at("search");
  if (at("search-box").hidden) {
    // Not one list of selectors: the first button in the page's order would be taken.
    (at("quick").querySelector(".is-suggested") ?? at("quick").querySelector("button"))?.focus();
    return;
  }
  at("search-box").scrollIntoView({ block: "nearest" });
  input.focus();
  listFound();
}

function closeSearch() {
  at("search").value = "";
  at("search").setAttribute("aria-expanded", "false");
  at("search").removeAttribute("aria-activedescendant");
  at("found").hidden = true;
  if (document.activeElement === at("search")) at("search").blur();
}

function listFound() {
  const input = at("search");
  const options = searched(state.names, input.value).map((index) => {
    const item = make("li", state.names[index]);
    item.id = `class-${index}`;
    item.role = "option";
    item.dataset.to = index;
    // Before the input loses the focus.
    item.addEventListener("pointerdown", (event) => event.preventDefault());
    item.addEventListener("click", () => decide("relabel", index));
    return item;
  });
  if (options.length === 0) options.push(make("li", "no such class", "nothing"));
  at("found").replaceChildren(...options);
  at("found").hidden = false;
  input.setAttribute("aria-expanded", "true");
  choose(0);
}

function choose(place) {
  const options = [...at("found").querySelectorAll("[role=option]")];
  state.option = options.length ? (place + options.length) % options.length : -1;
  options.forEach((one, number) => one.setAttribute("aria-selected", String(number === state.option)));
  const chosen = options[state.option];
  if (chosen) {
    at("search").setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  } else {
    at("search").removeAttribute("aria-activedescendant");
  }
  return chosen;
}

function searchKey(event) {
  if (event.key === "ArrowDown") choose(state.option + 1);
  else if (event.key === "ArrowUp") choose(state.option - 1);
  else if (event.key === "Enter") {
    const chosen = at("found").querySelectorAll("[role=option]")[state.option];
    if (chosen && !event.repeat) decide("relabel", Number(chosen.dataset.to));
  } else if (event.key === "Escape") {
    closeSearch();
    at("asked").focus({ preventScroll: true });
  } else return;
  event.preventDefault();
}

function pageKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === at("search")) return;
  // A key that is held down may turn pages; each decision takes a press of its own.
  if (event.repeat && !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "z") undo();
  else if (at("main").hidden) return;
  else if (key === "Enter") {
    // On a button Enter presses that button.
    if (event.target.closest("button, a")) return;
    if (!at("accept").hidden) decide("relabel", current().suggested);
  } else if (key === "k") decide("keep");
  else if (key === "x" || key === "Delete") decide("exclude");
  else if (key === "u") decide("unsure");
  else if (key === "r" || key === "/") openSearch();
  else if (key === "ArrowLeft") { if (state.number > 0) show(state.number - 1); }
  else if (key === "ArrowRight") { if (state.number < state.suspects.length - 1) show(state.number + 1); }
  else if (key === "n") { const open = nextOpen(state.number); if (open !== null) show(open, { focus: true }); }
  else {
    const quick = state.quick.find((one) => one.key === key);
    if (!quick) return;
    decide("relabel", quick.index);
  }
  event.preventDefault();
}

async function begin() {
  try {
    const plain = await ask("/session");
    state.names = plain.classes;
    state.suspects = plain.suspects;
    state.file = plain.typed;
    state.earlier = plain.corrected ? "--corrections EARLIER " : "";
    at("name").textContent = plain.name;
    document.title = `${plain.name} · review · deeper`;
    at("saved").textContent = `Decisions go to ${plain.file}`;
  } catch (error) {
    problem(error.message);
    return;
  }
  for (const button of document.querySelectorAll("[data-decision]")) {
    const kind = button.dataset.decision;
    button.addEventListener("click", () => (kind === "relabel" ? openSearch() : decide(kind)));
  }
  at("accept").addEventListener("click", () => decide("relabel", current().suggested));
  at("undo").addEventListener("click", undo);
  at("previous").addEventListener("click", () => show(state.number - 1));
  at("next").addEventListener("click", () => show(state.number + 1));
  at("again").addEventListener("click", () => {
    state.again = true;
    show(0, { focus: true });
  });
  at("search").addEventListener("input", listFound);
  at("search").addEventListener("focus", listFound);
  at("search").addEventListener("blur", () => { at("found").hidden = true; at("search").setAttribute("aria-expanded", "false"); });
  at("search").addEventListener("keydown", searchKey);
  document.addEventListener("keydown", pageKey);
  const open = nextOpen(state.suspects.length - 1);
  if (open === null) finish();
  else show(open);
}

begin();
