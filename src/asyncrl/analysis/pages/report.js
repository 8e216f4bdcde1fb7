"use strict";
const short = (number) => number === null ? "–" : Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en") : String(+number.toPrecision(3));

function showEpisode(data) {
  const video = document.querySelector(".episode video"), bars = document.querySelector(".bars");
  const cursor = document.querySelector(".cursor"), curves = document.querySelector(".episode-curves svg"), scroll = curves.closest(".scroll");
  const play = document.querySelector("[data-go=play]"), slider = document.querySelector(".controls input");
  const steps = data.rewards.length, flat = data.preferences.flat();
  const low = data.kind === "probabilities" ? 0 : Math.min(0, ...range(flat)), high = data.kind === "probabilities" ? 1 : Math.max(0, ...range(flat));
  const place = (number) => 100 * (number - low) / (high - low || 1);
  const rows = data.names.map((name) => {
    const [label, track, number] = ["span", "div", "span"].map((kind) => bars.appendChild(document.createElement(kind)));
    label.textContent = name; track.className = "track"; number.className = "number";
    return { label, number, bar: track.appendChild(document.createElement("i")) };
  });
  bars.append(...["", "ends", ""].map((kind) => Object.assign(document.createElement("div"), { className: kind })));
  const label = (number) => data.kind === "probabilities" ? 100 * number + " %" : short(number);
  bars.querySelector(".ends").append(...[low, high].map((number) => Object.assign(document.createElement("span"), { textContent: label(number) })));
  slider.max = steps - 1;
  const fields = Object.fromEntries([...document.querySelectorAll("[data-shows]")].map((field) => [field.dataset.shows, field]));

  const stepNow = () => Math.min(steps - 1, Math.floor(video.currentTime * data.fps + 1e-3));
  const goTo = (step) => { video.currentTime = (Math.max(0, Math.min(steps - 1, step)) + .5) / data.fps; };
  const toggle = () => video.paused ? video.play() : video.pause();

  function show() {
    const step = stepNow();
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
    const now = curves.getBoundingClientRect().width * (data.left + (data.right - data.left) * (step + .5) / steps);
    cursor.style.left = now + "px";
    if (!video.paused && (now < scroll.scrollLeft || now > scroll.scrollLeft + scroll.clientWidth)) scroll.scrollLeft = now - 40;
    play.textContent = video.paused ? "play" : "pause";
    slider.value = step;
  }
  function loop() { show(); requestAnimationFrame(loop); }
  curves.addEventListener("click", (event) => {
    const box = curves.getBoundingClientRect(), share = ((event.clientX - box.left) / box.width - data.left) / (data.right - data.left);
    goTo(Math.floor(share * steps));
  });
  play.addEventListener("click", toggle);
  video.addEventListener("click", toggle);
  slider.addEventListener("input", () => { video.pause(); goTo(+slider.value); });
  const walk = (by) => { video.pause(); goTo(stepNow() + by); };
  document.querySelectorAll("[data-go='-1'], [data-go='1']").forEach((button) => button.addEventListener("click", () => walk(+button.dataset.go)));
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("button, select, a, input")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key !== " " && !by) return;
    event.preventDefault();
    by ? walk(by) : toggle();
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
    let nearest = -1, distance = event.pointerType === "mouse" ? 400 : 1600; // a finger is less exact
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
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "mouse") return; // a finger has left as soon as it is lifted, and the picture stays
    tip.hidden = true; hovered = -1; draw();
  });
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

function showMore() { // one hint for each part of the page is enough
  document.querySelectorAll("section").forEach((section) => {
    const wide = [...section.querySelectorAll(".scroll")].find((scroll) => scroll.scrollWidth > scroll.clientWidth + 1);
    section.querySelectorAll(".more").forEach((hint) => { hint.hidden = hint.closest("figure") !== wide?.closest("figure"); });
  });
}

document.querySelectorAll(".zoom").forEach((button) => button.addEventListener("click", () => {
  const zoomed = button.closest("figure").classList.toggle("zoomed");
  button.textContent = zoomed ? "shrink" : "enlarge";
  button.setAttribute("aria-pressed", zoomed);
  showMore();
}));
addEventListener("resize", showMore);
showMore();

const episodeData = document.getElementById("episode-data"), embeddingData = document.getElementById("embedding-data");
if (episodeData) showEpisode(JSON.parse(episodeData.textContent));
if (embeddingData) showEmbedding(JSON.parse(embeddingData.textContent), {{ gradient | tojson }});
