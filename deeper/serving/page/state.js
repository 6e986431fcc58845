// What the page knows, in one place. Modules change it and tell; others listen. Nothing here touches the document.

/**
 * One asked picture of the session.
 * @typedef {object} Entry
 * @property {number} id
 * @property {string} name       of the file, or "drawing 3"
 * @property {"file"|"paste"|"drawing"|"camera"} source
 * @property {Blob} blob         the very bytes that are sent
 * @property {string|null} thumbnail  an object URL
 * @property {"waiting"|"done"|"failed"} status
 * @property {object|null} answer     as the server gave it
 * @property {string} problem         one line, where it failed
 * @property {number|null} roundTrip  milliseconds
 * @property {string} model
 * @property {Date} when
 */

export const state = {
  /** All models of the server, as `/api/models` describes them. */
  models: [],
  /** The one that is asked. */
  model: null,
  /** Where pictures come from: "picture", "draw" or "camera". */
  source: "picture",
  /** @type {Entry[]} Oldest first. */
  entries: [],
  /** @type {Entry|null} The one on the stage. */
  current: null,
};

const listeners = new Map();
let number = 0;

/** Be called whenever `what` happened: "model", "source", "entries", "current" or "entry" (with the entry). */
export function on(what, call) {
  if (!listeners.has(what)) listeners.set(what, []);
  listeners.get(what).push(call);
}

export function tell(what, about) {
  for (const call of listeners.get(what) ?? []) call(about);
}

/** Told of once for all: who listens looks through the whole session. @returns the entries */
export function newEntries(pictures) {
  const entries = pictures.map(({ name, source, blob }) => {
    number += 1;
    return {
      id: number, name, source, blob, thumbnail: null, status: "waiting", answer: null, problem: "", roundTrip: null,
      model: state.model?.name ?? "", when: new Date(),
    };
  });
  for (const entry of entries) state.entries.push(entry);
  tell("entries");
  return entries;
}

export function choose(entry) {
  state.current = entry;
  tell("current");
}

export function forgetAll() {
  for (const one of state.entries) if (one.thumbnail) URL.revokeObjectURL(one.thumbnail);
  state.entries = [];
  state.current = null;
  tell("entries");
  tell("current");
}

/** Whether a model's input can be drawn by hand: small and grey. */
export function drawable(model) {
  return model !== null && model.channels === 1 && Math.max(model.height, model.width) <= 64;
}
