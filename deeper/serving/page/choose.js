// Pictures from outside: chosen, dropped anywhere on the page (folders too), or pasted.

import { enqueue } from "./queue.js";
import { choose, on, state } from "./state.js";
import { say } from "./speak.js";
import { counted } from "./words.js";

const at = (id) => document.getElementById(id);
// Of a dropped folder; so many are a task for `deeper predict`.
const MOST = 2000;
const PICTURE = /\.(jpe?g?|jfif|a?png|gif|webp|bmp|dib|tiff?|hei[cf]|avif|jp2|j2k|p[bgpn]m|pcx|qoi|sgi|rgb|ico|psd|tga)$/i;

export function startChoosing() {
  on("entries", () => { if (!state.entries.length) at("left-out").hidden = true; });
  at("choose").addEventListener("click", () => at("files").click());
  at("files").addEventListener("change", () => {
    take([...at("files").files], "file");
    at("files").value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", (event) => {
    if (event.target.closest?.("input:not([type=range]), textarea")) return;
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      take(files, "paste");
    } else if (!at("token-dialog").open) {
      refuse("There is no picture to paste.");
    }
  });
  startDropping();
}

function startDropping() {
  let depth = 0; // enter and leave come for every element under the pointer
  const show = (yes) => { at("over").hidden = !yes; };
  document.addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    depth += 1;
    show(true);
  });
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    show(depth > 0);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    // Never the browser's own way with a dropped file, which is to leave the page.
    event.preventDefault();
    depth = 0;
    show(false);
    const { files, count } = await filesOf(event.dataTransfer);
    take(files, "file", count);
  });
}

/** @returns {Promise<{files: File[], count: number}>} `count`: pictures that were there; more than `MOST` are not taken */
async function filesOf(transfer) {
  if (!transfer) return { files: [], count: 0 };
  // Before the first await: afterwards the browser has emptied the list.
  const plain = [...transfer.files];
  const entries = [...(transfer.items ?? [])].map((one) => one.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((one) => one.isDirectory)) return { files: plain, count: plain.length };
  const found = { files: [], count: 0 };
  for (const one of entries) await collect(one, found);
  return found;
}

async function collect(entry, found) {
  if (entry.isFile) {
    if (!PICTURE.test(entry.name)) return;
    if (found.files.length < MOST) {
      const file = await new Promise((resolve) => { entry.file(resolve, () => resolve(null)); });
      if (!file) return;
      found.files.push(file);
    }
    found.count += 1;
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives some at a time, and none at its end.
    const some = await new Promise((resolve) => { reader.readEntries(resolve, () => resolve([])); });
    if (!some.length) return;
    for (const one of some) await collect(one, found);
  }
}

/** For eyes as well as ears: nothing else on the page changes. */
function refuse(text) {
  at("left-out").textContent = text;
  at("left-out").hidden = false;
  say(text);
}

function take(files, source, count = files.length) {
  if (!state.model) return;
  if (!files.length) {
    refuse("There is no picture in that.");
    return;
  }
  const names = files.map((file) => (source === "paste" ? `pasted ${new Date().toLocaleTimeString("en-GB")}` : file.name));
  const entries = enqueue(files.map((blob, place) => ({ name: names[place], source, blob })));
  const first = count > files.length ? `the first ${files.length.toLocaleString("en")} of ` : "";
  if (files.length > 1) say(`Asking about ${first}${counted(count, "picture")}.`);
  at("left-out").hidden = !first;
  at("left-out").textContent = `These are ${first}${counted(count, "picture")}; deeper predict takes all of a folder.`;
  choose(entries[0]);
}
