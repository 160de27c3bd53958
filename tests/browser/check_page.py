#!/usr/bin/env python3
"""Drives the page of `voisin serve` in a headless Chromium: check_page.py VOISIN AXE
[SCREENSHOT_FOLDER]

VOISIN is the program, AXE the file axe.min.js of npm's axe-core, or - to go without. The server,
the library (of data/demo) and the browser are real. Prints one line per check, and exits with 1 if
one fails.
"""

import base64
import csv
import http.client
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import wave
import zlib
from pathlib import Path

import check_map
from check_map import Browser, check

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "data/demo"
RED, BLUE = (120, 60, 40), (40, 60, 120)
PLACES = [
    "#/",
    "#/map",
    "#/genres",
    "#/review",
    "#/library",
]


def png(red, green, blue, side=96):
    """A small picture of one colour."""

    def part(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + bytes((red, green, blue)) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", header)
        + part(b"IDAT", zlib.compress(rows))
        + part(b"IEND", b"")
    )


def with_frame(path, name, content):
    """Puts an ID3v2.3 tag with one frame before an MP3."""
    frame = name + struct.pack(">I", len(content)) + b"\0\0" + content
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + path.read_bytes())


def with_cover(path, picture):
    """Gives an MP3 a picture of the front."""
    with_frame(path, b"APIC", b"\0image/png\0\x03\0" + picture)


def with_flac_cover(path, picture):
    """Puts a picture of the front behind the first block of a FLAC file."""
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[5:8], "big")
    assert whole[:4] == b"fLaC" and whole[4] == 0, "the first block is not the last"
    content = (
        struct.pack(">II", 3, 9)
        + b"image/png"
        + struct.pack(">IIIIII", 0, 96, 96, 24, 0, len(picture))
        + picture
    )
    path.write_bytes(
        whole[:end] + b"\x06" + len(content).to_bytes(3, "big") + content + whole[end:]
    )


class Server:
    def __init__(self, program, library, *options, port=0):
        self.library = library
        command = [
            program,
            "--library",
            str(library),
            "serve",
            "--listen",
            f"127.0.0.1:{port}",
            *map(str, options),
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        self.address = line.split()[-1]
        assert self.address.startswith("http://127.0.0.1:"), line
        self.port = int(self.address.split(":")[2].split("/")[0])
        self.token = (library / "serve.token").read_text().strip()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path, headers={"Authorization": "Bearer " + self.token})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def json(self, path):
        return json.loads(self.get(path)[2])

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


# For scripts in the page; elements with an id have that name.
TOOLS = """
  window.one = (selector) => document.querySelector(selector);
  window.all = (selector) => [...document.querySelectorAll(selector)];
  window.text = (selector) => one(selector)?.innerText ?? "";
  window.texts = (selector) => all(selector).map((element) => element.innerText);
"""
LISTED = "all('.index .track').length > 5"
SELECTION = "voisin.player.upcoming().map((track) => track.id)"


