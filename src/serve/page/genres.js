// How close the genres are to one another: a tree and a table of distances, and for each genre its kin and its typical tracks.
import { count, h, isolated, joined, keep, name, percent } from "./dom.js";
import { request } from "./api.js";
import { mark } from "./playing_marks.js";
import { row } from "./tracks.js";
import { empty, framed, load } from "./states.js";
import * as player from "./player.js";

/** Genres in the table, the largest ones: larger tables are unreadable. The list has all genres. */
const MOST = 24;
let answer = null,
  open = null;

export function show(root, route, signal) {
  open = null;
  const frame = framed(
    "genres",
    "Genres",
    h(
      "p",
      { class: "faint" },
      "How close your genres are to one another, measured from the sound of their tracks: 0 is the same, 1 is unrelated. Select one for details.",
    ),
  );
  load(
    root,
    signal,
    (waiting) => request("genres", { signal, waiting }),
    (found) => {
      answer = found;
      if (!found.genres.length)
        return root.replaceChildren(
          frame(
            empty("No genres yet", "Give tracks a genre in their tags, or review the guesses."),
          ),
        );
      const detail = h("section", { class: "genre-detail", "aria-live": "polite" });
      root.replaceChildren(frame(picture(), detail));
      open = { detail };
      choose(
        decodeURIComponent(route.parts[1] ?? "") ||
          found.genres.toSorted((a, b) => b.tracks - a.tracks)[0].genre,
      );
      return null;
    },
    frame,
  );
}
export function update(route) {
  if (open) choose(decodeURIComponent(route.parts[1] ?? ""));
}

const link = (genre) =>
  name(genre, "a", { href: "#/genres/" + encodeURIComponent(genre), title: genre });

/** Two views of the same distances. */
const VIEWS = { tree: ["Tree", tree], table: ["Table", matrix] };
function picture() {
  const box = h("div", { class: "genre-picture" });
  const draw = () => {
    const shown = VIEWS[keep.get("genres", "tree")] ? keep.get("genres", "tree") : "tree";
    box.replaceChildren(
      h(
        "div",
        { class: "segments", role: "group", "aria-label": "How distances are shown" },
        Object.entries(VIEWS).map(([name, [label]]) =>
          h(
            "button",
            {
              type: "button",
              "aria-pressed": String(name === shown),
              "data-view": name,
              onclick: () => {
                keep.set("genres", name);
                draw();
                mark_open();
              },
            },
            label,
          ),
        ),
      ),
      VIEWS[shown][1](),
    );
  };
  draw();
  return box;
}

/** Genres joined from the nearest pair up, the distance of two groups being the mean of their genres' (average linkage). */
function tree() {
  const { genres, distance } = answer;
  let groups = order().map((i) => ({ members: [i], at: 0 }));
  const far = (a, b) =>
    a.members.reduce((sum, i) => sum + b.members.reduce((part, j) => part + distance[i][j], 0), 0) /
    (a.members.length * b.members.length);
  while (groups.length > 1) {
    let best = null;
    groups.forEach((a, i) =>
      groups.slice(i + 1).forEach((b) => {
        const at = far(a, b);
        if (!best || at < best.at) best = { a, b, at };
      }),
    );
    const joined = {
      members: [...best.a.members, ...best.b.members],
      children: [best.a, best.b],
      at: best.at,
    };
    groups = [joined, ...groups.filter((group) => group !== best.a && group !== best.b)];
  }
  const [root] = groups,
    row = 34,
    width = 320,
    height = row * root.members.length,
    end = Math.max(root.at, 0.01);
  const across = (at) => (8 + ((width - 16) * at) / end).toFixed(1),
    lines = [];
  const place = (group) => {
    if (!group.children) return row * (root.members.indexOf(group.members[0]) + 0.5);
    const [a, b] = group.children.map(place);
    for (const [child, y] of [
      [group.children[0], a],
      [group.children[1], b],
    ])
      lines.push(`M${across(child.at)} ${y}H${across(group.at)}`);
    lines.push(`M${across(group.at)} ${a}V${b}`);
    return (a + b) / 2;
  };
  place(root);
  const space = "http://www.w3.org/2000/svg",
    svg = document.createElementNS(space, "svg"),
    path = document.createElementNS(space, "path");
  for (const [name, value] of [
    ["viewBox", `0 0 ${width} ${height}`],
    ["width", width],
    ["height", height],
    ["preserveAspectRatio", "none"],
    ["aria-hidden", "true"],
  ])
    svg.setAttribute(name, value);
  path.setAttribute("d", lines.join(""));
  path.setAttribute("class", "line");
  svg.append(path);
  const spelled = (at) => at.toFixed(2);
  return h(
    "figure",
    { class: "tree" },
    h(
      "ul",
      {},
      root.members.map((i) => h("li", { "data-genre": genres[i].genre }, link(genres[i].genre))),
    ),
    svg,
    h(
      "figcaption",
      { class: "faint" },
      `Lines meet where groups are as far apart as their genres are on average: from 0 at the names to ${spelled(end)}.`,
    ),
  );
}

