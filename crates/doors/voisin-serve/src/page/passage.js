// A passage of a track: its waveform, its ends, and a search for similar passages.
import { changes, clock, h, icon, span } from "./dom.js";
import { audioOf, request } from "./api.js";
import * as player from "./player.js";
import { mark } from "./playing_marks.js";
import { row } from "./tracks.js";
import { empty, load } from "./states.js";

/** Seconds above which a file is not decoded for its waveform; passages can still be chosen. */
const LONGEST = 900,
  BARS = 240,
  SHORTEST = 3;

export function passages(place, track, signal) {
  const length = Math.max(SHORTEST, track.seconds);
  let from = Math.max(0, Math.min(length - 10, length / 3)),
    to = Math.min(length, from + 10),
    peaks = null,
    now = -1;
  const canvas = h("canvas", { class: "wave", "aria-hidden": "true" });
  const range = (label, get) =>
    h("input", {
      type: "range",
      min: 0,
      max: length,
      step: 0.5,
      "aria-label": label,
      value: get(),
    });
  const first = range("Passage from", () => from),
    last = range("Passage to", () => to);
  const bounds = h("output", { class: "passage-bounds" });
  const found = h("div", {});
  const set = (a, b) => {
    from = Math.max(0, Math.min(a, length - SHORTEST));
    to = Math.min(length, Math.max(b, from + SHORTEST));
    first.value = from;
    last.value = to;
    first.setAttribute("aria-valuetext", clock(from));
    last.setAttribute("aria-valuetext", clock(to));
    bounds.textContent = `${clock(from)} – ${clock(to)} · ${span(to - from)}`;
    draw();
  };
  first.addEventListener("input", () =>
    set(Number(first.value), Math.max(to, Number(first.value) + SHORTEST)),
  );
  last.addEventListener("input", () =>
    set(Math.min(from, Number(last.value) - SHORTEST), Number(last.value)),
  );

  function draw() {
    const box = canvas.getBoundingClientRect(),
      ratio = devicePixelRatio || 1;
    if (!box.width) return;
    canvas.width = box.width * ratio;
    canvas.height = box.height * ratio;
    const ink = canvas.getContext("2d"),
      style = getComputedStyle(canvas),
      width = canvas.width,
      height = canvas.height;
    const colours = {
      in: style.getPropertyValue("--accent"),
      out: style.getPropertyValue("--faint-line"),
      now: style.getPropertyValue("--ink"),
    };
    const step = width / BARS;
    for (let i = 0; i < BARS; i++) {
      const time = ((i + 0.5) / BARS) * length,
        level = peaks ? peaks[i] : 0.14,
        tall = Math.max(2 * ratio, level * height * 0.92);
      ink.fillStyle = time >= from && time <= to ? colours.in : colours.out;
      ink.fillRect(i * step + step * 0.18, (height - tall) / 2, step * 0.64, tall);
    }
    if (now >= 0) {
      ink.fillStyle = colours.now;
      ink.fillRect((now / length) * width - ratio, 0, 2 * ratio, height);
    }
  }

  // Dragging over the waveform chooses a passage; a click seeks while the track plays.
  let pressed = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * length;
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed = at(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pressed !== null && Math.abs(at(event) - pressed) > length / 100)
      set(Math.min(pressed, at(event)), Math.max(pressed, at(event)));
  });
  canvas.addEventListener("pointerup", (event) => {
    if (
      pressed !== null &&
      Math.abs(at(event) - pressed) <= length / 100 &&
      !player.seekTo(track.id, pressed)
    )
      player.playNow({ track, from: pressed, to: null });
    pressed = null;
  });

  // The answer from stored windows shows at once; then the best tracks are analysed again, which is exact to a second.
  const body = () => ({ seeds: [{ id: track.id }], from, to, limit: 12 });
  const rows = (answer, note) => {
    found.replaceChildren(
      h("p", { class: "faint", role: "status" }, note),
      h(
        "ul",
        { class: "rows" },
        answer.passages.map((p) =>
          row({ track: p, from: p.from, to: p.to }, { share: p.similarity }),
        ),
      ),
    );
    mark();
  };
  let round = 0;
  const search = () =>
    load(
      found,
      signal,
      (waiting) => request("similar", { body: { ...body(), rough: true }, signal, waiting }),
      async (answer) => {
        if (!answer.passages.length) return found.append(empty("No similar passages"));
        const mine = ++round,
          exactBody = body();
        rows(answer, "Analysing the best tracks again to find the exact places…");
        request("similar", { body: exactBody, signal, once: true }).then(
          (exact) => {
            if (mine === round && found.isConnected) rows(exact, "Exact to a second.");
          },
          () => {
            if (mine === round && found.isConnected)
              found.firstChild.textContent = "From stored windows: accurate to a few seconds.";
          },
        );
        return null;
      },
    );
  place.append(
    h("div", { class: "passage" }, h("div", { class: "wave-box" }, canvas, first, last)),
    bounds,
    h(
      "div",
      { class: "part-acts" },
      h(
        "button",
        { type: "button", class: "small", onclick: () => player.playNow({ track, from, to }) },
        icon("play"),
        "Play it",
      ),
      h("button", { type: "button", class: "small", onclick: search }, "Find similar passages"),
    ),
    found,
  );
  set(from, to);

  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  signal.addEventListener("abort", () => observer.disconnect());
  changes.on(
    "time",
    (seconds) => {
      const next = player.current()?.track.id === track.id ? seconds : -1;
      if (next !== now) {
        now = next;
        draw();
      }
    },
    signal,
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
  addEventListener("voisin-theme", draw, { signal });
  if (length <= LONGEST)
    shape(track.id, signal).then(
      (found) => {
        peaks = found;
        draw();
      },
      () => {
        /* the bar works without a waveform */
      },
    );
}

/** Loudest sample of each part, 0 to 1, decoded by the browser. */
async function shape(id, signal) {
  const answer = await fetch(audioOf(id), { signal });
  if (!answer.ok) throw new Error("no audio");
  const sound = await new OfflineAudioContext(1, 1, 8000).decodeAudioData(
    await answer.arrayBuffer(),
  );
  const samples = sound.getChannelData(0),
    part = samples.length / BARS,
    peaks = new Float32Array(BARS);
  for (let i = 0; i < BARS; i++) {
    let sum = 0,
      n = 0;
    for (let j = Math.floor(i * part); j < Math.floor((i + 1) * part); j++, n++)
      sum += samples[j] * samples[j];
    peaks[i] = Math.sqrt(sum / Math.max(1, n));
  }
  const most = Math.max(...peaks) || 1;
  return peaks.map((peak) => (peak / most) ** 0.8);
}
