// The library: its contents, and the scan for new files.
import { bytes, count, h, name, segments, span, toast } from "./dom.js";
import { request, scanEvents } from "./api.js";
import { failed } from "./failed.js";
import { load, sentence } from "./states.js";

const STATES = {
  idle: "No scan since the server started",
  running: "Analysing your music",
  done: "The scan has finished",
  stopped: "The scan was stopped",
  failed: "The scan failed",
};

export function show(root, route, signal) {
  const isFailed = route.parts[1] === "failed";
  const head = h(
    "header",
    { class: "page-head" },
    h("h1", {}, "Library"),
    segments("Parts of the library", [
      ["#/library", "Overview", !isFailed],
      ["#/library/failed", "Failed", isFailed],
    ]),
  );
  if (isFailed) {
    const place = h("section", {});
    root.replaceChildren(h("div", { class: "page library-page", "data-scrolls": "" }, head, place));
    failed(place, signal);
    return;
  }
  const held = h("section", {}),
    scan = h("section", { class: "scan for-change" });
  root.replaceChildren(
    h("div", { class: "page library-page", "data-scrolls": "" }, head, scan, held),
  );
  const refresh = () =>
    load(
      held,
      signal,
      (waiting) => request("status", { signal, waiting }),
      (status) => held.append(facts(status)),
    );
  refresh();
  scanner(scan, signal, refresh);
}

function facts(status) {
  const head = status.genre_head;
  const rows = [
    [
      "Tracks",
      count(status.tracks, "track") +
        (status.files !== status.tracks ? `, ${count(status.files, "file")}` : ""),
    ],
    [
      "Failed",
      status.failed ? h("a", { href: "#/library/failed" }, count(status.failed, "file")) : "none",
    ],
    ["Model", `${status.model}, ${status.dimension} dimensions`],
    ["Index", `${status.index.state}${status.index.note ? ": " + status.index.note : ""}`],
    ["Search", `${status.search.mode}: ${status.search.why}`],
    ["Labels", `from ${status.labels.source}, ${status.labels.by_hand} by hand`],
    [
      "Genre head",
      head
        ? (head.problem ??
          `${count(head.genres, "genre")}, right for ${Math.round(head.accuracy * 100)} % of tracks by artists not trained on`)
        : h("span", {}, "none yet: ", h("code", {}, "voisin train")),
    ],
    [
      "Size on disk",
      `${bytes(status.database_bytes)} database, ${bytes(status.index_bytes ?? 0)} index`,
    ],
    ["Folder", name(status.library, "span", { class: "path" })],
  ];
  return h(
    "dl",
    { class: "facts tall" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

const ended = ({ added, updated, unchanged, failed, seconds }) =>
  `${added} added, ${updated} updated, ${unchanged} unchanged${failed ? `, ${failed} failed` : ""} in ${span(Math.max(1, seconds))}.`;

function scanner(place, signal, refresh) {
  const title = h("h2", {}),
    bar = h("progress", { max: 1, "aria-label": "Scan" }),
    note = h("p", { class: "faint", role: "status" });
  const start = h(
    "button",
    { type: "button", class: "primary", id: "scan-start", onclick: () => act("POST") },
    "Scan for new music",
  );
  const stop = h(
    "button",
    { type: "button", id: "scan-stop", onclick: () => act("DELETE") },
    "Stop",
  );
  place.append(title, bar, note, h("div", { class: "part-acts" }, start, stop));
  let was = null;

  function draw(progress) {
    const runs = progress.state === "running",
      { done, total, summary } = progress;
    title.textContent = STATES[progress.state];
    start.hidden = runs || !progress.can_start;
    stop.hidden = bar.hidden = !runs;
    if (total) bar.value = done / total;
    else bar.removeAttribute("value");
    // Measured by the server since the first file: this page may have been opened long after.
    const left = runs && done > 3 ? (progress.seconds * (total - done)) / (done - 1) : 0;
    note.textContent = runs
      ? total
        ? `${done.toLocaleString("en")} of ${count(total, "file")}${left > 5 ? `, about ${span(left)} more` : ""}`
        : "Scanning the folders…"
      : progress.state === "failed"
        ? sentence(progress.message ?? "")
        : summary
          ? ended(summary)
          : progress.can_start
            ? "Finds new and changed files. Files that were analysed before are skipped."
            : "This server was started without a folder to scan. Add music in a terminal: voisin add FOLDER.";
    if (was === "running" && !runs) refresh();
    was = progress.state;
  }
  // Events of the server, as long as a scan runs.
  let source = null;
  function follow() {
    source?.close();
    source = scanEvents();
    source.addEventListener("progress", (event) => {
      const progress = JSON.parse(event.data);
      draw(progress);
      if (progress.state !== "running") source.close();
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED)
        request("scan", { signal }).then(draw, () => {});
    };
  }
  async function act(method) {
    try {
      draw(await request("scan", { method, signal, once: true }));
      if (method === "POST") follow();
    } catch (error) {
      if (error.name !== "AbortError") {
        note.textContent = sentence(error.message) + " " + sentence(error.next ?? "");
        toast(sentence(error.message));
      }
    }
  }
  signal.addEventListener("abort", () => source?.close());
  follow();
}