/** Neighbours in the table are kin: each row is the nearest to the row before that is left. */
function order() {
  const { genres, distance } = answer,
    shown = [...genres.keys()].sort((a, b) => genres[b].tracks - genres[a].tracks).slice(0, MOST);
  const sum = (i) => shown.reduce((total, j) => total + distance[i][j], 0),
    line = [shown.toSorted((a, b) => sum(b) - sum(a))[0]];
  while (line.length < shown.length)
    line.push(
      shown
        .filter((i) => !line.includes(i))
        .sort((a, b) => distance[line.at(-1)][a] - distance[line.at(-1)][b])[0],
    );
  return line;
}

function matrix() {
  const { genres, distance } = answer,
    line = order();
  return h(
    "div",
    { class: "matrix-box", tabindex: 0, role: "region", "aria-label": "Table of distances" },
    h(
      "table",
      { class: "matrix" },
      h("caption", { class: "sr-only" }, "Distance between genres, from 0 to 1"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td", {}),
          line.map((i) => h("th", { scope: "col" }, name(genres[i].genre, "span"))),
        ),
      ),
      h(
        "tbody",
        {},
        line.map((i) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", "data-genre": genres[i].genre }, link(genres[i].genre)),
            line.map((j) =>
              i === j
                ? h("td", { class: "self" }, "·")
                : h(
                    "td",
                    {
                      vars: {
                        "--near": Math.round(
                          100 * Math.max(0, Math.min(1, (1 - distance[i][j]) * 1.6)),
                        ),
                      },
                      title: `${isolated(genres[i].genre)} and ${isolated(genres[j].genre)}`,
                    },
                    distance[i][j].toFixed(2).replace("0.", "."),
                  ),
            ),
          ),
        ),
      ),
    ),
  );
}

/** Marks the genre that is described below. */
function mark_open() {
  for (const element of document.querySelectorAll(".genre-picture [data-genre]"))
    element.classList.toggle("is-open", element.dataset.genre === open.name);
}

function choose(chosen) {
  const genre = answer.genres.find((g) => g.genre === chosen);
  open.name = chosen;
  mark_open();
  if (!genre) return;
  const { detail } = open;
  const typical = genre.typical.map((track) => ({ track }));
  detail.replaceChildren(
    name(genre.genre, "h2"),
    h(
      "p",
      { class: "faint" },
      joined([count(genre.tracks, "track"), `cohesion ${genre.cohesion.toFixed(2)}`]),
    ),
    h(
      "div",
      { class: "columns" },
      h(
        "section",
        { class: "part" },
        h("h3", {}, "Nearest kin"),
        h(
          "ul",
          { class: "kin" },
          genre.nearest.slice(0, 8).map((kin) =>
            h(
              "li",
              {},
              link(kin.genre),
              h("i", {
                vars: { "--at": percent(kin.distance), "--mid": kin.distance },
              }),
              h("span", {}, kin.distance.toFixed(2)),
            ),
          ),
        ),
      ),
      h(
        "section",
        { class: "part" },
        h("h3", {}, "Typical"),
        h(
          "div",
          { class: "part-acts" },
          h(
            "button",
            { type: "button", class: "small", onclick: () => player.play(typical) },
            "Play all",
          ),
          player.radioButton(() => genre.typical, { class: "small" }),
        ),
        h(
          "ul",
          { class: "rows small" },
          genre.typical.map((track) => row({ track })),
        ),
      ),
    ),
  );
  mark();
}
