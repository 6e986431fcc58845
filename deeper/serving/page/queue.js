// Pictures that were chosen, asked a few at a time, in order, and again where the server was busy.

import { Problem, predict } from "./api.js";
import { newEntries, state, tell } from "./state.js";
import { thumbnailOf } from "./thumbnail.js";
import { mayAskAgain } from "./token.js";

// More at once would not be answered sooner: the server decodes and batches as many as it has processors for.
const AT_ONCE = 4;
const TRIES = 6;
const waiting = [];
let running = 0;

/** Adds pictures to the session and asks about each. @returns the entries */
export function enqueue(pictures) {
  mayAskAgain();
  const entries = newEntries(pictures);
  for (const entry of entries) waiting.push(entry);
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    work();
  }
  return entries;
}

/** Keeps an answer that is there already, from a drawing or the camera, in the session. */
export async function keep({ name, source, blob, answer, roundTrip }) {
  const [entry] = newEntries([{ name, source, blob }]);
  Object.assign(entry, { status: "done", answer, roundTrip, model: answer.model });
  await drawSmall(entry);
  tell("entry", entry);
  return entry;
}

/** The same picture to the model that is chosen now; a new entry, so that both answers stay. */
export function askAgain(entry) {
  if (!entry || entry.model === state.model.name) return;
  const known = state.entries.find((one) => one.blob === entry.blob && one.model === state.model.name);
  state.current = known ?? enqueue([entry])[0];
  tell("current");
}

async function work() {
  while (waiting.length) {
    const entry = waiting.shift();
    // Cleared meanwhile: nobody wants to know.
    if (!wanted(entry)) continue;
    try {
      await askAbout(entry);
    } catch (error) {
      if (entry.status !== "done") Object.assign(entry, { status: "failed", problem: "The answer could not be read." });
      tell("entry", entry);
      console.error(error);
    }
  }
  running -= 1;
}

function wanted(entry) {
  return state.entries.includes(entry);
}

/** Draws it small, unless it was cleared meanwhile: what is made for nobody would be kept for good. */
async function drawSmall(entry) {
  const thumbnail = await thumbnailOf(entry.blob);
  if (wanted(entry)) entry.thumbnail = thumbnail;
  else if (thumbnail) URL.revokeObjectURL(thumbnail);
}

async function askAbout(entry) {
  const model = entry.model;
  // Not at the same time as the request: on a slow machine decoding a large picture would be counted as its round trip.
  await drawSmall(entry);
  tell("entry", entry);
  for (let tries = 1; wanted(entry); tries += 1) {
    try {
      const { answer, roundTrip } = await predict(model, entry.blob);
      Object.assign(entry, { status: "done", answer, roundTrip, problem: "" });
      break;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const again = error.status === 503 && tries < TRIES;
      entry.problem = again ? `${error.message} Asking again in ${error.wait} s.` : error.message;
      if (!again) {
        entry.status = "failed";
        break;
      }
      tell("entry", entry);
      await new Promise((resolve) => { setTimeout(resolve, 1000 * error.wait); });
    }
  }
  tell("entry", entry);
}
