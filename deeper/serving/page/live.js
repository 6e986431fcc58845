// Asking again and again about something that changes: one request on its way at a time, always about the latest.

import { Problem, predict } from "./api.js";
import { state, tell } from "./state.js";
import { mayAskAgain } from "./token.js";

// Milliseconds before something new is asked about after a failure that says nothing of when to try again.
const AFTER_PROBLEM = 2000;

export class Live {
  /**
   * @param {object} how
   * @param {"draw"|"camera"} how.source
   * @param {() => Promise<{name: string, blob: Blob}|null>} how.take  what to ask about now; null for nothing
   * @param {number} how.every    milliseconds between the starts of two requests, at least
   * @param {boolean} how.steady  go on by itself, as a camera does; else only when nudged
   */
  constructor({ source, take, every, steady = false }) {
    Object.assign(this, { source, take, every, steady });
    this.latest = null; // the last answer, with the bytes that it is about
    this.wanted = false;
    this.busy = false;
    this.timer = null;
    this.leaving = new AbortController();
    this.began = -Infinity;
  }

  /** Whether what is there now was not asked about yet, or not answered. */
  get behind() {
    return this.busy || this.wanted;
  }

  /** There is something new to ask about. */
  nudge() {
    mayAskAgain();
    this.wanted = true;
    if (!this.busy && this.timer === null) this.#later(this.began + this.every - performance.now());
  }

  /** No more; an answer on its way is not waited for. */
  stop() {
    this.wanted = false;
    clearTimeout(this.timer);
    this.timer = null;
    this.leaving.abort();
    this.leaving = new AbortController();
    this.busy = false;
    this.latest = null;
  }

  #later(milliseconds) {
    this.timer = setTimeout(() => {
      this.timer = null;
      this.#ask();
    }, Math.max(0, milliseconds));
  }

  async #ask() {
    const { signal } = this.leaving;
    this.wanted = false;
    this.busy = true;
    this.began = performance.now();
    let wait = 0;
    try {
      const taken = await this.take();
      if (signal.aborted) return;
      if (taken === null) {
        this.latest = null;
        tell("live-nothing", this.source);
      } else {
        const { answer, roundTrip } = await predict(state.model.name, taken.blob, { signal });
        if (signal.aborted) return;
        this.latest = { ...taken, source: this.source, answer, roundTrip };
        tell("live", this.latest);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      tell("live-problem", { source: this.source, error });
      // Where waiting helps, it is waited for; else only something new is asked about.
      if (error.wait !== null) {
        wait = 1000 * error.wait;
        this.wanted = true;
      } else if (error.status === 401) {
        this.stop();
        return;
      } else {
        wait = AFTER_PROBLEM;
      }
    }
    this.busy = false;
    if (this.wanted || this.steady) this.#later(Math.max(wait, this.began + this.every - performance.now()));
  }
}
