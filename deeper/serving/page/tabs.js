// Picture, Draw, Camera: tabs as the ARIA practices have them (arrow keys move, one tab stop).

import { state, tell } from "./state.js";

const at = (id) => document.getElementById(id);
const NAMES = ["picture", "draw", "camera"];

export function startTabs() {
  const offered = () => NAMES.filter((name) => !at(`tab-${name}`).hidden);

  function select(name, focus = false) {
    if (!offered().includes(name)) return;
    for (const one of NAMES) {
      const tab = at(`tab-${one}`);
      const chosen = one === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      at(`panel-${one}`).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
    if (state.source === name) return;
    state.source = name;
    tell("source");
  }

  for (const name of NAMES) at(`tab-${name}`).addEventListener("click", () => select(name));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const names = offered();
    const here = names.indexOf(state.source);
    const to = {
      ArrowRight: (here + 1) % names.length,
      ArrowLeft: (here + names.length - 1) % names.length,
      Home: 0,
      End: names.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(names[to], true);
  });
  return { select };
}
