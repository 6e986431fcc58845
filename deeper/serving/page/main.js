// Puts the page together: which model, where pictures come from, and what is on the stage.

import { models } from "./api.js";
import { empty, showAnswer, showEntry, showNothing, problem } from "./answer.js";
import { startCamera } from "./camera.js";
import { startChoosing } from "./choose.js";
import { startDownloads } from "./download.js";
import { startDrawing } from "./draw.js";
import { startGallery } from "./gallery.js";
import { askAgain } from "./queue.js";
import { startStage } from "./stage.js";
import { choose, drawable, on, state, tell } from "./state.js";
import { startTabs } from "./tabs.js";
import { factsOf } from "./words.js";

const at = (id) => document.getElementById(id);

function showModel() {
  const { model } = state;
  at("facts").replaceChildren(...factsOf(model).map((text) => {
    const one = document.createElement("span");
    one.textContent = text;
    return one;
  }));
  at("card").textContent = model.card;
  at("tab-draw").hidden = !drawable(model);
  document.title = `${model.name} · deeper`;
}

function chooser() {
  const several = state.models.length > 1;
  at("model").hidden = !several;
  at("only").hidden = several;
  at("only").textContent = state.model.name;
  at("model").replaceChildren(...state.models.map((one) => new Option(one.name, one.name, false, one === state.model)));
  at("model").addEventListener("change", () => {
    state.model = state.models[at("model").selectedIndex];
    tell("model");
  });
}

async function begin() {
  const tabs = startTabs();
  startStage();
  startChoosing();
  startGallery();
  startDownloads();
  try {
    state.models = await models();
  } catch (error) {
    problem(error);
    // Until the server is there: it may be starting, or the token was not at hand.
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => location.reload());
    at("problem").append(" ", again);
    return;
  }
  const wanted = new URLSearchParams(location.search).get("model");
  state.model = state.models.find((one) => one.name === wanted) ?? state.models[0];
  chooser();
  showModel();
  const drawing = startDrawing();
  const camera = startCamera();

  // The current picture's answer is of the model that was chosen before: seen to when the picture is shown again.
  let stale = false;
  const upToDate = () => {
    if (!stale) return;
    stale = false;
    askAgain(state.current);
  };
  on("model", () => {
    stale = true;
    showModel();
    if (state.source === "draw" && !drawable(state.model)) tabs.select("picture");
    else if (state.source === "draw") drawing.nudge();
    else if (state.source === "picture") upToDate();
    if (!state.current && state.source === "picture") showNothing();
  });
  on("source", () => {
    if (state.source !== "camera") camera.stop();
    if (state.source !== "draw") drawing.pause();
    empty();
    if (state.source === "picture") {
      upToDate();
      showEntry(state.current);
    }
    if (state.source === "draw") drawing.nudge();
  });
  on("current", () => {
    stale = false; // also one of the gallery, chosen for the answer that it had
    if (state.current) tabs.select("picture");
    if (state.source === "picture") showEntry(state.current);
  });
  on("entry", (entry) => {
    if (entry === state.current && state.source === "picture") showEntry(entry);
  });
  on("live", ({ source, name, answer, roundTrip }) => {
    if (source === state.source) showAnswer({ name, answer, roundTrip, live: true });
  });
  on("live-problem", ({ source, error }) => {
    if (source === state.source) problem(error);
  });
  on("live-nothing", (source) => {
    if (source === state.source) empty();
  });
  showNothing();
  // Where one can draw, that is the quickest way to see it work.
  if (drawable(state.model)) tabs.select("draw");
  choose(null);
  document.documentElement.dataset.ready = "yes";
}

begin();