class Page:
    """A browser with the page in it, and the helpers of the checks."""

    def __init__(self):
        flags = [
            "--autoplay-policy=no-user-gesture-required",
            "--enable-unsafe-swiftshader",
            "--window-size=1300,900",
        ]
        self.browser = Browser(flags)
        self.run, self.key, self.settle = self.browser.run, self.browser.key, self.browser.settle
        self.expected = []
        self.before(TOOLS)

    def before(self, script):
        """Runs a script before those of each page; returns what ends that."""
        script = self.browser.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        return lambda: self.browser.call(
            "Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"]
        )

    def open(self, address):
        self.browser.call("Page.navigate", url="about:blank")
        self.browser.call("Page.navigate", url=address)
        self.until(
            "document.getElementById('player') && typeof voisin === 'object'", "the page comes up"
        )

    def theme(self, name):
        """The system's colours: light or dark."""
        self.browser.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": name}],
        )

    def go(self, fragment):
        self.run(f"location.hash = {json.dumps(fragment)}")
        self.settle(0.3)

    def until(self, script, what="", seconds=60):
        if not soon(lambda: self.run(f"Boolean({script})"), seconds):
            raise RuntimeError(
                f"{what or script} did not become true: {self.complaints()} {self.text('#main')[-300:]}"
            )

    def shows(self, what, script, detail="''", seconds=15):
        """A check of what comes to hold in the page."""
        check(what, soon(lambda: self.run(f"Boolean({script})"), seconds), self.run(detail))

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

    def fill(self, selector, value, kind="input"):
        """Gives a field a value."""
        self.run(
            f"(() => {{ const e = one({json.dumps(selector)}); e.value = {json.dumps(value)}; e.dispatchEvent(new Event('{kind}')); }})()"
        )

    def click(self, selector):
        """With the mouse, where the element is."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{ block: 'center' }}); const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; }})()"
        )
        self.browser.mouse("mouseMoved", *box, button="none")
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.mouse(kind, *box)
        self.settle(0.15)

    def type(self, text):
        for letter in text:
            self.browser.call("Input.insertText", text=letter)
            self.settle(0.03)

    def search(self, text):
        self.fill("#search", "")
        self.run("search.focus()")
        self.type(text)

    def drag(self, *points):
        self.browser.mouse("mouseMoved", *points[0], button="none")
        self.browser.mouse("mousePressed", *points[0])
        for a, b in zip(points, points[1:], strict=False):
            for t in range(1, 9):
                self.browser.mouse(
                    "mouseMoved",
                    a[0] + (b[0] - a[0]) * t / 8,
                    a[1] + (b[1] - a[1]) * t / 8,
                    buttons=1,
                )
        self.browser.mouse("mouseReleased", *points[-1])
        self.settle(0.2)

    def complaints(self):
        """Console errors, exceptions and policy violations, but for those that a check provokes on
        purpose.
        """
        out = []
        for event in self.browser.events:
            method, p = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                out.append(
                    p["exceptionDetails"].get("exception", {}).get("description", "exception")
                )
            elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "assert"):
                out.append(str([a.get("description", a.get("value")) for a in p["args"]]))
            elif method == "Log.entryAdded" and p["entry"]["level"] == "error":
                out.append(p["entry"]["text"] + " " + p["entry"].get("url", ""))
        return [line for line in out if not any(known in line for known in self.expected)]

    def requests(self):
        return [
            e["params"]["request"]["url"]
            for e in self.browser.events
            if e.get("method") == "Network.requestWillBeSent"
        ]

    def plays(self, least=0.35):
        self.until(f"audio.currentTime > {least} && !audio.paused", "playback", 20)
        return self.run("audio.currentTime")

    def stop(self):
        self.run("audio.pause(); voisin.player.play([])")

    def picture(self, path):
        if path:
            self.browser.picture(str(path))


def soon(condition, seconds=15):
    """Whether a condition comes to hold: what a key or a click sets going may be drawn a little
    later.
    """
    end = time.time() + seconds
    while not (held := condition()) and time.time() < end:
        time.sleep(0.1)
    return held


def quiet(page, what):
    found = page.complaints()
    check(f"{what}: no error, no violation of the policy", not found, found or "")
    page.browser.events.clear()
    page.expected = []


def on_a_terminal(program, server):
    """The address that opens the page, which is printed at a terminal only."""
    own, theirs = os.openpty()
    command = [program, "--library", str(server.library), "serve", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    line = os.read(own, 4096).decode()
    process.terminate()
    process.wait(10)
    os.close(own)
    check(
        "on a terminal the address has the token",
        line.strip().endswith(f"/#token={server.token}"),
        line.split("#")[0],
    )


def begin(page, server):
    """Without a token there is a clear instruction; with one, a cookie that scripts cannot read."""
    page.expected = ["401"]
    page.open(server.address)
    page.until("one('#sign-in')?.open", "the sign-in dialog")
    page.shows(
        "without a token the page has the next step, and nothing is behind the dialog",
        "text('#sign-in').includes('voisin serve --show-token') && !text('#main').trim()",
    )
    page.type("wrong" * 8)
    page.key("Enter", "\r")
    page.shows(
        "a wrong token is reported in a sentence",
        "text('#sign-in [role=status]').startsWith('This is not the server')",
        "text('#sign-in [role=status]')",
    )
    page.open(server.address + "#token=" + server.token)
    page.until(LISTED, "the tracks are listed")
    page.go("#/")
    page.browser.events.clear()
    page.expected = []
    page.shows(
        "the token leaves the address, and scripts cannot read the cookie",
        "!location.href.includes('token') && document.cookie === ''",
        "location.href",
    )
    own = (server.address, "data:", "blob:", "about:")
    elsewhere = [url for url in page.requests() if not url.startswith(own)]
    check("nothing is requested from elsewhere", not elsewhere, elsewhere)
    manifest = page.browser.call("Page.getAppManifest")
    check(
        "the page can be installed",
        not manifest["errors"] and json.loads(manifest["data"])["name"] == "voisin",
        manifest.get("errors"),
    )
    policy = server.get("/")[1]["Content-Security-Policy"]
    check(
        "the policy is strict",
        "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy,
    )


def searching(page, server, shots):
    page.key("/", "/")
    page.shows("a key leads to the search", "document.activeElement.id === 'search'")
    page.type("muld")
    page.shows(
        "search as one types",
        "text('.result').startsWith('4 tracks') && all('.index .track').length === 4",
        "text('.result')",
    )
    page.click(".index-head [data-name=sound]")
    page.search("calm guitar")
    page.shows(
        "search by words of sound",
        f"text('.result') === 'Tracks that sound like “calm guitar”' && {LISTED}",
        "text('.result')",
    )
    page.expected = ["404"]
    page.search("gitar")
    page.shows(
        "a word that is not known: one suggestion",
        "texts('.index .empty-state button').join() === 'guitar'",
        "text('.index .empty-state')",
    )
    page.click(".index .empty-state button")
    page.shows("and it is searched for", "text('.result') === 'Tracks that sound like “guitar”'")
    page.click(".index-head [data-name=names]")
    page.fill("#search", "")
    page.shows("all tracks are listed", "text('.result') === '43 tracks'", "text('.result')")
    # Filters are lists to pick from, with the values of the command line.
    page.click(".filters summary")
    page.until("all('.filters [name=genre] option').length === 7", "genres to choose from")
    for name, value in (("genre", "Metal"), ("bpm", "90-119"), ("sort", "bpm")):
        page.fill(f".filters [name={name}]", value, "change")
    page.click(".filters [type=checkbox]")
    found = server.json("/api/v1/list?genre=metal&bpm=90-119&sort=bpm&reverse=true")["tracks"]
    titles = json.dumps("|".join(track["title"] for track in found))
    page.shows(
        "filters and order, from lists",
        f"texts('.index .track .title').join('|') === {titles} && text('.filters summary') === 'Filter · 2'",
        "text('.result')",
    )
    page.picture(shots and shots / "filters.png")
    page.click(".filters button")
    page.shows(
        "and all tracks again",
        "text('.result') === '43 tracks' && text('.filters summary') === 'Filter'",
        "text('.result')",
    )
    page.key("Escape")
    quiet(page, "search")


def the_card(page, server, shots):
    track = server.json("/api/v1/list?query=chaos+god")["tracks"][0]
    words = server.json(f"/api/v1/show?track=id:{track['id']}&words=true")["words"]
    page.go(f"#/track/{track['id']}")
    page.until("one('.card .answer') && all('.card .share').length > 10", "the card is filled")
    for what, script, detail in (
        (
            "genre with its reason, then neighbours, before all else",
            "text('.answer') === 'Metal' && text('.reason summary').includes('voted') && texts('.card h3').slice(0, 2).join() === 'Genre,Sounds like this'",
            "texts('.card h3')",
        ),
        (
            "the first neighbours are in sight",
            "all('.card .track:has(.share)')[2].getBoundingClientRect().bottom < main.getBoundingClientRect().bottom",
            "''",
        ),
        (
            "title, artist, tempo, key, loudness",
            "['Chaos God', 'Muldjord', 'bpm', 'LUFS', 'Key'].every((part) => text('.card').includes(part))",
            "text('.facts').replaceAll('\\n', ' ')",
        ),
        ("words of its sound", f"all('.chips li').length === {len(words)}", "texts('.chips li')"),
        (
            "neighbours, each to play",
            "all('.card .track:has(.share)').every((row) => row.querySelector('.play-cover'))",
            "''",
        ),
        (
            "the picture in the file",
            "one('.card-head .cover.large.has img').naturalWidth === 96",
            "''",
        ),
    ):
        page.shows(f"the card: {what}", script, detail)
    page.click(".reason summary")
    page.shows("the card: voters can be played", "all('.reason .play-cover').length >= 3")
    near = "all('.card .track:has(.share) .words .faint').map((e) => e.textContent.split(' · ')[0])"
    page.click(".card .others input")
    page.shows("other artists alone where they are wanted", f"!{near}.includes('Muldjord')")
    page.click(".card .others input")
    page.shows("its artist's again", f"{near}.includes('Muldjord')")
    for words, colour in (("chaos+god", RED), ("old+warhorse", BLUE)):
        which = server.json(f"/api/v1/list?query={words}")["tracks"][0]
        status, headers, body = server.get(f"/api/v1/tracks/{which['id']}/cover")
        check(
            f"the picture of a file: {which['codec']}",
            (status, headers["Content-Type"], body) == (200, "image/png", png(*colour)),
        )
    page.picture(shots and shots / "card.png")
    quiet(page, "card")


def names_from_outside(page):
    """Tags are untrusted text: they change no direction of text, and a guess is not shown as a genre."""
    shown = page.run(
        """(async () => {
          const folder = document.querySelector('script[type=module]').src, get = (name) => import(new URL(name, folder));
          const [{ html, render }, { Row }, { Reason }] = await Promise.all(['html.js', 'tracks.js', 'card.js'].map(get));
          const drawn = (view, more) => { const box = document.createElement('div'); render(html`<${view} ...${more} />`, box); return box.firstChild; };
          const line = drawn(Row, { track: { id: 1, title: 'safe\\u202egnp.exe', artist: 'אבג', genres: ['Folk'] } });
          const answer = { genre: 'Rock', probability: 0.06, votes: { Rock: 0.06, Pop: 0.05, A: 0.04, B: 0.03, C: 0.02 }, summary: 'Rock (6 % of the votes)' };
          const words = ['hip hop', 'hip-hop', 'blues'].map((word) => ({ word, percentile: 0.9 }));
          const text = (box) => [...box.children].map((part) => part.textContent).join('|');
          return [
            [...line.querySelectorAll('[dir=auto]')].map((part) => part.textContent).join('|'),
            line.querySelector('.after').title,
            text(drawn(Reason, { answer, track: { words } })),
            drawn(Reason, { answer: { ...answer, probability: 0.7 } }).querySelector('.answer').textContent,
          ];
        })()"""
    )
    check("a name keeps its own direction", shown[0] == "safegnp.exe|אבג|Folk", shown[0])
    check("also within a sentence", shown[1] == "Play \u2068safegnp.exe\u2069 next", shown[1])
    check(
        "a genre of 6 % is no heading",
        shown[2].startswith("No genre fits|It sounds like: hip hop, blues|Likeliest: Rock (6 %")
        and "All others2 %" in shown[2],
        shown[2],
    )
    check("a likely one is", shown[3] == "Rock", shown[3])


def radio(page):
    """One press on a row, and music like it goes on."""
    page.stop()
    page.go("#/")
    # A list ends where nothing near is left: of the metal there is enough.
    page.search("chaos god")
    page.until("all('.index .track').length === 1")
    page.run("one('.index .track .radio').click()")
    at = page.plays()
    page.shows(
        "radio from a row: it plays, and music like it follows",
        "text('#now-title') === 'Chaos God' && voisin.player.upcoming().length > 2",
        "voisin.player.upcoming().length",
    )
    page.run("one('.index .track .radio').click()")
    page.shows(
        "radio: what plays goes on, and the page says so",
        f"audio.currentTime >= {at} && text('#toasts').includes('Radio: music like “\\u2068Chaos God')",
        "text('#toasts')",
    )
    page.fill("#search", "")
    page.stop()
    quiet(page, "radio")


def playing(page, server):
    tracks = server.json("/api/v1/list?limit=100")["tracks"]
    for ending in ("mp3", "ogg", "opus", "flac", "wav", "m4a"):
        track = next(t for t in tracks if t["path"].endswith("." + ending))
        if ending == "m4a" and not page.run("audio.canPlayType('audio/mp4; codecs=\"mp4a.40.2\"')"):
            print("        m4a: this browser has no AAC")
            continue
        page.go(f"#/track/{track['id']}")
        page.until("one('.card .primary')")
        page.click(".card .primary")
        page.plays()
        page.shows(f"plays {ending}", f"text('#now-title') === {json.dumps(track['title'])}")
    # A place in the middle is fetched by its range, and the bar follows.
    page.fill("#seek", 12)
    page.fill("#seek", 12, "change")
    page.until("audio.currentTime > 12.2", "seeking")
    answers = [e for e in page.browser.events if e.get("method") == "Network.responseReceived"]
    parts = [e for e in answers if e["params"]["response"]["status"] == 206]
    check("seeks, and the audio comes in ranges", len(parts) > 0, f"{len(parts)} answers 206")
    page.key("m", "m")
    page.shows("a key turns the sound off", "audio.muted")
    page.key("m", "m")
    page.fill("#volume", 0.3)
    page.shows("the volume", "Math.abs(audio.volume - 0.3) < 0.01")
    page.run("document.activeElement.blur()")
    page.key(" ", " ")
    page.shows("space pauses", "audio.paused")
    page.key(" ", " ")
    page.plays(12)
    the_order(page)
    what_follows(page, tracks)
    after_a_reload(page, server)
    quiet(page, "player")


def the_order(page):
    """Queued tracks play next, in order; a track of a list is followed by those behind it."""
    page.run("for (const i of [3, 4]) all('.card .part .track .after')[i].click()")
    page.key("q", "q")
    page.until("all('#queue-panel .queued').length > 2", "the queue")
    wanted = page.run("texts('#queue-panel .is-now ~ .queued .title')[0]")
    page.key("Escape")
    page.key("n", "n")
    page.shows("the next one of the queue", f"text('#now-title') === {json.dumps(wanted)}")
    page.stop()
    page.go("#/")
    page.until(LISTED)
    page.run("all('.index .play-cover')[1].click()")
    page.plays()
    page.shows(
        "play from here: those behind it follow",
        "texts('.index .track .title').slice(1, 4).join() === voisin.player.upcoming().slice(0, 3).map((t) => t.title).join()",
    )
    page.run("for (let i = 0; i < 25; i++) voisin.player.step(1)")
    page.key("q", "q")
    page.until("all('#queue-panel .queued').length > 10", "the queue")
    page.shows(
        "up next opens at its top, with what plays and covers",
        "one('#queue-panel .queued').matches('.is-now') && one('#queue-panel').scrollTop === 0 && all('#queue-panel .cover').length > 10",
    )
    page.key("Escape")


def what_follows(page, tracks):
    """Similar music where it is wanted, or the queue again."""
    chaos = next(track for track in tracks if track["title"] == "Chaos God")
    page.run(f"voisin.player.play([{{ track: {json.dumps(chaos)} }}])")
    follows = "voisin.player.upcoming().length > 2"
    held = soon(lambda: page.run(follows), 3)
    check("nothing follows by itself until it is wanted", not held)
    page.key("q", "q")
    page.until("one('#queue-panel')")
    page.click("#radio")
    page.shows("what sounds like it follows", follows, "voisin.player.upcoming().length")
    page.click("#repeat")
    page.run("while (voisin.player.upcoming().length > 1) voisin.player.step(1)")
    last = json.dumps(page.text("#now-title"))
    page.run("voisin.player.step(1)")
    page.shows("repeat begins again", f"{follows} && text('#now-title') !== {last}")
    page.click("#repeat")
    page.click("#repeat")
    page.key("Escape")


def after_a_reload(page, server):
    """What played waits where it was."""
    # How many follow may still grow.
    state = "[voisin.player.current()?.track.id, voisin.player.upcoming().length > 0].join()"
    page.run("audio.currentTime = 3; audio.pause()")
    before = page.run(state)
    page.open(server.address)
    page.shows(
        "loaded again, the player is as it was",
        f"{state} === '{before}' && audio.currentTime >= 3 && audio.paused",
        state,
    )
    page.key("q", "q")
    page.shows("and continues with its setting", "radio?.checked")
    page.key("Escape")
    page.run("document.activeElement.blur()")
    page.key(" ", " ")
    page.plays(3)
    page.stop()


def the_map(page, server, shots):
    page.go("#/map")
    page.until(
        "document.querySelector('.points')?.width > 100 && document.querySelectorAll('.swatch').length > 3",
        "the map",
    )
    page.settle(0.5)
    drawn = "(() => { const c = document.querySelector('.points'), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; })()"
    check("the map is drawn", page.run(drawn) > 500)
    track = server.json("/api/v1/map")["tracks"][10]
    x, y = page.run(f"voisin.map.placeOf({track['id']})")
    page.browser.mouse("mouseMoved", x, y, button="none")
    check(
        "the track under the pointer is named",
        soon(lambda: page.run("!document.querySelector('.tip').hidden")),
        page.text(".tip").replace("\n", ", "),
    )
    ways = page.run("[...document.querySelector('.map-head select').options].map(o => o.value)")
    for way in ways:
        page.run(
            f"(() => {{ const s = document.querySelector('.map-head select'); s.value = '{way}'; s.dispatchEvent(new Event('change')); }})()"
        )
        page.settle(0.15)
        if not soon(
            lambda: page.count(".legend .swatch, .legend .ramp") > 0 and page.run(drawn) >= 500
        ):
            check(f"colours by {way}", False)
    check("colours", {"genre", "cluster", "tempo", "key", "loudness"} <= set(ways), ", ".join(ways))
    page.run(
        "(() => { const s = document.querySelector('.map-head select'); s.value = 'genre'; s.dispatchEvent(new Event('change')); })()"
    )
    page.settle(1)
    before = page.run(drawn)
    page.click(".legend .swatch")
    page.until(f"{drawn} < {before}", "the legend hides a genre", 15)
    check(
        "the legend hides a genre",
        page.run("document.querySelector('.swatch').getAttribute('aria-pressed')") == "false",
    )
    page.click(".legend .swatch")
    # A search selects what it finds, and Enter brings it into sight.
    page.run("document.getElementById('search').focus()")
    page.type("MULDJ")
    check(
        "the search selects on the map",
        soon(
            lambda: (
                page.text(".chosen h2") == "4 tracks selected"
                and page.run("location.hash") == "#/map"
            )
        ),
        page.text(".chosen h2"),
    )
    page.key("Enter", "\r")
    page.settle(0.6)
    found = [t["id"] for t in server.json("/api/v1/map")["tracks"] if t["artist"] == "Muldjord"]
    sight = page.run(
        "(() => { const b = document.querySelector('.over').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })()"
    )
    seen = [page.run(f"voisin.map.placeOf({i})") for i in found]
    check(
        "and Enter shows all of it",
        len(found) == 4
        and all(sight[0] < x < sight[2] and sight[1] < y < sight[3] for x, y in seen),
        seen,
    )
    page.run(
        "document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input')); document.activeElement.blur(); document.querySelector('[aria-label=\"Show all\"]').click()"
    )
    page.until("!document.querySelector('.chosen')", "nothing is selected")
    page.settle(0.6)
    # A lasso around everything on the left.
    box = page.run(
        "(() => { const b = document.querySelector('.over').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })()"
    )
    middle = (box[0] + box[2]) / 2
    inside = [
        t["id"]
        for t in server.json("/api/v1/map")["tracks"]
        if page.run(f"voisin.map.placeOf({t['id']})")[0] < middle
    ]
    page.click(".map-head .switch")
    page.drag(
        (box[0] + 4, box[1] + 4),
        (middle, box[1] + 4),
        (middle, box[3] - 4),
        (box[0] + 4, box[3] - 4),
        (box[0] + 4, box[1] + 4),
    )
    page.until("document.querySelector('.chosen')", "the lasso selects")
    check(
        "a lasso takes what lies inside",
        soon(lambda: page.text(".chosen h2") == f"{len(inside)} tracks selected"),
        page.text(".chosen h2"),
    )
    page.picture(shots and shots / "map.png")
    page.click("#lasso-queue")

    def held():
        return page.run("voisin.player.upcoming().map(track => track.id)")

    check(
        "lasso to queue",
        soon(lambda: set(inside) <= set(held()) and len(inside) > 3),
        f"{len(held())} tracks",
    )
    the_queue(page, server)
    quiet(page, "map")


def one_look(page, server, program, work, shots):
    """A genre has one colour: on the server's map and on the page of `voisin map`."""
    legend = "Object.fromEntries([...document.querySelectorAll('.swatch')].map(e => [e.querySelector('span').textContent, getComputedStyle(e.querySelector('i')).backgroundColor]))"
    found = {}

    def look(name):
        for theme in ("light", "dark"):
            page.theme(theme)
            page.settle(0.5)
            found[name, theme] = page.run(legend)
            page.picture(shots and shots / f"{name}-{theme}.png")
        page.theme("light")

    page.go("#/map")
    page.until("document.querySelectorAll('.swatch').length > 3", "the map")
    look("map")
    command = [program, "--library", str(server.library), "map", "--output"]
    subprocess.run([*command, str(work / "map.html")], check=True, capture_output=True)
    page.browser.open(work / "map.html")
    look("map-page")
    for theme in ("light", "dark"):
        here, there = found["map", theme], found["map-page", theme]
        check(
            f"a genre has one colour on both maps, {theme}",
            len(here) > 3 and list(here.items()) == list(there.items()),
            there,
        )
    page.open(server.address)
    page.until("document.querySelectorAll('.index .track').length > 5")
    page.browser.events.clear()


