// The library: its contents, the scan for new files, and the files that could not be analysed.
import { html, useEffect, useRef, useState } from "./html.js";
import { request, scanEvents } from "./api.js";
import {
  Name,
  Page,
  bytes,
  count,
  loaded,
  percent,
  sentence,
  span,
  spelled,
  useAnswer,
} from "./parts.js";
import { rights, useShared } from "./state.js";

export function Library() {
  const answer = useAnswer((more) => request("status", more), []);
  return html`
    <${Page} name="library" title="Library">
      <${Scan} ended=${answer.again} />
      <section>${loaded(answer, (status) => html`<${Facts} status=${status} />`)}</section>
      ${answer.value?.failed > 0 && html`<${Failed} />`}
    <//>`;
}

function Facts({ status }) {
  const { tracks, files, failed, model, dimension, index, search, labels } = status,
    head = status.genre_head,
    others = files === tracks ? "" : `, ${count(files, "file")}`;
  const rows = [
    ["Tracks", count(tracks, "track") + others],
    ["Failed", failed ? count(failed, "file") : "none"],
    ["Model", `${model}, ${dimension} dimensions`],
    ["Index", index.state + (index.note ? ": " + index.note : "")],
    ["Search", `${search.mode}: ${search.why}`],
    ["Labels", `from ${labels.source}, ${labels.by_hand} by hand`],
    [
      "Genre head",
      head
        ? (head.problem ??
          `${count(head.genres, "genre")}, right for ${percent(head.accuracy)} of tracks by artists not trained on`)
        : html`none yet: <code>voisin train</code>`,
    ],
    ["Size on disk", bytes(status.database_bytes + (status.index_bytes ?? 0))],
    ["Folder", html`<${Name} as="span" class="path" text=${status.library} />`],
  ];
  return html`
    <dl class="facts tall">
      ${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
    </dl>`;
}

const STATES = {
  idle: "No scan since the server started",
  running: "Analysing your music",
  done: "The scan has finished",
  stopped: "The scan was stopped",
  failed: "The scan failed",
};

/** What is said below the state of a scan. */
function told({ state, done, total, seconds, summary, message, can_start }) {
  if (state === "running") {
    if (!total) return "Scanning the folders…";
    // Measured by the server since the first file: this page may have been opened long after.
    const left = done > 3 ? (seconds * (total - done)) / (done - 1) : 0;
    const more = left > 5 ? `, about ${span(left)} more` : "";
    return `${done.toLocaleString("en")} of ${count(total, "file")}${more}`;
  }
  if (state === "failed") return sentence(message ?? "");
  if (summary) {
    const failures = summary.failed ? `, ${summary.failed} failed` : "";
    return `${summary.added} added, ${summary.updated} updated, ${summary.unchanged} unchanged${failures} in ${span(Math.max(1, summary.seconds))}.`;
  }
  return can_start
    ? "Finds new and changed files. Files that were analysed before are skipped."
    : "This server was started without a folder to scan. Add music in a terminal: voisin add FOLDER.";
}

/** The progress of the scan: events of the server, as long as one runs. */
function useScan(ended) {
  const [progress, setProgress] = useState(null),
    [turn, setTurn] = useState(0),
    was = useRef(null);
  const draw = (now) => {
    if (was.current === "running" && now.state !== "running") ended();
    was.current = now.state;
    setProgress(now);
  };
  useEffect(() => {
    const source = scanEvents();
    source.addEventListener("progress", (event) => {
      const now = JSON.parse(event.data);
      draw(now);
      if (now.state !== "running") source.close();
    });
    source.onerror = () =>
      source.readyState === EventSource.CLOSED && request("scan").then(draw, () => {});
    return () => source.close();
  }, [turn]);
  const act = async (method) => {
    try {
      draw(await request("scan", { method, once: true }));
      if (method === "POST") setTurn(turn + 1);
    } catch (error) {
      setProgress({ ...progress, problem: spelled(error) });
    }
  };
  return [progress, act];
}

function Scan({ ended }) {
  const [progress, act] = useScan(ended),
    may = useShared(rights) === "change";
  if (!progress || !may) return null;
  const { state, done, total, can_start, problem } = progress,
    runs = state === "running";
  return html`
    <section class="scan">
      <h2>${STATES[state]}</h2>
      ${runs && html`<progress max="1" aria-label="Scan" value=${total ? done / total : undefined}></progress>`}
      <p class="faint" role="status">${problem ?? told(progress)}</p>
      <div class="part-acts">
        ${
          runs
            ? html`<button type="button" id="scan-stop" onClick=${() => act("DELETE")}>Stop</button>`
            : can_start &&
              html`<button type="button" class="primary" id="scan-start" onClick=${() => act("POST")}>
                Scan for new music
              </button>`
        }
      </div>
    </section>`;
}

/** Files that could not be analysed, and why. */
function Failed() {
  const answer = useAnswer((more) => request("failed", more), []);
  const failure = ({ path, reason, attempts }) => html`
    <li key=${path}>
      <${Name} as="p" class="path" text=${path} />
      <p class="faint">${sentence(reason)}${attempts > 1 && ` Tried ${attempts} times.`}</p>
    </li>`;
  return html`
    <section>
      <h2>Failed</h2>
      <p class="faint">Files that could not be analysed. Each is tried again once it has changed.</p>
      ${loaded(answer, ({ items }) => html`<ul class="checks">${items.map(failure)}</ul>`)}
    </section>`;
}
