// The current track as large as the screen: for phones, and to be read from across the room.
import { $, changes, clock, h, icon, iconButton, joined, name } from "./dom.js";
import { artistOf, cover, titleOf } from "./cover.js";
import { address } from "./makers.js";
import { move, playback, seconds } from "./playback.js";
import * as player from "./player.js";

const dialog = $("now");
const SLEEP = [
  ["", "No timer"],
  ["15", "15 minutes"],
  ["30", "30 minutes"],
  ["60", "An hour"],
  ["track", "End of this track"],
];

const picture = h("div", { class: "now-cover" }),
  title = h("h2", {}),
  by = h("p", { class: "by" }),
  elapsed = h("span", {}),
  total = h("span", {}),
  next = h("p", { class: "faint now-next" });
let isDragged = false,
  shown = null;
const place = h("input", {
  type: "range",
  min: 0,
  step: 0.1,
  "aria-label": "Position in the track",
  oninput: () => {
    isDragged = true;
    draw();
  },
  onchange: () => {
    isDragged = false;
    move(Number(place.value));
  },
});
const playButton = h(
  "button",
  { type: "button", class: "round", "aria-label": "Play", onclick: player.toggle },
  icon("play"),
);
const sleep = h(
  "select",
  {
    "aria-label": "Sleep timer",
    onchange: () =>
      player.setSleep(
        sleep.value === "" ? null : sleep.value === "track" ? "track" : Number(sleep.value),
      ),
  },
  SLEEP.map(([value, label]) => h("option", { value }, label)),
);
const sleepLeft = h("span", { class: "faint" });
const close = () => dialog.close();

dialog.append(
  h(
    "header",
    {},
    iconButton("down", "Close", close),
    h("span", { class: "grow" }),
    iconButton("queue", "Up next", () => {
      close();
      player.openQueue(true);
    }),
  ),
  picture,
  h(
    "div",
    { class: "now-words" },
    title,
    by,
    h("div", { class: "now-place" }, elapsed, place, total),
    h(
      "div",
      { class: "now-buttons" },
      iconButton("previous", "Previous track", () => player.step(-1)),
      playButton,
      iconButton("next", "Next track", () => player.step(1)),
    ),
    h(
      "div",
      { class: "now-more" },
      player.radioButton(() => [player.current().track], { class: "small" }),
      h("label", { class: "inline" }, icon("sleep"), sleep, sleepLeft),
    ),
    next,
  ),
);

function draw() {
  const entry = player.current();
  $("now-open").disabled = !entry;
  if (!dialog.open || !entry) return;
  const { track } = entry,
    on = !player.paused();
  if (shown !== entry) {
    shown = entry;
    picture.replaceChildren(cover(track, true));
    title.replaceChildren(
      name(titleOf(track), "a", {
        href: track.id === null ? "#/file" : "#/track/" + track.id,
        title: titleOf(track),
        onclick: close,
      }),
    );
    by.replaceChildren(
      ...joined([
        track.artist && track.id !== null
          ? name(track.artist, "a", { href: address("artists", track.artist), onclick: close })
          : artistOf(track),
        track.album,
      ]),
    );
  }
  place.max = player.length() || 1;
  if (!isDragged) place.value = seconds();
  player.paintRange(place);
  elapsed.textContent = clock(place.value);
  total.textContent = clock(player.length());
  playButton.querySelector("use").setAttribute("href", on ? "#i-pause" : "#i-play");
  playButton.setAttribute("aria-label", on ? "Pause" : "Play");
  const set = player.sleeping();
  sleep.value = set ? String(set.when) : "";
  sleepLeft.textContent = set && set.when !== "track" ? `${set.left} min` : "";
  const [, follows] = player.upcoming();
  next.replaceChildren(...(follows ? ["Next: ", name(titleOf(follows))] : []));
}
changes.on("change", draw);
playback.on("time", draw);
dialog.addEventListener("close", () => $("now-open").focus());
$("now-open").addEventListener("click", () => {
  if (!player.current()) return;
  shown = null;
  dialog.showModal();
  draw();
});