def the_queue(page, server):
    """The queue is saved as M3U8, with the library's paths."""
    paths = {t["id"]: t["path"] for t in server.json("/api/v1/list?limit=100")["tracks"]}
    wanted = [paths[i] for i in page.run(SELECTION)]
    page.key("q", "q")
    page.until("one('#save')", "the queue")
    page.click("#save")
    file = Path(page.browser.folder) / "voisin.m3u8"
    soon(file.exists)
    lines = file.read_text(encoding="utf-8").splitlines()
    check("M3U8", [line for line in lines if not line.startswith("#")] == wanted)
    page.key("Escape")
    page.stop()


def the_genres(page, server, shots):
    page.go("#/genres")
    page.until("all('.tree li').length === 6", "the tree of genres")
    page.picture(shots and shots / "genres.png")
    lines = page.run("one('.tree path').getAttribute('d')").split("M")[1:]
    distance = server.json("/api/v1/genres")["distance"]
    nearest = min(distance[i][j] for i in range(6) for j in range(i))
    ends = sorted(float(line.split("V")[0].split()[0]) for line in lines if "V" in line)
    top = float(page.text(".tree figcaption").rstrip(".").split(" to ")[-1])
    check(
        "its five joints, the nearest pair first",
        len(lines) == 15 and len(ends) == 5 and abs(ends[0] - 8 - 304 * nearest / top) < 4,
        ends,
    )
    page.browser.size(360, 740, 1, True)
    heights = "['svg', 'ul'].map((name) => one('.tree ' + name).getBoundingClientRect().height)"
    page.shows(
        "its lines meet the names on a telephone, too",
        f"(([a, b]) => Math.abs(a - b) < 2)({heights})",
        heights,
    )
    page.browser.size(1300, 900)
    page.click(".tree [data-genre=Metal] a")
    page.shows(
        "a genre: its kin, and what is typical, to play",
        "text('.genre-detail h2') === 'Metal' && all('.kin li').length === 5 && all('.genre-detail .play-cover').length >= 3",
    )
    quiet(page, "genres")


