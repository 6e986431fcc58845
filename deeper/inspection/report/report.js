"use strict";
// Elements are made one by one and filled with text; data never becomes markup.
const pictures = JSON.parse(document.getElementById("pictures").textContent);
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 60;

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function picture(number, text) {
  if (number === null || number === undefined) return make("span", { class: "blank" }, "no picture kept");
  const image = make("img", { alt: text, loading: "lazy", decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 64));
  image.src = pictures[number];
  return image;
}

for (const image of document.querySelectorAll("img[data-picture]")) {
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth <= 64));
  image.decoding = "async";
  image.src = pictures[Number(image.dataset.picture)];
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;
const gallery = document.getElementById("gallery");

if (gallery) {
  const fields = Object.fromEntries(["label", "predicted", "evidence", "search"].map((id) => [id, document.getElementById(id)]));
  const more = document.getElementById("more");
  const dialog = document.getElementById("detail");
  let chosen = [];
  let shown = 0;

  function options(select, texts, numbers, all) {
    select.append(make("option", { value: "" }, all));
    for (const number of numbers) select.append(make("option", { value: String(number) }, texts(number)));
  }
  const used = (column) => [...new Set(data.errors.map((error) => error[column]))].sort((a, b) => a - b);
  options(fields.label, (number) => data.classes[number], used(1), "anything");
  options(fields.predicted, (number) => data.classes[number], used(2), "anything");
  options(fields.evidence, (number) => `collides: ${data.distortions[number]}`, data.distortions.keys(), "any");
  fields.evidence.append(make("option", { value: "none" }, "no collision"), make("option", { value: "judge" }, "the judge errs too"));

  function fits(error) {
    const [id, label, predicted, , , judged, collided] = error;
    if (fields.label.value !== "" && label !== Number(fields.label.value)) return false;
    if (fields.predicted.value !== "" && predicted !== Number(fields.predicted.value)) return false;
    const wanted = fields.evidence.value;
    if (wanted === "none" && collided.length) return false;
    if (wanted === "judge" && (judged === null || judged === label)) return false;
    if (wanted !== "" && wanted !== "none" && wanted !== "judge" && !collided.includes(Number(wanted))) return false;
    const text = fields.search.value.trim().toLowerCase();
    return text === "" || id.toLowerCase().includes(text);
  }

  function tile(error) {
    const [id, label, predicted, probability, , , collided, , number] = error;
    const words = make(
      "span", { class: "words" },
      make("b", {}, data.classes[label]), " → ", make("b", {}, data.classes[predicted]), ` ${percent(probability)}`,
      collided.length ? make("small", { class: "mark" }, data.distortions[collided[0]]) : null,
      make("small", {}, id),
    );
    const button = make("button", { type: "button" }, picture(number, `${data.classes[label]}, called ${data.classes[predicted]}`), words);
    button.addEventListener("click", () => open(error));
    return make("li", {}, button);
  }

  function extend() {
    gallery.append(...chosen.slice(shown, shown + PAGE).map(tile));
    shown = Math.min(chosen.length, shown + PAGE);
    more.hidden = shown >= chosen.length;
    more.textContent = `Show ${Math.min(PAGE, chosen.length - shown)} more of ${(chosen.length - shown).toLocaleString("en")}`;
  }

  function refresh() {
    chosen = data.errors.filter(fits);
    shown = 0;
    gallery.replaceChildren();
    const whole = data.total > data.errors.length ? ` (the surest ${data.errors.length.toLocaleString("en")} of ${data.total.toLocaleString("en")})` : "";
    document.getElementById("count").textContent = `${chosen.length.toLocaleString("en")} of ${data.errors.length.toLocaleString("en")} errors${whole}, the surest first`;
    extend();
    for (const button of document.querySelectorAll("#confusion button")) {
      const pressed = button.dataset.label === fields.label.value && button.dataset.predicted === fields.predicted.value;
      button.setAttribute("aria-pressed", String(pressed));
    }
  }

  function open(error) {
    const [id, label, predicted, probability, trueProbability, judged, collided, rescued, number] = error;
    const names = (list) => list.map((one) => data.distortions[one]).join(", ") || "none";
    const facts = make("dl", {});
    const rows = [
      ["is", data.classes[label]], ["was called", `${data.classes[predicted]} (${percent(probability)})`],
      ["true class got", percent(trueProbability)], ["the judge reads", judged === null ? "not examined" : data.classes[judged]],
      ["collides by", names(collided)], ["rescued by (weak)", names(rescued)],
    ];
    for (const [name, value] of rows) facts.append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    const close = make("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => dialog.close());
    const proofs = (data.proofs[id] || []).map(([distortion, undone, sure, transformed, neighbour, distorted]) => {
      const figures = [
        [number, "the picture"],
        [transformed, sure === null ? undone : `${undone}: the judge says ${data.classes[predicted]}, ${percent(sure)}`],
        [neighbour, `nearest training ${data.classes[predicted]}`], [distorted, "the same, distorted"],
      ].filter(([one]) => one !== null);
      return make("div", { class: "strip" }, make("h4", {}, data.distortions[distortion]),
        make("div", { class: "four" }, ...figures.map(([one, text]) => make("figure", {}, picture(one, text), make("figcaption", {}, text)))));
    });
    const looked = (data.looked[id] || []).map((one, place) => [one, data.classes[place ? label : predicted]]).filter(([one]) => one !== null);
    if (looked.length) {
      const figures = looked.map(([one, name]) => make("figure", {}, picture(one, `where it looked for ${name}`), make("figcaption", {}, `where it looked for ${name}`)));
      proofs.unshift(make("div", { class: "strip" }, make("h4", {}, "Grad-CAM"), make("div", { class: "four" }, ...figures)));
    }
    document.getElementById("detail-body").replaceChildren(
      close, make("div", { class: "detail" }, make("div", {}, picture(number, id)), make("div", {}, make("h3", { id: "detail-title" }, id), facts)),
      make("div", { class: "strips" }, ...proofs),
    );
    dialog.showModal();
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  function choose(label, predicted) {
    const same = fields.label.value === String(label) && fields.predicted.value === String(predicted);
    fields.label.value = same ? "" : String(label);
    fields.predicted.value = same ? "" : String(predicted);
    refresh();
    document.getElementById("filters").scrollIntoView({ block: "start" });
  }

  function confusionButton(label, predicted, count, most, text) {
    const described = `${count} times ${data.classes[label]} was called ${data.classes[predicted]}`;
    const button = make("button", { type: "button", title: described, "aria-label": described, "aria-pressed": "false", "data-label": label, "data-predicted": predicted }, text);
    button.style.setProperty("--share", `${Math.round(12 + 58 * Math.sqrt(count / most))}%`);
    button.addEventListener("click", () => choose(label, predicted));
    return button;
  }

  const place = document.getElementById("confusion");
  if (data.matrix) {
    const most = Math.max(1, ...data.matrix.flatMap((row, i) => row.filter((_, j) => i !== j)));
    const head = make("tr", {}, make("th", { scope: "col" }, "is ↓ called →"), ...data.classes.map((name) => make("th", { scope: "col", title: name }, name)));
    const body = data.matrix.map((row, i) => make("tr", {}, make("th", { scope: "row", title: data.classes[i] }, data.classes[i]),
      ...row.map((count, j) => make("td", {}, i === j ? make("span", { class: "diagonal" }, String(count))
        : count ? confusionButton(i, j, count, most, String(count)) : make("span", { class: "none", "aria-hidden": "true" }, "·")))));
    place.append(make("div", { class: "wide" }, make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...body))));
  } else {
    const most = Math.max(1, ...data.pairs.map((pair) => pair[2]));
    place.append(make("p", { class: "explain" }, data.allPairs > data.pairs.length
      ? `The ${data.pairs.length} most frequent of ${data.allPairs.toLocaleString("en")} confusions; each chooses its errors below.`
      : "All confusions, the most frequent first; each chooses its errors below."),
      make("ul", { class: "confused matrix" }, ...data.pairs.map(([label, predicted, count]) =>
        make("li", {}, confusionButton(label, predicted, count, most, `${data.classes[label]} → ${data.classes[predicted]}: ${count}`)))));
  }

  for (const field of Object.values(fields)) field.addEventListener("input", refresh);
  document.getElementById("filters").addEventListener("reset", () => setTimeout(refresh));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", extend);
  refresh();
}

// On paper nobody can open a table.
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details:not([open])")) { one.open = true; one.dataset.closed = ""; }
});
addEventListener("afterprint", () => {
  for (const one of document.querySelectorAll("details[data-closed]")) { one.open = false; delete one.dataset.closed; }
});
