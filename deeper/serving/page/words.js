// Numbers and names as people read them.

/** 0..1 → "98.2 %". Never "100 %" for what is not quite so, nor "0 %" for what is possible. */
export function percent(probability) {
  if (probability >= 0.9995 && probability < 1) return "> 99.9 %";
  if (probability < 0.0005 && probability > 0) return "< 0.1 %";
  return `${(100 * probability).toFixed(1)} %`;
}

export function milliseconds(number) {
  if (number >= 10_000) return `${(number / 1000).toFixed(0)} s`;
  if (number >= 1000) return `${(number / 1000).toFixed(1)} s`;
  return number >= 10 ? `${number.toFixed(0)} ms` : `${number.toFixed(1)} ms`;
}

export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1000))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** "1 picture", "1,204 pictures". */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** What a model is, in a few words. */
export function factsOf(model) {
  const size = `${model.width} × ${model.height} ${model.channels === 1 ? "grey" : "colour"}`;
  return [model.model, counted(model.classes.length, "class", "classes"), size, `${model.engine} ${model.precision}`];
}

/** What the server says in the middle of a line, as a line of its own. */
export function sentence(text) {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
