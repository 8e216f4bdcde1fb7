"use strict";
// Shows the game that the server plays: pictures, and what the agent computed at each step.
const at = (id) => document.getElementById(id);
const number = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());
let kind, sizes, rows = [], low = 0, high = 0, writtenAt = null, steps = null, source = null, retry = null;
const RETRY_SECONDS = 5; // after the server refused the stream

function element(parent, tag, name, text = "") {
  const made = parent.appendChild(document.createElement(tag));
  made.className = name;
  made.textContent = text;
  return made;
}

function setUp(data) {
  ({ kind, sizes } = data);
  at("scale").textContent = data.note;
  [low, high] = kind === "distribution" ? [-1.25, 1.25] : [0, kind === "probabilities" ? 1 : 0];
  at("kind").textContent = { probabilities: "Probability of each action", "action values": "Expected return of each action",
    distribution: "Mean and standard deviation of the action, and the action drawn" }[kind];
  const bars = at("bars");
  bars.replaceChildren();
  const starts = sizes.map((_, group) => sizes.slice(0, group).reduce((sum, size) => sum + size, 0));
  rows = data.names.map((name, place) => {
    if (place && starts.includes(place)) element(bars, "div", "gap");
    const label = element(bars, "div", "name", name), track = element(bars, "div", "track");
    return { label, track, value: element(bars, "div", "number") };
  });
}

function part(value) {
  return high > low ? Math.min(100, Math.max(0, 100 * (value - low) / (high - low))) : 0;
}

function mark(track, name, from, to = null) {
  const made = element(track, "i", name);
  made.style.left = `${from}%`;
  if (to !== null) made.style.width = `${to - from}%`;
}

function showBars(data) {
  const preferences = data.preferences.map((value) => value ?? 0), spread = data.deviation ?? 0;
  if (kind !== "probabilities") {
    low = Math.min(low, ...preferences.map((value) => value - spread));
    high = Math.max(high, ...preferences.map((value) => value + spread));
  }
  const chosen = new Set();
  if (kind !== "distribution") {
    let start = 0;
    data.chosen.forEach((choice, group) => { chosen.add(start + choice); start += sizes[group]; });
  }
  rows.forEach(({ label, track, value }, place) => {
    label.classList.toggle("chosen", chosen.has(place));
    track.replaceChildren();
    if (kind === "distribution") {
      mark(track, "spread", part(preferences[place] - spread), part(preferences[place] + spread));
      mark(track, "mean", part(preferences[place]));
      mark(track, "drawn", part(data.chosen[place]));
      value.textContent = `${preferences[place].toFixed(2)} ± ${spread.toFixed(2)}`;
    } else {
      const zero = part(0), end = part(preferences[place]);
      mark(track, "", Math.min(zero, end), Math.max(zero, end));
      value.textContent = kind === "probabilities" ? preferences[place].toFixed(3) : number(preferences[place]);
    }
  });
}

function show(data) {
  const frame = at("frame");
  frame.src = data.frame;
  frame.classList.toggle("photo", data.frame.startsWith("data:image/jpeg"));
  frame.hidden = at("play").hidden = false;
  at("notice").hidden = true;
  at("return").textContent = number(data.return);
  at("reward").textContent = number(data.reward);
  at("episode").textContent = data.episode;
  at("length").textContent = data.length;
  at("problem").textContent = data.problem;
  [writtenAt, steps] = [performance.now() - 1000 * data.age, data.steps];
  if (data.last) return;
  at("valued").hidden = data.value === null;
  at("value").textContent = number(data.value);
  showBars(data);
  showAuxiliary(data);
}

function showAuxiliary({ control, predicted }) {
  at("auxiliary").hidden = control === null && predicted === null;
  at("controlled").hidden = control === null;
  if (control !== null) at("control").src = control;
  at("predicted").hidden = predicted === null;
  if (predicted === null) return;
  ["negative", "zero", "positive"].forEach((name, place) => { at(name).textContent = `${(100 * predicted[place]).toFixed(0)} %`; });
}

function showAge() {
  if (writtenAt === null) return;
  const age = Math.round((performance.now() - writtenAt) / 1000);
  const words = age < 120 ? `${age} s` : age < 7200 ? `${Math.round(age / 60)} min` : `${Math.round(age / 3600)} h`;
  at("parameters").textContent = `parameters of training step ${steps.toLocaleString("en")}, saved ${words} ago`;
}

function notify(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

function open() {
  source = new EventSource("/stream");
  const on = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));
  on("setup", setUp);
  on("step", (data) => { show(data); showAge(); });
  on("notice", (data) => notify(data.text));
  on("speed", (data) => {
    for (const button of document.querySelectorAll("[data-speed]")) {
      button.setAttribute("aria-pressed", Number(button.dataset.speed) === data.speed);
    }
  });
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return notify("the server does not answer"); // the browser tries again by itself
    notify("too many pages are open: close one");
    retry = setTimeout(open, 1000 * RETRY_SECONDS);
  };
}

function openIfVisible() { // nothing is played for a page in the background
  source?.close();
  clearTimeout(retry);
  if (!document.hidden) open();
}

for (const button of document.querySelectorAll("[data-speed]")) {
  button.addEventListener("click", () => fetch("/speed", { method: "POST", body: new URLSearchParams({ speed: button.dataset.speed }) }));
}
document.addEventListener("visibilitychange", openIfVisible);
setInterval(showAge, 1000);
openIfVisible();
