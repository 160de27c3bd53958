// The page: navigation, sign-in, keyboard shortcuts, dropped files.
import { $, announce, h, keep, keepHere } from "./dom.js";
import { enter, events, mayChange, request } from "./api.js";
import * as player from "./player.js";
import { recover } from "./playback.js";
import * as listen from "./listen.js";
import * as map from "./map.js";
import * as genres from "./genres.js";
import * as review from "./review.js";
import * as library from "./library.js";
import { take } from "./card.js";
import { sentence } from "./states.js";

const PLACES = { listen, map, genres, review, library };
const ORDER = Object.keys(PLACES);
let now = null,
  leave = new AbortController();

/** `#/track/17` is a track's card in the place Listen. */
function route() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  const place = PLACES[parts[0]] ? parts[0] : "listen";
  return { place, parts };
}
function go(again = false) {
  // Nothing is drawn behind the sign-in dialog.
  if ($("sign-in").open) return;
  // Navigation cancels a pending search.
  clearTimeout($("search").timer);
  let to = route();
  // Only who may change labels reviews them.
  if (to.place === "review" && document.body.dataset.rights === "read")
    to = { place: "listen", parts: [] };
  for (const link of document.querySelectorAll("#places a"))
    if (link.dataset.place === to.place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  document.body.dataset.place = to.place;
  if (!again && now === to.place && PLACES[now].update) return PLACES[now].update(to);
  leave.abort();
  leave = new AbortController();
  now = to.place;
  $("main").replaceChildren();
  $("main").scrollTop = 0;
  return PLACES[now].show($("main"), to, leave.signal);
}
addEventListener("hashchange", () => go());

// ---- sign-in
/** A token in the address is exchanged for a cookie at once, and leaves the address. */
async function begin() {
  const inHash = new URLSearchParams(location.hash.slice(1)),
    given = inHash.get("token");
  if (given) {
    history.replaceState(null, "", location.pathname + location.search);
    try {
      await enter(given, true);
    } catch (error) {
      if (error.status) return showSignIn(sentence(error.message));
    }
  }
  // The rights of the last visit are assumed until the server answers, so that the page shows at once.
  const last = keep.get("rights", null);
  if (last) {
    document.body.dataset.rights = last;
    loadRights();
  } else await loadRights();
  return go();
}
/** Hides the controls that may not be used. */
async function loadRights() {
  try {
    document.body.dataset.rights = (await mayChange()) ? "change" : "read";
    keep.set("rights", document.body.dataset.rights);
    player.recall();
    recover();
  } catch {
    /* the event "token" opens the dialog */
  }
}
events.on("token", () => showSignIn());
function showSignIn(why) {
  const dialog = $("sign-in");
  if (dialog.open) return;
  leave.abort();
  now = null;
  $("main").replaceChildren();
  const secret = h("input", {
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    "aria-label": "Token or password",
  });
  const stay = h("input", { type: "checkbox", checked: true });
  const message = h("p", { class: "faint", role: "status" }, why ?? "");
  const send = async () => {
    try {
      await enter(secret.value.trim(), stay.checked);
      dialog.close();
      await loadRights();
      go(true);
    } catch (error) {
      message.textContent = sentence(error.message);
      secret.select();
    }
  };
  dialog.replaceChildren(
    h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          send();
        },
      },
      h("h2", { id: "sign-in-title" }, "Sign in"),
      h("p", {}, "The server’s token: ", h("code", {}, "voisin serve --show-token"), " prints it."),
      secret,
      h("label", { class: "inline" }, stay, h("span", {}, "Stay signed in on this device")),
      message,
      h("div", { class: "part-acts" }, h("button", { class: "primary" }, "Sign in")),
    ),
  );
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  secret.focus();
}

// ---- loss of the server
events.on("gone", () => {
  $("notice").hidden = false;
  $("notice").replaceChildren(
    "The server does not answer. This page will reconnect by itself.",
    h("small", {}, "To start it: ", h("code", {}, "voisin serve")),
  );
});
events.on("back", () => {
  $("notice").hidden = true;
  announce("The server is back");
  if (!document.body.dataset.rights) loadRights();
  go(true);
});

// ---- search
$("search").value = keepHere.get("searched", "");
$("search").addEventListener("input", () => {
  keepHere.set("searched", $("search").value);
  clearTimeout($("search").timer);
  $("search").timer = setTimeout(() => {
    if (now === "map") map.seek($("search").value);
    else if (now !== "listen") location.hash = "#/";
    else {
      if (route().parts.length && matchMedia("(max-width: 999px)").matches) location.hash = "#/";
      listen.seek();
    }
  }, 120);
});
$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (now === "map") map.showFound();
  else document.querySelector(".index .track a.words")?.focus();
});

// ---- files
const drop = $("drop");
let depth = 0;
const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragenter", (event) => {
  if (carries(event)) {
    depth++;
    drop.hidden = false;
  }
});
addEventListener("dragleave", () => {
  if (--depth <= 0) {
    depth = 0;
    drop.hidden = true;
  }
});
addEventListener("dragover", (event) => {
  if (carries(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  depth = 0;
  drop.hidden = true;
  if (!carries(event)) return;
  event.preventDefault();
  if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
$("file").addEventListener("click", () => $("file-input").click());
$("file-input").addEventListener("change", (event) => {
  if (event.target.files[0]) take(event.target.files[0]);
  event.target.value = "";
});

// ---- keys
const KEYS = {
  " ": player.toggle,
  ArrowLeft: () => player.seekBy(-5),
  ArrowRight: () => player.seekBy(5),
  n: () => player.step(1),
  p: () => player.step(-1),
  m: player.mute,
  q: () => player.openQueue(),
  "/": () => {
    $("search").focus();
    $("search").select();
  },
  o: () => $("file-input").click(),
};
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("queue-panel").hidden) return player.openQueue(false);
  if (event.key === "Escape" && event.target === $("search")) return $("search").blur();
  if (event.key === "Escape" && now === "listen" && route().parts.length) {
    location.hash = "#/";
    return undefined;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
    return undefined;
  const field = event.target.closest("input, select, textarea"),
    name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (field && (field.type !== "range" || name.startsWith("Arrow"))) return undefined;
  // A button is pressed with the space bar.
  if (name === " " && event.target.closest("button, a, summary")) return undefined;
  if (event.shiftKey && (name === "ArrowUp" || name === "ArrowDown")) {
    player.setVolume(player.volume() + (name === "ArrowUp" ? 0.05 : -0.05));
    announce(`Volume ${Math.round(player.volume() * 100)}`);
    event.preventDefault();
    return undefined;
  }
  if (/^[1-5]$/.test(name)) {
    location.hash = ORDER[name - 1] === "listen" ? "#/" : "#/" + ORDER[name - 1];
    event.preventDefault();
    return undefined;
  }
  if (name === "ArrowDown" && (event.target === document.body || event.target === $("main"))) {
    document.querySelector("main .track a.words")?.focus();
    event.preventDefault();
    return undefined;
  }
  if (now === "review" && review.key(name)) {
    event.preventDefault();
    return undefined;
  }
  const act = KEYS[name];
  if (act) {
    event.preventDefault();
    act();
  }
  return undefined;
});

begin();

// For tests.
window.voisin = { player, map, request };
