// Talks to the server that the page came from. Every way to fail becomes a Problem with one line for people.

import { askForToken, token } from "./token.js";
import { megabytes, sentence } from "./words.js";

/** Something a person is told in one line. `wait`: seconds after which asking again may help, or null. */
export class Problem extends Error {
  constructor(line, { status = 0, wait = null } = {}) {
    super(line);
    this.status = status;
    this.wait = wait;
  }
}

/** → the list of `/api/models`. */
export async function models() {
  return (await asked("/api/models", {})).models;
}

/**
 * The very bytes of `blob` to `POST /predict`.
 * @returns {Promise<{answer: object, roundTrip: number}>} milliseconds from sending to the whole answer
 */
export async function predict(model, blob, { top = 5, signal } = {}) {
  const began = performance.now();
  const query = new URLSearchParams({ model, top: String(top) });
  // Always the same content type: what a file is, the server reads from its bytes, not from what it is called.
  const headers = { "content-type": "application/octet-stream" };
  const answer = await asked(`/predict?${query}`, { method: "POST", body: blob, headers, signal });
  return { answer, roundTrip: performance.now() - began };
}

async function asked(path, options) {
  for (;;) {
    const sent = token();
    const response = await fetched(path, options, sent);
    if (response.status === 401) {
      if (!(await askForToken(sent))) throw new Problem("The server wants a token; without one it does not answer.", { status: 401 });
      continue;
    }
    if (!response.ok) throw await problemOf(response);
    try {
      return await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The server's answer broke off. Try again.");
    }
  }
}

// The browser's own login goes along, for a proxy before the server that asks for one; the server itself reads no cookie.
async function fetched(path, options, bearer) {
  const headers = { ...options.headers };
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  try {
    return await fetch(path, { ...options, headers, cache: "no-store", credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A file that was moved or changed since it was chosen looks like a broken connection: look at the file itself.
    if (options.body && !(await readable(options.body))) throw new Problem("The file cannot be read any more; choose it again.");
    if (options.body && (await alive())) {
      throw new Problem(`The server broke off while it was sent ${megabytes(options.body.size)}; that may be more than it takes.`);
    }
    throw new Problem("The server does not answer. Is it still running?", { wait: 2 });
  }
}

async function readable(blob) {
  try {
    await blob.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

async function alive() {
  try {
    return (await fetch("/livez", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

async function problemOf(response) {
  const { status } = response;
  let said = "";
  try {
    said = String((await response.json()).error ?? "");
  } catch {
    // Not this server's own answer; a proxy's perhaps.
  }
  const seconds = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const wait = seconds >= 0 ? Math.min(seconds, 60) : null;
  const detail = said ? `: ${said}` : "";
  const lines = {
    400: said ? sentence(said) : "The server cannot read this.",
    403: `The server does not let this page ask${detail}.`,
    404: `The server has no such model any more${detail}.`,
    413: `Too large for this server${detail}.`,
    415: `The server does not take this kind of file${detail}.`,
    421: `The server does not go by this address${detail}.`,
    503: "The server is busy.",
    504: "The server took too long. Try again.",
  };
  const line = lines[status] ?? (status >= 500 ? `Something went wrong on the server${detail}.` : `The server refused${detail}.`);
  return new Problem(line, { status, wait: status === 503 ? (wait ?? 1) : null });
}
