// The picture on the stage: the file itself, shown by the browser.

import { on, state } from "./state.js";
import { megabytes } from "./words.js";

const at = (id) => document.getElementById(id);
let address = null;

export function startStage() {
  on("current", show);
  at("picture").addEventListener("load", () => {
    const { naturalWidth: width, naturalHeight: height } = at("picture");
    at("picture").classList.toggle("small", Math.max(width, height) <= 96);
    if (state.current) at("caption").textContent = `${width} × ${height}, ${megabytes(state.current.blob.size)}`;
  });
  // A browser that cannot show a file says nothing about the server, which may well read it.
  at("picture").addEventListener("error", () => {
    at("picture").hidden = true;
    at("no-preview").hidden = false;
    at("no-preview").textContent = "This browser cannot show this file.";
  });
}

function show() {
  const entry = state.current;
  if (address) URL.revokeObjectURL(address);
  address = entry ? URL.createObjectURL(entry.blob) : null;
  at("invite").hidden = entry !== null;
  at("no-preview").hidden = true;
  at("picture").hidden = entry === null;
  at("caption").textContent = entry ? megabytes(entry.blob.size) : "";
  if (entry) {
    at("picture").alt = entry.name;
    at("picture").src = address;
  } else {
    at("picture").removeAttribute("src");
  }
}
