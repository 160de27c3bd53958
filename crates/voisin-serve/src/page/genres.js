// How close the genres are to one another: a table of distances, and for each genre its kin, what is typical of it and what
// stands on its border.
import { count, h, percent } from "./dom.js";
import { askAll } from "./api.js";
import { mark } from "./playing.js";
import { row } from "./tracks.js";
import { empty, load } from "./states.js";
import * as player from "./player.js";

/** A table of more would be read by nobody: the largest are shown, and all are listed. */
const MOST = 24;
let answer = null, parts = null;

export function show(root, route, signal) {
  parts = null;
  load(root, signal, waiting => askAll("genres", ["genres", "distance"], { signal, waiting }), found => {
    answer = found;
    if (!found.genres.length) return root.replaceChildren(empty("No genres yet", "Give tracks a genre in their tags, or review the guesses."));
    const detail = h("section", { class: "genre-detail", "aria-live": "polite" });
    root.replaceChildren(h("div", { class: "page genres-page", "data-scrolls": "" },
      h("header", { class: "page-head" }, h("h1", {}, "Genres"), h("p", { class: "faint" }, "How close your genres are to one another, measured from the sound of their tracks: 0 is the same, 1 is unrelated. Press one to hear why.")),
      matrix(), detail));
    parts = { detail };
    choose(decodeURIComponent(route.parts[1] ?? "") || found.genres.toSorted((a, b) => b.tracks - a.tracks)[0].genre);
    return null;
  });
}
export function update(route) { if (parts) choose(decodeURIComponent(route.parts[1] ?? "")); }

/** Neighbours in the table are kin: each row is the nearest to the row before that is left. */
function order() {
  const { genres, distance } = answer, shown = [...genres.keys()].sort((a, b) => genres[b].tracks - genres[a].tracks).slice(0, MOST);
  const sum = i => shown.reduce((total, j) => total + distance[i][j], 0), line = [shown.toSorted((a, b) => sum(b) - sum(a))[0]];
  while (line.length < shown.length) line.push(shown.filter(i => !line.includes(i)).sort((a, b) => distance[line.at(-1)][a] - distance[line.at(-1)][b])[0]);
  return line;
}

function matrix() {
  const { genres, distance } = answer, line = order();
  const link = i => h("a", { href: "#/genres/" + encodeURIComponent(genres[i].genre) }, genres[i].genre);
  return h("div", { class: "matrix-box", tabindex: 0, role: "region", "aria-label": "Table of distances" }, h("table", { class: "matrix" },
    h("caption", { class: "hear" }, "Distance between genres, from 0 to 1"),
    h("thead", {}, h("tr", {}, h("td", {}), line.map(i => h("th", { scope: "col" }, h("span", {}, genres[i].genre))))),
    h("tbody", {}, line.map(i => h("tr", {}, h("th", { scope: "row", "data-genre": genres[i].genre }, link(i)),
      line.map(j => i === j ? h("td", { class: "self" }, "·") : h("td", { vars: { "--near": Math.round(100 * Math.max(0, Math.min(1, (1 - distance[i][j]) * 1.6))) }, title: `${genres[i].genre} and ${genres[j].genre}` }, distance[i][j].toFixed(2).replace("0.", ".")))))) ));
}

function choose(name) {
  const genre = answer.genres.find(g => g.genre === name);
  for (const th of document.querySelectorAll(".matrix th[data-genre]")) th.classList.toggle("is-open", th.dataset.genre === name);
  if (!genre) return;
  const { detail } = parts;
  const typical = genre.typical.map(track => ({ track }));
  detail.replaceChildren(
    h("h2", {}, genre.genre),
    h("p", { class: "faint" }, `${count(genre.tracks, "track")}${genre.within.length ? ` · within ${genre.within.join(", ")}` : ""} · cohesion ${genre.cohesion.toFixed(2)}`),
    h("div", { class: "columns" },
      h("section", { class: "part" }, h("h3", {}, "Nearest kin"), h("ul", { class: "kin" }, genre.nearest.slice(0, 8).map(kin => h("li", { title: `Between ${kin.low.toFixed(2)} and ${kin.high.toFixed(2)}, with a certainty of 95 %` },
        h("a", { href: "#/genres/" + encodeURIComponent(kin.genre) }, kin.genre),
        h("i", { vars: { "--at": percent(kin.distance), "--low": kin.low, "--high": kin.high, "--mid": kin.distance } }), h("span", {}, kin.distance.toFixed(2)))))),
      h("section", { class: "part" }, h("h3", {}, "Typical"), h("div", { class: "part-acts" }, h("button", { type: "button", class: "small", onclick: () => player.play(typical) }, "Play all")),
        h("ul", { class: "rows small" }, genre.typical.map(track => row({ track })))),
      genre.borderline.length ? h("section", { class: "part" }, h("h3", {}, "On the border"), h("ul", { class: "rows small" }, genre.borderline.map(track => row({ track }, { note: "towards " + track.towards })))) : null));
  mark();
}
