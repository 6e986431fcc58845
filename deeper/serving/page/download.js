// The session's answers as a file, made here: the columns and keys are those of `deeper predict --csv` and `--json`.

import { state } from "./state.js";

const TOP = 5;

export function startDownloads() {
  document.getElementById("csv").addEventListener("click", () => save("answers.csv", "text/csv", csvOf(state.entries)));
  document.getElementById("json").addEventListener("click", () => save("answers.json", "application/json", jsonOf(state.entries)));
}

/** RFC 4180, with a header. */
export function csvOf(entries) {
  const ranks = Array.from({ length: TOP }, (_, place) => place + 1);
  const header = [
    "path", ...ranks.flatMap((rank) => [`class_${rank}`, `probability_${rank}`]),
    "unsure", "model", "version", "server_milliseconds", "milliseconds", "asked", "error",
  ];
  const rows = entries.map(({ name, answer, model, roundTrip, when, problem, status }) => [
    name,
    ...ranks.flatMap((rank) => {
      const one = answer?.top[rank - 1];
      return one ? [one.class, one.probability.toFixed(6)] : ["", ""];
    }),
    answer?.unsure ?? "", model, answer?.version ?? "", answer?.milliseconds ?? "", roundTrip?.toFixed(2) ?? "",
    when.toISOString(), status === "failed" ? problem : "",
  ]);
  return [header, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function cell(value) {
  // A spreadsheet would run a class or a file that is called "=…" as a formula; an apostrophe makes it text.
  const text = String(value).replace(/^[=+@\t\r-]/, "'$&");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function jsonOf(entries) {
  const done = entries.filter((one) => one.status === "done");
  const predictions = done.map(({ name, answer, roundTrip, when, source }) => ({
    path: name, class: answer.class, probability: answer.probability, top: answer.top, unsure: answer.unsure,
    model: answer.model, version: answer.version, server_milliseconds: answer.milliseconds,
    milliseconds: Math.round(100 * roundTrip) / 100, source, asked: when.toISOString(),
  }));
  const failed = entries.filter((one) => one.status === "failed").map(({ name, problem }) => ({ path: name, reason: problem }));
  return `${JSON.stringify({ predictions, failed }, null, 2)}\n`;
}

function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  // After the browser has begun to read it.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
