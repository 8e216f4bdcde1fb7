"use strict";
const short = (number) => number === null ? "–" : Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en") : String(+number.toPrecision(3));

function showEpisode(data) {
  const video = document.querySelector(".episode video"), bars = document.querySelector(".bars");
  const cursor = document.querySelector(".cursor"), curves = document.querySelector(".episode-curves svg");
  const steps = data.rewards.length, flat = data.preferences.flat();
  const low = data.kind === "probabilities" ? 0 : Math.min(0, ...range(flat)), high = data.kind === "probabilities" ? 1 : Math.max(0, ...range(flat));
  const place = (number) => 100 * (number - low) / (high - low || 1);
  const rows = data.names.map((name) => {
    const [label, track, number] = ["span", "div", "span"].map((kind) => bars.appendChild(document.createElement(kind)));
    label.textContent = name; track.className = "track"; number.className = "number";
    return { label, number, bar: track.appendChild(document.createElement("i")) };
  });
  const fields = Object.fromEntries([...document.querySelectorAll("[data-shows]")].map((field) => [field.dataset.shows, field]));

  function show() {
    const step = Math.min(steps - 1, Math.floor(video.currentTime * data.fps + 1e-3));
    const preferences = data.preferences[step], best = bestOfGroups(preferences, data.sizes);
    rows.forEach(({ label, number, bar }, index) => {
      const value = preferences[index], [from, to] = [place(Math.min(0, value)), place(Math.max(0, value))];
      bar.style.left = from + "%"; bar.style.width = to - from + "%";
      number.textContent = data.kind === "probabilities" ? (100 * value).toFixed(1) + " %" : short(value);
      label.className = data.kind !== "distribution" && best.has(index) ? "best" : "";
    });
    fields.step.textContent = step.toLocaleString("en");
    fields.reward.textContent = short(data.rewards[step]);
    fields.total.textContent = short(data.totals[step]);
    if (data.values) fields.value.textContent = short(data.values[step]);
    cursor.style.left = curves.getBoundingClientRect().width * (data.left + (data.right - data.left) * (step + .5) / steps) + "px";
  }
  function loop() { show(); requestAnimationFrame(loop); }
  curves.addEventListener("click", (event) => {
    const box = curves.getBoundingClientRect(), share = ((event.clientX - box.left) / box.width - data.left) / (data.right - data.left);
    video.currentTime = Math.max(0, Math.min(steps - 1, Math.floor(share * steps)) + .5) / data.fps;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("video, button, select, a")) return;
    event.preventDefault();
    video.paused ? video.play() : video.pause();
  });
  loop();
}

function showEmbedding(data, colours) {
  const root = document.querySelector(".embedding"), select = root.querySelector("select"), canvas = root.querySelector("canvas");
  const tip = root.querySelector(".thumbnail"), [picture, words] = tip.children, [lowest, ramp, highest] = root.querySelector(".scale").children;
  const names = Object.keys(data.quantities), margin = 12, context = canvas.getContext("2d");
  names.forEach((name) => select.add(new Option(name)));
  ramp.style.background = `linear-gradient(to right, ${colours.join(",")})`;
  Object.assign(picture.style, { width: data.width + "px", height: data.height + "px", backgroundImage: `url(${data.sheet})` });
  let places = [], hovered = -1;

  function draw() {
    const { width, height } = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio;
    context.scale(ratio, ratio);
    const values = data.quantities[select.value], sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
    const low = sorted[Math.floor(.01 * (sorted.length - 1))], high = sorted[Math.ceil(.99 * (sorted.length - 1))];
    lowest.textContent = short(low); highest.textContent = short(high);
    places = data.points.map(([x, y]) => [margin + x * (width - 2 * margin), height - margin - y * (height - 2 * margin)]);
    places.forEach(([x, y], index) => {
      const share = Math.max(0, Math.min(1, (values[index] - low) / (high - low || 1)));
      context.fillStyle = colours[Math.round(share * (colours.length - 1))];
      context.beginPath(); context.arc(x, y, index === hovered ? 6 : 3, 0, 7); context.fill();
    });
  }
  function point(event) {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let nearest = -1, distance = 400;
    places.forEach(([px, py], index) => {
      const square = (px - x) ** 2 + (py - y) ** 2;
      if (square < distance) { nearest = index; distance = square; }
    });
    tip.hidden = nearest < 0;
    if (nearest !== hovered) { hovered = nearest; draw(); }
    if (nearest < 0) return;
    picture.style.backgroundPosition = `-${data.width * (nearest % data.columns)}px -${data.height * Math.floor(nearest / data.columns)}px`;
    words.textContent = names.slice(0, 6).map((name) => `${name} ${short(data.quantities[name][nearest])}`).join("\n");
    const [px, py] = places[nearest];
    tip.style.left = Math.min(px + 12, box.width - tip.offsetWidth) + "px";
    tip.style.top = Math.max(0, Math.min(py + 12, box.height - tip.offsetHeight)) + "px";
  }
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; hovered = -1; draw(); });
  select.addEventListener("change", draw);
  addEventListener("resize", draw);
  draw();
}

function bestOfGroups(preferences, sizes) {
  let start = 0;
  return new Set(sizes.map((size) => {
    const group = preferences.slice(start, start + size), best = start + group.indexOf(Math.max(...group));
    start += size;
    return best;
  }));
}

function range(numbers) {
  return numbers.filter((number) => number !== null).reduce(([low, high], number) => [Math.min(low, number), Math.max(high, number)], [Infinity, -Infinity]);
}

const episodeData = document.getElementById("episode-data"), embeddingData = document.getElementById("embedding-data");
if (episodeData) showEpisode(JSON.parse(episodeData.textContent));
if (embeddingData) showEmbedding(JSON.parse(embeddingData.textContent), {{ gradient | tojson }});
