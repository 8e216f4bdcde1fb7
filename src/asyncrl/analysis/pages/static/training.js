"use strict";
// Fetches the parts of the page every few seconds and replaces those that changed.
const SECONDS = 3;
const shown = {};

async function refresh(parts) {
  const lost = document.getElementById("lost");
  try {
    const response = await fetch(parts);
    for (const [name, html] of Object.entries(await response.json())) {
      if (shown[name] !== html) document.getElementById(name).innerHTML = shown[name] = html;
    }
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
  setTimeout(refresh, 1000 * SECONDS, parts);
}

refresh("/training/parts");
refresh("/training/charts"); // drawing takes longer
