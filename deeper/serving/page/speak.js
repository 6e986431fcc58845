// What a screen reader is told. One live region; while a drawing or the camera changes its mind, not every change.

const CALM = 1500;
let last = 0;
let waiting = null;

/** Says `text` soon. With `calm`, at most once in a while, and then the latest. */
export function say(text, { calm = false } = {}) {
  clearTimeout(waiting);
  const wait = calm ? Math.max(0, last + CALM - performance.now()) : 0;
  waiting = setTimeout(() => {
    last = performance.now();
    document.getElementById("spoken").textContent = text;
  }, wait);
}