def what_failed(page, server, program, music, shots):
    broken = music / "broken.mp3"
    add = [program, "--library", str(server.library), "--quiet", "add", str(music)]
    broken.write_bytes(b"this is no music")
    subprocess.run(add, capture_output=True)
    page.go("#/library")
    page.shows(
        "failed: which file, and why",
        "text('.checks .path').endsWith('broken.mp3') && text('.checks p.faint').length > 10",
        "text('.checks')",
    )
    page.picture(shots and shots / "failed.png")
    broken.unlink()
    subprocess.run([*add, "--remove-missing"], capture_output=True)
    quiet(page, "failed")


def genres_of(program, library):
    command = [program, "--library", str(library), "list", "--format", "csv"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return {row["path"]: row["genres"] for row in csv.DictReader(run.stdout.splitlines())}


def by_hand(server):
    return len(server.json("/api/v1/labels")["by_hand"])


def the_review(page, server, program, shots):
    page.go("#/review")
    page.until("one('.suspect, .review .empty-state button')", "suspects", 120)
    if not page.count(".suspect"):
        page.click(".review .empty-state button")
        page.until("one('.suspect')", "suspects", 120)
    suspects = (
        server.json("/api/v1/suspects")["items"]
        or server.json("/api/v1/suspects?all=true")["items"]
    )
    first, second = suspects[:2]
    page.shows(
        "review: one at a time, with its reason",
        f"text('.suspect').includes({json.dumps(first['reason'][10:40])})",
        "text('.suspect .versus').replaceAll('\\n', ' ')",
    )
    page.picture(shots and shots / "review.png")
    page.click("#play-suspect")
    page.plays()
    page.run("audio.pause()")
    page.click("#accept")
    page.until("text('.progress span').startsWith('2 of')", "the next suspect")
    page.run("document.activeElement.blur()")
    page.key("k", "k")
    page.until("!text('.progress span').startsWith('2 of')", "the next suspect")
    labels = genres_of(program, server.library)
    accepted, kept = labels[first["path"]], labels[second["path"]]
    check("accepting is a label of the library", accepted == first["suggested"], accepted)
    check("keeping is one too", kept == "; ".join(second["labels"]), kept)
    check("both are by hand", by_hand(server) == 2)
    page.run("document.getElementById('undo').click()")
    page.until("text('.progress span').startsWith('2 of')", "undo")
    check("undo takes the last one back", by_hand(server) == 1)
    quiet(page, "review")


def a_file(page):
    """A file is dropped on the page, and one that is no music."""
    drop = """(([packed, name]) => {
        const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0)), data = new DataTransfer();
        data.items.add(new File([bytes], name, { type: "audio/mpeg" }));
        for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    })"""
    song = (DEMO / "held-out/sectoid-war-of-freedom.mp3").read_bytes()
    page.go("#/")
    page.run(f"{drop}({json.dumps([base64.b64encode(song).decode(), 'sectoid.mp3'])})")
    page.shows(
        "a dropped file: what sounds like it, and its genre",
        "location.hash === '#/file' && all('.card .share').length >= 10 && one('.answer')",
        "text('.answer')",
        120,
    )
    page.click(".card .primary")
    page.plays()
    page.shows("a dropped file plays", "audio.src.startsWith('blob:')")
    page.run("audio.pause()")
    page.expected = ["422"]
    page.run(f"{drop}({json.dumps([base64.b64encode(b'no music').decode(), 'x.mp3'])})")
    page.shows(
        "what is no music is told", "text('.card').includes('not an audio file')", "text('.card')"
    )
    quiet(page, "files")


def scanning(page, program, server, music):
    # Files that were there before the server: watching adds those that come later.
    for i in range(60):
        with wave.open(str(music / f"noise-{i}.wav"), "wb") as file:
            file.setparams((1, 2, 22050, 0, "NONE", ""))
            file.writeframes(os.urandom(2 * 22050 * 12))
    server.stop()
    server.process = Server(program, server.library, "--folder", music, port=server.port).process
    page.open(server.address + "#/library")
    page.shows("the library has its number of tracks", "/\\d+ tracks/.test(text('.facts.tall'))")
    # Stopped while it runs: analysed tracks stay, the rest is left.
    page.until("/^[1-9]\\d* of \\d+ files/.test(text('.scan p'))", "progress of a scan")
    page.run("document.getElementById('scan-stop').click()")
    page.until("text('.scan h2') === 'The scan was stopped'", "the scan stops")
    page.settle(1)
    soon(lambda: server.json("/api/v1/status")["tracks"] > 43)
    tracks = server.json("/api/v1/status")["tracks"]
    check("a scan is stopped", 43 < tracks < 103, f"{tracks - 43} of 60 were analysed")
    page.expected = ["409"]
    quiet(page, "scan")
    # A page that is opened late shows the same as one opened before: 449 files more, at 125 in 20
    # s.
    end = page.before("""window.EventSource = class {
      addEventListener(_, tell) { setTimeout(() => tell({ data: JSON.stringify({ state: "running", done: 126, total: 575, seconds: 20, summary: null, message: null }) }), 50); }
      close() {}
    }""")
    page.open(server.address + "#/library")
    page.shows(
        "how long a scan still takes is counted from its own start",
        "text('.scan p') === '126 of 575 files, about 72 s more'",
        "text('.scan p')",
    )
    end()
    page.open(server.address)
    page.browser.events.clear()


def keyboard(page):
    """A track is found, its card opened and played without a pointer."""
    page.go("#/")
    page.until(LISTED)
    page.run("document.activeElement.blur()")
    page.key("/", "/")
    page.type("nebula")
    page.until("text('.result').startsWith('1 track')")
    page.key("Enter", "\r")
    page.shows(
        "keyboard: Enter leads to the first one found",
        "document.activeElement.matches('.index .track a.words')",
    )
    page.key("Enter", "\r")
    page.until("text('.card h2') === 'Nebula'", "the card opens")
    on_play = "document.activeElement.matches('.card .primary')"
    for _ in range(12):
        for kind in ("keyDown", "keyUp"):
            page.browser.call(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )
        if page.run(on_play):
            break
    page.shows("keyboard: Tab reaches Play", on_play)
    page.key("Enter", "\r")
    page.plays(0.2)
    page.run("document.activeElement.blur()")
    page.key("2", "2")
    page.until("one('.over')")
    page.run("one('.over').focus()")
    page.key("ArrowRight")
    page.key("ArrowDown")
    # Beside the track that the search still finds.
    page.shows(
        "keyboard: the map is walked",
        "all('.side .track').length === 2 && text('#announcement')",
        "text('#announcement')",
    )
    page.key("Enter", "\r")
    page.until("location.hash.startsWith('#/track/')")
    page.fill("#search", "")
    page.stop()
    quiet(page, "keyboard")


READY = "!one('#main [aria-busy]') && !one('.skeleton')"


def sizes(page, shots, places):
    """No place is wider than its window; every control has a name and enough room for a finger or a
    pointer.
    """
    wide, cut = [], []
    for width, height, mobile in ((390, 844, True), (800, 1000, False), (1440, 900, False)):
        page.browser.size(width, height, 1, mobile)
        for place in places:
            page.go(place)
            # A place is gone to once: in dark it is the same, drawn anew.
            for theme, rest in (("light", 0.5), ("dark", 0.3)):
                page.theme(theme)
                page.until(READY, place)
                page.settle(rest)
                found = page.run(
                    "Math.max(document.documentElement.scrollWidth, ...all('.page, .detail, .scroller, .side').map(e => e.scrollWidth - e.clientWidth + innerWidth))"
                )
                if found > width:
                    wide.append(f"{place} at {width}: {found}")
                cut += page.run(
                    "all('#places a, #player button, .page-head *, .index-head *, .map-head > *').filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1).map(e => `${location.hash} at ${innerWidth}: ${e.textContent.trim()}`)"
                )
                name = place.strip("#/").replace("/", "-") or "listen"
                page.picture(shots and shots / f"{name}-{width}-{theme}.png")
    check("every place fits 390, 800 and 1440 px, light and dark", not wide, wide or "")
    check("no place, button or title leaves the window", not cut, cut[:8] or "")
    page.browser.size(390, 844, 1, True)
    page.shows(
        "five places in the menu of a telephone, all in sight",
        "all('#places a').filter((e) => e.getBoundingClientRect().width > 44).length === 5",
    )
    # With nothing beside it the list has the room: a title of forty letters is whole.
    page.browser.size(1400, 900)
    page.go("#/")
    page.until(LISTED, "the list")
    page.settle(0.5)
    room = page.run(
        "(() => { const t = one('.index .track .title'), c = document.createElement('canvas').getContext('2d'); c.font = getComputedStyle(t).font; return t.parentNode.clientWidth / c.measureText('n').width; })()"
    )
    check("titles have the room there is", room > 40, f"{room:.0f} letters")
    page.browser.size(1300, 900)
    quiet(page, "sizes")


def violations(page, axe):
    """What axe-core finds on the page as it is: impact, rule, elements."""
    if axe == "-":
        return []
    if not page.run("typeof axe === 'object'"):
        page.run(Path(axe).read_text(encoding="utf-8") + "; 0")
    return page.run(
        "axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')]))"
    )


def waiting(page, server, axe, shots):
    """While its answer is under way, a place has its title and a skeleton at once, in sight, and
    nothing for axe-core to find.
    """
    end = page.before("""(() => { const real = window.fetch; window.fetch = (address, options) => /\\/(map|genres|suspects)$/.test(new URL(address).pathname)
      ? new Promise((_, failed) => options.signal?.addEventListener("abort", () => failed(new DOMException("left", "AbortError")))) : real(address, options); })()""")
    page.open(server.address)
    page.until(LISTED)
    for title in ("Map", "Genres", "Review"):
        page.run(
            f"location.hash = '#/{title.lower()}'; new Promise(done => requestAnimationFrame(() => setTimeout(done, 250)))"
        )
        seen = page.run(
            "(() => { const [h, s] = ['#main h1', '#main .skeleton'].map(e => one(e)?.getBoundingClientRect()); return [text('#main h1'), h && h.top > 0 && h.bottom < 200, s && s.top > h.bottom && s.top < 400 && s.bottom < innerHeight]; })()"
        )
        check(
            f"{title}: its title and a skeleton while it loads", seen == [title, True, True], seen
        )
        page.picture(shots and shots / f"waiting-{title}.png")
        found = violations(page, axe)
        check(f"{title}: axe-core finds nothing while it loads", not found, found)
    end()
    page.open(server.address)
    page.browser.events.clear()


def a_report(page, program, work, shots):
    """The report of a run in the laboratory is no wider than its window, however wide its tables
    are.
    """
    run = work / "run"
    command = [program, "--quiet", "lab", "train", f"folder:{DEMO / 'library'}", run]
    command += ["--features", "mfcc40-mean", "--algorithm", "knn,forest"]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    wide = []
    for width in (360, 1400):
        page.browser.size(width, 900, 1, width < 500)
        page.browser.call("Page.navigate", url=f"file://{run}/report.html")
        page.settle(0.5)
        found = page.run("[document.documentElement.scrollWidth, all('table').length]")
        if found[0] > width or found[1] < 3:
            wide.append(f"{found} at {width}")
        page.picture(shots and shots / f"report-{width}.png")
    check("a run's report fits 360 and 1400 px", not wide, wide or "")


def accessible(page, axe, places):
    if axe == "-":
        print("        axe-core is not here: accessibility is not checked")
        return
    serious = []

    def look(name):
        page.until(READY, name)
        page.settle(0.3)
        for impact, rule, where in violations(page, axe):
            if impact in ("serious", "critical"):
                serious.append(f"{name}: {rule} {where}")
            else:
                print(f"        {name}: {impact}: {rule} {where[:100]}")

    for theme in ("light", "dark"):
        page.theme(theme)
        for place in places:
            page.go(place)
            look(f"{place} {theme}")
        # Dialogs on top of a place.
        page.run("one('.card .track .after').click(); voisin.player.openQueue(true)")
        look(f"queue {theme}")
        page.run("voisin.player.openQueue(false)")
        page.stop()
        page.go("#/map")
        page.until("one('.over')")
        page.run("one('.over').focus()")
        for key in ("ArrowRight", "s", "ArrowDown", "s"):
            page.key(key)
        look(f"map with a selection {theme}")
        page.run("one('.over').focus()")
        page.key("Escape")
    check("axe-core finds nothing serious in any place, light and dark", not serious, serious or "")
    page.browser.events.clear()


MOCK = """(() => {
  const real = window.fetch;
  window.fetch = async (address, options) => {
    const path = new URL(address).pathname, answer = body => new Response(JSON.stringify(body), { headers: { "Content-Type": "application/json" } });
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const parameters = new URL(address).searchParams, first = Number(parameters.get("after") ?? -1) + 1, limit = Number(parameters.get("limit")), next = first + limit < 20000 ? first + limit - 1 : null;
    if (path.endsWith("/map")) return answer({ generation: 1, clusters: [], genres: Array.from({ length: 12 }, (_, g) => "Genre " + g), tracks: Array.from({ length: 20000 }, (_, id) => {
      const g = id % 12, a = random() * 6.283, r = Math.sqrt(random()) * 2;
      return { id, x: 5 * Math.cos(g) + r * Math.cos(a), y: 5 * Math.sin(g) + r * Math.sin(a), cluster: g, artist: "Artist " + id % 900, title: "Title " + id, genre: "Genre " + g, year: 1970 + id % 50, seconds: 200, tempo: 80 + id % 90, key: null, camelot: null, loudness: -9, word: null };
    }) });
    if (path.endsWith("/list")) return answer({ generation: 1, total: 20000, next, tracks: Array.from({ length: Math.min(limit, 20000 - first) }, (_, i) => ({ id: first + i, path: "/m/" + (first + i), title: "Title " + (first + i), artist: "Artist", genres: [], seconds: 100 })) });
    if (path.endsWith("/late")) return new Response("{}", { status: 503 });
    return real(address, options);
  };
})()"""


def many(page, server):
    """20 000 tracks: the map stays fluid, the list has only what is in sight."""
    end = page.before(MOCK)
    page.browser.size(1600, 1000)
    page.open(server.address + "#/map")
    page.until("one('.points')?.width > 100 && all('.swatch').length > 3", "the map of 20 000")
    page.shows(
        "all of it is there",
        "one('.over').getAttribute('aria-label').startsWith('Map of 20,000 tracks')",
    )
    milliseconds = page.run("voisin.map.measure(60)")
    least = float(os.environ.get("VOISIN_MAP_LEAST_FRAMES", "5"))
    check(
        "a map of 20 000 tracks is fluid",
        1000 / milliseconds >= least,
        f"{milliseconds:.1f} ms a frame without a graphics card, {1000 / milliseconds:.0f} a second",
    )
    page.go("#/")
    few = "(n => n > 0 && n < 60)(all('.long .track').length)"
    page.shows(
        "a list of 20 000 has the rows in sight", f"text('.result') === '20,000 tracks' && {few}"
    )
    page.run("one('.scroller').scrollTop = 3000 * 56")
    page.shows(
        "and goes on as one scrolls",
        f"texts('.long .title').some((title) => /^Title 300\\d$/.test(title)) && {few}",
    )
    top = page.run("one('.scroller').scrollTop")
    page.go("#/library")
    page.until("one('.facts.tall')", "another place")
    page.go("#/")
    page.shows(
        "back from another place, the list is where it was",
        f"one('.scroller')?.scrollTop === {top}",
        "one('.scroller')?.scrollTop",
    )
    end()
    page.browser.size(1300, 900)
    page.browser.events.clear()


def later(page, server):
    """An answer that comes later is waited for."""
    end = page.before("""(() => { const real = window.fetch; let left = 2; window.fetch = async (address, options) => new URL(address).pathname.endsWith("/genres") && left-- > 0
      ? new Response(JSON.stringify({ detail: "the index has to be built", next: "ask again" }), { status: 503, headers: { "Retry-After": "1" } }) : real(address, options); })()""")
    page.open(server.address + "#/genres")
    page.shows(
        "503: the reason is shown, and the request repeated",
        "text('.slow').startsWith('The index has to be built. Trying again in')",
        "text('.slow')",
    )
    page.until("all('.tree li').length > 3", "the answer comes in the end")
    end()


def lost(page, program, server, work):
    """A server that goes and comes back, in silence and at the end of a track."""
    page.open(server.address)
    page.until(LISTED)
    page.expected = [""]
    server.stop()
    page.run("voisin.request('status').catch(() => 0)")
    page.shows("server gone: it is reported", "text('#notice').includes('does not answer')")
    server = Server(program, server.library, "--folder", work / "music", port=server.port)
    page.shows("server back: the page goes on by itself", f"!one('#notice') && {LISTED}", "''", 40)
    tracks = server.json("/api/v1/list?limit=100")["tracks"]
    last, long = [t for t in sorted(tracks, key=lambda track: track["seconds"]) if t["title"]][-2:]
    page.run(f"voisin.player.play({json.dumps([{'track': last}, {'track': long}])})")
    page.plays(0.2)
    page.fill("#seek", last["seconds"] - 3)
    page.fill("#seek", last["seconds"] - 3, "change")
    page.settle(0.3)
    server.process.kill()
    server.process.wait(10)
    page.until(f"text('#now-title') === {json.dumps(long['title'])}", "the next track")
    page.settle(3)
    server = Server(program, server.library, port=server.port)
    began = time.time()
    page.until("!audio.paused && !audio.error && audio.currentTime > 0.05", "music", 15)
    took = time.time() - began
    check("the server was gone at the end of a track: music goes on", took < 2, f"{took:.1f} s")
    page.click("#play")
    page.shows("and Play pauses", "audio.paused")
    page.click("#play")
    page.plays(page.run("audio.currentTime"))
    page.stop()
    server.stop()


def nothing(page, program, work):
    """An empty library."""
    library, silence = work / "empty", work / "silence"
    silence.mkdir()
    command = [program, "--library", str(library), "add", str(silence)]
    subprocess.run(command, capture_output=True)
    server = Server(program, library)
    page.expected = ["409", "422", "404", "ERR_"]
    page.open(server.address + "#token=" + server.token)
    page.shows("an empty library: what to do", "text('.index .empty-state').includes('voisin add')")
    for place in PLACES:
        page.go(place)
        page.until("one('.empty-state, .facts.tall, .page')", place)
    quiet(page, "an empty library, every place")
    server.stop()


def main():
    program, axe, *rest = sys.argv[1:]
    program = os.path.abspath(program)
    shots = Path(rest[0]).resolve() if rest else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="voisin-page-"))
    music, library = work / "music", work / "library"
    shutil.copytree(DEMO / "library", music)
    with_cover(music / "metal/muldjord-chaos-god.mp3", png(*RED))
    with_flac_cover(music / "folk/omri-lahav-an-old-warhorse-goes-to-pasture.flac", png(*BLUE))
    subprocess.run([program, "--library", str(library), "--quiet", "add", str(music)], check=True)
    server = Server(program, library)
    page = Page()
    only = os.environ.get("ONLY", "").split()
    try:
        print(page.browser.call("Browser.getVersion")["product"])
        page.browser.size(1300, 900)
        on_a_terminal(program, server)
        begin(page, server)
        track = server.json("/api/v1/list?query=chaos+god")["tracks"][0]
        places = [*PLACES, f"#/track/{track['id']}"]
        for name, step in (
            ("search", lambda: searching(page, server, shots)),
            ("card", lambda: the_card(page, server, shots)),
            ("names", lambda: names_from_outside(page)),
            ("play", lambda: playing(page, server)),
            ("radio", lambda: radio(page)),
            ("map", lambda: the_map(page, server, shots)),
            ("look", lambda: one_look(page, server, program, work, shots)),
            ("genres", lambda: the_genres(page, server, shots)),
            ("failed", lambda: what_failed(page, server, program, music, shots)),
            ("file", lambda: a_file(page)),
            ("sizes", lambda: sizes(page, shots, places)),
            ("axe", lambda: accessible(page, axe, places)),
            ("waiting", lambda: waiting(page, server, axe, shots)),
            ("keyboard", lambda: keyboard(page)),
            ("review", lambda: the_review(page, server, program, shots)),
            ("scan", lambda: scanning(page, program, server, music)),
            ("many", lambda: many(page, server)),
            ("later", lambda: later(page, server)),
            ("lost", lambda: lost(page, program, server, work)),
            ("nothing", lambda: nothing(page, program, work)),
            ("report", lambda: a_report(page, program, work, shots)),
        ):
            if only and name not in only:
                continue
            started = time.time()
            try:
                step()
            except RuntimeError as error:
                check(name, False, str(error)[:1500])
                page.picture(shots and shots / f"failed-{name}.png")
            print(f"        {name}: {time.time() - started:.0f} s", flush=True)
    finally:
        page.browser.close()
        server.process.kill()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(check_map.failed > 0)


if __name__ == "__main__":
    main()
