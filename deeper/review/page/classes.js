// Which class gets which key, and which classes a typed word means. Pure functions: no page, no network.

const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];

/**
 * The classes that stand ready as buttons, each with a key, for one suspect.
 * Few classes keep the same keys for every picture, so that fingers learn them; a class named by a digit has that key,
 * and no other class has it. Of many, the suggested one and those of the neighbours are nearest at hand.
 * @returns {{index: number, key: string}[]}
 */
export function quickClasses(names, suspect) {
  const own = new Set(names.filter((name) => /^[0-9]$/.test(name)));
  if (names.length <= DIGITS.length || own.size === names.length) return keyed(names.keys(), names, own);
  const votes = new Map();
  for (const near of suspect.neighbours) {
    votes.set(near.label, (votes.get(near.label) ?? 0) + 1);
  }
  const ranked = [...votes.keys()].sort((first, second) => votes.get(second) - votes.get(first));
  const wanted = [suspect.suggested, ...ranked].filter((index) => index !== null && index !== suspect.given);
  return keyed(new Set(wanted), names, own);
}

/** Each class with its own digit, or one that no class is named by, while there are any. */
function keyed(indices, names, own) {
  const free = DIGITS.filter((digit) => !own.has(digit));
  const all = [...indices].map((index) => ({ index, key: own.has(names[index]) ? names[index] : free.shift() }));
  return all.filter((one) => one.key !== undefined);
}

/** Folded for comparison: no case, no accents. */
function folded(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** Indices of the classes that contain the word, those that begin with it first. */
export function searched(names, word, limit = 50) {
  const wanted = folded(word.trim());
  const places = names.map((name, index) => ({ index, at: folded(name).indexOf(wanted) }));
  const found = places.filter((one) => one.at >= 0);
  found.sort((first, second) => Number(first.at > 0) - Number(second.at > 0) || first.index - second.index);
  return found.slice(0, limit).map((one) => one.index);
}
