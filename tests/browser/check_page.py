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
import re
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


class Page:
    """A browser with the page in it, and the helpers of the checks."""

    def __init__(self, extra=(), autoplay=True):
        policy = "no-user-gesture-required" if autoplay else "document-user-activation-required"
        flags = [
            f"--autoplay-policy={policy}",
            "--enable-unsafe-swiftshader",
            "--disable-popup-blocking",
            "--window-size=1300,900",
            *extra,
        ]
        self.browser = Browser(flags)
        self.run, self.key, self.settle = self.browser.run, self.browser.key, self.browser.settle
        self.expected = []

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
        end = time.time() + seconds
        while time.time() < end:
            if self.run(f"Boolean({script})"):
                return True
            time.sleep(0.1)
        raise RuntimeError(
            f"{what or script} did not become true: {self.complaints()} {self.text('#main')[-300:]}"
        )

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def count(self, selector):
        return self.run(f"document.querySelectorAll({json.dumps(selector)}).length")

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

    def plays(self, least=0.35, seconds=20):
        self.until(
            f"document.getElementById('audio').currentTime > {least} && !document.getElementById('audio').paused",
            "playback",
            seconds,
        )
        return self.run("document.getElementById('audio').currentTime")

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
    page.until("document.getElementById('sign-in')?.open", "the sign-in dialog")
    check(
        "without a token the page has the next step, and nothing is behind the dialog",
        "voisin serve --show-token" in page.text("#sign-in") and not page.text("#main").strip(),
    )
    page.type("wrong" * 8)
    page.key("Enter", "\r")
    page.until(
        "document.querySelector('#sign-in [role=status]').textContent.includes('not the server')",
        "a wrong token is reported",
    )
    check(
        "a wrong token is reported in a sentence",
        page.text("#sign-in [role=status]").startswith("This is not"),
        page.text("#sign-in [role=status]"),
    )
    page.open(server.address + "#token=" + server.token)
    page.until("document.querySelectorAll('.index .track').length > 5", "the tracks are listed")
    page.go("#/")
    page.browser.events.clear()
    page.expected = []
    check(
        "the token leaves the address, and scripts cannot read the cookie",
        page.run("!location.href.includes('token') && document.cookie === ''"),
        page.run("location.href"),
    )
    elsewhere = [
        url
        for url in page.requests()
        if not url.startswith((server.address, "data:", "blob:", "about:"))
    ]
    check("nothing is requested from elsewhere", not elsewhere, elsewhere)
    headers = server.get("/")[1]
    policy = headers["Content-Security-Policy"]
    manifest = page.browser.call("Page.getAppManifest")
    check(
        "the page can be installed",
        manifest["url"].endswith("/page/manifest.json")
        and not manifest["errors"]
        and json.loads(manifest["data"])["name"] == "voisin",
        manifest.get("errors"),
    )
    check(
        "the policy is strict",
        "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy,
    )


def searching(page, server, shots):
    check("all tracks are listed", page.text(".result") == "43 tracks", page.text(".result"))
    page.key("/", "/")
    check(
        "a key leads to the search",
        soon(lambda: page.run("document.activeElement.id === 'search'")),
    )
    page.type("muld")
    page.until(
        "document.querySelector('.result').innerText.startsWith('4 tracks')", "search as one types"
    )
    check(
        "search as one types", soon(lambda: page.count(".index .track") == 4), page.text(".result")
    )
    page.run(
        "document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    page.until("document.querySelector('.result').innerText === '43 tracks'")
    if server.get("/api/v1/find?query=calm&limit=1")[0] == 200:
        page.click(".index-head [data-name=sound]")
        page.run("document.getElementById('search').focus()")
        page.type("calm guitar")
        page.until(
            "document.querySelector('.index-head [data-name=sound][aria-pressed=true]') && document.querySelectorAll('.index .track').length > 5",
            "search by sound",
        )
        check(
            "search by words of sound",
            soon(lambda: page.text(".result") == "Tracks that sound like “calm guitar”"),
            page.text(".result"),
        )
        page.run(
            "document.getElementById('search').value = ''; document.getElementById('search').focus()"
        )
        page.type("gitar")
        page.expected = ["404"]
        check(
            "a sound that no word is for: one suggestion",
            soon(lambda: page.text(".index .empty-state button") == "guitar"),
            page.text(".index .empty-state"),
        )
        page.click(".index .empty-state button")
        check(
            "and it is searched for",
            soon(lambda: page.text(".result") == "Tracks that sound like “guitar”"),
            page.text(".result"),
        )
        page.browser.events.clear()
        page.expected = []
        page.click(".index-head [data-name=names]")
        page.run(
            "document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))"
        )
        page.until("document.querySelector('.result').innerText === '43 tracks'")
    # Filters and orders are those of the command line.
    page.click(".filters summary")
    page.until(
        "document.querySelectorAll('.filters [name=genre] option').length === 7",
        "genres to choose from",
    )

    def fill(name, value):
        return page.run(
            f"(() => {{ const f = document.querySelector('.filters [name={name}]'); f.value = '{value}'; f.dispatchEvent(new Event('change')); }})()"
        )

    fill("genre", "Metal")
    fill("bpm", "90-119")
    fill("sort", "bpm")
    page.click(".filters [type=checkbox]")
    wanted = server.json("/api/v1/list?genre=metal&bpm=90-119&sort=bpm&reverse=true")["tracks"]
    check(
        "filters and order, from lists",
        soon(lambda: page.text(".result") == f"{len(wanted)} tracks" and 1 < len(wanted) < 43)
        and soon(
            lambda: (
                page.run(
                    "[...document.querySelectorAll('.index .track .title')].map(e => e.innerText)"
                )
                == [track["title"] for track in wanted]
            )
        ),
        page.text(".result"),
    )
    check("the number of filters is shown", page.text(".filters summary") == "Filter · 2")
    page.picture(shots and shots / "filters.png")
    page.run("[...document.querySelectorAll('.filters button')].at(-1).click()")
    check(
        "and all tracks again",
        soon(
            lambda: (
                page.text(".result") == "43 tracks" and page.text(".filters summary") == "Filter"
            )
        ),
        page.text(".result"),
    )
    page.key("Escape")
    quiet(page, "search")


def the_card(page, server, shots):
    track = server.json("/api/v1/list?query=chaos+god")["tracks"][0]
    words = server.json(f"/api/v1/show?track=id:{track['id']}&words=true").get("words", [])
    page.go(f"#/track/{track['id']}")
    page.until(
        "document.querySelector('.card .answer') && document.querySelectorAll('.card .part .share').length > 10",
        "the card is filled",
    )
    check(
        "the card: title, artist, length",
        soon(lambda: all(name in page.text(".card") for name in ("Chaos God", "Muldjord"))),
    )
    check(
        "the card: genre with its reason",
        soon(lambda: "Metal" in page.text(".answer") and "voted" in page.text(".reason details")),
        page.text(".answer"),
    )
    page.click(".reason details summary")
    check("the card: voters can be played", soon(lambda: page.count(".reason .play-cover") >= 3))
    check(
        "the card: tempo, key, loudness",
        soon(lambda: all(unit in page.text(".facts") for unit in ("bpm", "LUFS", "Key"))),
        page.text(".facts").replace("\n", " "),
    )
    check(
        "the card: words of its sound",
        soon(lambda: page.count(".chips li") == len(words)),
        page.text(".chips"),
    )
    check(
        "the card: neighbours, each to play",
        soon(
            lambda: page.run(
                "(() => { const rows = [...document.querySelectorAll('.card .track')].filter(r => r.querySelector('.share')); return rows.length >= 10 && rows.every(r => r.querySelector('.play-cover')); })()"
            )
        ),
    )
    rows = "[...document.querySelectorAll('.card .track:has(.share) .title')].map(t => t.textContent).join()"
    nearest = page.run(rows)
    artist = page.text(".card-head .by")
    artists = "[...document.querySelectorAll('.card .track:has(.share) .words .faint')].map(e => e.textContent.split(' · ')[0])"
    check("some near tracks are by its artist", soon(lambda: artist in page.run(artists)), artist)
    page.click(".card .others input")
    check(
        "and others alone where they are wanted",
        soon(lambda: page.run(artists) and artist not in page.run(artists)),
        page.run(artists),
    )
    page.click(".card .others input")
    page.until(f"{artists}.includes({json.dumps(artist)})", "its artist's again")
    check("the card: without any switch it is as before", soon(lambda: page.run(rows) == nearest))
    page.until(
        "[...document.querySelectorAll('.card .cover img')].some(i => i.complete && i.naturalWidth === 96)",
        "the picture in the file",
    )

    page.go("#/")
    page.go(f"#/track/{track['id']}")
    page.until(
        "document.querySelector('.card .answer') && document.querySelector('.card-head .cover.large img')?.complete",
        "the card is filled again",
    )
    check(
        "the card: the picture in the file",
        soon(
            lambda: page.run(
                "document.querySelector('.card-head .cover.large').classList.contains('has')"
            )
        ),
    )
    for words, colour in (("chaos+god", RED), ("old+warhorse", BLUE)):
        which = server.json(f"/api/v1/list?query={words}")["tracks"][0]
        status, headers, body = server.get(f"/api/v1/tracks/{which['id']}/cover")
        check(
            f"the picture of a file: {which['codec']}",
            (status, headers["Content-Type"], body) == (200, "image/png", png(*colour)),
        )
    page.picture(shots and shots / "card.png")
    quiet(page, "card")
    return track


def names_from_outside(page):
    """Tags are untrusted text: they change no direction of text, and a guess is not shown as a genre."""
    shown = page.run(
        """(async () => {
          const folder = document.querySelector('script[type=module]').src, get = (name) => import(new URL(name, folder));
          const [{ html, render }, { Row }, { Reason }] = await Promise.all(['preact.js', 'tracks.js', 'card.js'].map(get));
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


def radio(page, server):
    """One press on a row, and music like it goes on."""
    page.run("voisin.player.play([])")
    page.go("#/")
    page.until("document.querySelectorAll('.index .track').length > 5")
    # A list ends where nothing near is left: of the metal there is enough.
    page.run("document.getElementById('search').focus()")
    page.type("chaos god")
    page.until("document.querySelectorAll('.index .track').length === 1")
    page.run("document.querySelector('.index .track .radio').click()")
    page.plays()
    check("radio from a row: it plays", page.text("#now-title") == "Chaos God")
    check(
        "radio: music like it follows",
        soon(lambda: page.run("voisin.player.upcoming().length") > 2),
        page.run("voisin.player.upcoming().length"),
    )
    at = page.plays()
    page.run("document.querySelector('.index .track .radio').click()")
    check(
        "radio: what plays goes on, and the page says so",
        page.run("document.getElementById('audio').currentTime") >= at
        and soon(lambda: "Radio: music like “\u2068Chaos God" in page.text("#toasts")),
        page.text("#toasts"),
    )
    page.run(
        "document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    page.run("voisin.player.play([])")
    quiet(page, "radio")


def playing(page, server):
    tracks = server.json("/api/v1/list?limit=100")["tracks"]
    for ending in ("mp3", "ogg", "opus", "flac", "wav", "m4a"):
        track = next(t for t in tracks if t["path"].endswith("." + ending))
        if ending == "m4a" and not page.run(
            "document.createElement('audio').canPlayType('audio/mp4; codecs=\"mp4a.40.2\"')"
        ):
            print("        m4a: this browser has no AAC")
            continue
        page.go(f"#/track/{track['id']}")
        page.until("document.querySelector('.card .primary')")
        page.click(".card .primary")
        at = page.plays()
        check(
            f"plays {ending}",
            soon(lambda: page.text("#now-title") == (track["title"] or Path(track["path"]).name)),
            f"{at:.2f} s",
        )
    # A place in the middle is fetched by its range, and the bar follows.
    page.run(
        "(() => { const s = document.getElementById('seek'); s.value = 12; s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); })()"
    )
    page.until("document.getElementById('audio').currentTime > 12.2", "seeking")
    parts = [
        e
        for e in page.browser.events
        if e.get("method") == "Network.responseReceived"
        and e["params"]["response"]["status"] == 206
    ]
    check("seeks, and the audio comes in ranges", len(parts) > 0, f"{len(parts)} answers 206")
    page.key("m", "m")
    check(
        "a key turns the sound off",
        soon(lambda: page.run("document.getElementById('audio').muted")),
    )
    page.key("m", "m")
    page.run(
        "(() => { const v = document.getElementById('volume'); v.value = 0.3; v.dispatchEvent(new Event('input')); })()"
    )
    check(
        "the volume",
        soon(lambda: abs(page.run("document.getElementById('audio').volume") - 0.3) < 0.01),
    )
    page.run("document.activeElement.blur(); document.body.focus()")
    page.key(" ", " ")
    check("space pauses", soon(lambda: page.run("document.getElementById('audio').paused")))
    page.key(" ", " ")
    page.plays(12)

    # Queued tracks play next, in order.
    page.run(
        "document.querySelectorAll('.card .part .track .after')[3].click(); document.querySelectorAll('.card .part .track .after')[4].click()"
    )
    page.key("q", "q")
    page.until("document.querySelectorAll('#queue-panel .queued').length > 2", "the queue")
    wanted = page.run(
        "[...document.querySelectorAll('#queue-panel .is-now ~ .queued .title')].map(e => e.innerText)"
    )[:2]
    page.key("Escape")
    page.key("n", "n")
    check("the next one of the queue", soon(lambda: page.text("#now-title") == wanted[0]), wanted)
    # A track of a list is followed by those behind it, and the last one by a radio, where one is
    # wanted.
    page.run("voisin.player.play([])")
    page.go("#/")
    page.until("document.querySelectorAll('.index .track').length > 5")
    page.run("document.querySelectorAll('.index .play-cover')[1].click()")
    page.plays()
    listed = page.run(
        "[...document.querySelectorAll('.index .track .title')].slice(1, 4).map(e => e.innerText)"
    )
    follow = page.run("voisin.player.upcoming().slice(0, 3).map(t => t.title)")
    check("play from here: those behind it follow", follow == listed, follow)
    # What plays is at the top, however many were played before.
    page.run("for (let i = 0; i < 25; i++) voisin.player.step(1)")
    page.key("q", "q")
    page.until("document.querySelectorAll('#queue-panel .queued').length > 10", "the queue")
    seen = page.run(
        "document.querySelector('#queue-panel .queued').matches('.is-now') && document.getElementById('queue-panel').scrollTop === 0 && document.querySelectorAll('#queue-panel .cover').length > 10"
    )
    check("up next opens at its top, with what plays and covers", seen)
    page.key("Escape")
    chaos = next(track for track in tracks if track["title"] == "Chaos God")
    page.run(f"voisin.player.play([{{ track: {json.dumps(chaos)} }}])")
    check(
        "nothing follows by itself until it is wanted",
        not soon(lambda: page.run("voisin.player.upcoming().length") > 1, 3),
    )
    page.key("q", "q")
    page.until("document.getElementById('queue-panel')")
    page.click("#radio")
    check(
        "what sounds like it follows",
        soon(lambda: page.run("voisin.player.upcoming().length") > 2),
        page.run("voisin.player.upcoming().length"),
    )
    page.click("#repeat")
    page.run("(() => { while (voisin.player.upcoming().length > 1) voisin.player.step(1); })()")
    last = page.text("#now-title")
    page.run("voisin.player.step(1)")
    check(
        "repeat begins again",
        soon(
            lambda: (
                page.run("voisin.player.upcoming().length") > 2 and page.text("#now-title") != last
            )
        ),
        page.text("#now-title"),
    )
    page.click("#repeat")
    page.click("#repeat")
    page.key("Escape")
    # The page is loaded again: what played waits where it was.
    page.run(
        "document.getElementById('audio').currentTime = 3; document.getElementById('audio').pause()"
    )
    before = page.run("[voisin.player.current().track.id, voisin.player.upcoming().length]")
    page.open(server.address)
    page.until("window.voisin?.player.current()", "the player is as it was")
    after = page.run("[voisin.player.current().track.id, voisin.player.upcoming().length]")
    page.key("q", "q")
    check(
        "and continues with that setting",
        soon(lambda: page.run("document.getElementById('radio')?.checked")),
    )
    page.key("Escape")
    page.run("document.activeElement.blur(); document.body.focus()")
    check(
        "loaded again, the player is as it was",
        after == before
        and soon(
            lambda: page.run(
                "document.getElementById('audio').currentTime >= 3 && document.getElementById('audio').paused"
            )
        ),
        after,
    )
    page.key(" ", " ")
    page.plays(3)
    page.run("document.getElementById('audio').pause()")
    page.run("document.getElementById('audio').pause(); voisin.player.play([])")
    quiet(page, "player")


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
    wanted = [paths[i] for i in page.run("voisin.player.upcoming().map(track => track.id)")]
    page.key("q", "q")
    page.until("document.getElementById('save')", "the queue")
    page.click("#save")
    name = os.path.join(page.browser.folder, "voisin.m3u8")
    soon(lambda: os.path.exists(name))
    lines = open(name, encoding="utf-8").read().splitlines()
    check("M3U8", [line for line in lines if not line.startswith("#")] == wanted)
    page.key("Escape")
    page.run("document.getElementById('audio').pause(); voisin.player.play([])")


def the_genres(page, server, shots):
    page.go("#/genres")
    page.until("document.querySelectorAll('.tree li').length === 6", "the tree of genres")
    page.picture(shots and shots / "tree.png")
    lines = page.run("document.querySelector('.tree path').getAttribute('d')").split("M")[1:]
    distance = server.json("/api/v1/genres")["distance"]
    nearest = min(distance[i][j] for i in range(6) for j in range(i))
    ends = sorted(float(line.split("V")[0].split()[0]) for line in lines if "V" in line)

    def scale(at):
        return 8 + 304 * at

    top = float(page.text(".tree figcaption").rstrip(".").split(" to ")[-1])
    check(
        "its five joints, the nearest pair first",
        len(lines) == 15 and len(ends) == 5 and abs(ends[0] - scale(nearest / top)) < 4,
        ends,
    )
    page.browser.size(360, 740, 1, True)

    def heights():
        return page.run(
            "['svg', 'ul'].map(name => document.querySelector('.tree ' + name).getBoundingClientRect().height)"
        )

    check(
        "its lines meet the names on a telephone, too",
        soon(lambda: abs(heights()[0] - heights()[1]) < 2),
        heights(),
    )
    page.browser.size(1300, 900)
    page.click(".tree [data-genre=Metal] a")
    page.until("document.querySelector('.genre-detail h2')?.innerText === 'Metal'")
    check(
        "a genre: its kin, and what is typical, to play",
        soon(lambda: page.count(".kin li") == 5 and page.count(".genre-detail .play-cover") >= 3),
    )
    page.picture(shots and shots / "genres.png")
    quiet(page, "genres")


def the_checks(page, server, program, music, shots):
    """A broken file has its place."""
    (music / "broken.mp3").write_bytes(b"this is no music")
    subprocess.run(
        [program, "--library", str(server.library), "--quiet", "add", str(music)],
        capture_output=True,
    )
    page.until("!document.hidden")
    page.go("#/library")
    page.until("document.querySelector('.checks .path')", "the failures")
    check(
        "failed: which file, and why",
        soon(
            lambda: "broken.mp3" in page.text(".checks") and len(page.text(".checks p.faint")) > 10
        ),
        page.text(".checks").replace("\n", " "),
    )
    page.picture(shots and shots / "failed.png")
    (music / "broken.mp3").unlink()
    subprocess.run(
        [
            program,
            "--library",
            str(server.library),
            "--quiet",
            "add",
            "--remove-missing",
            str(music),
        ],
        capture_output=True,
    )
    quiet(page, "checks")


def genres_of(program, library):
    run = subprocess.run(
        [program, "--library", str(library), "list", "--format", "csv"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {row["path"]: row["genres"] for row in csv.DictReader(run.stdout.splitlines())}


def by_hand(program, library):
    run = subprocess.run(
        [program, "--library", str(library), "labels", "--format", "json"],
        check=True,
        capture_output=True,
    )
    return json.loads(run.stdout)["by_hand"]


def the_review(page, server, program, shots):
    page.go("#/review")
    page.until(
        "document.querySelector('.suspect') || document.querySelector('.review .empty-state button')",
        "suspects",
        120,
    )
    if not page.count(".suspect"):
        page.click(".review .empty-state button")
        page.until("document.querySelector('.suspect')", "suspects", 120)
    suspects = (
        server.json("/api/v1/suspects")["items"]
        or server.json("/api/v1/suspects?all=true")["items"]
    )
    first, second = suspects[:2]
    check(
        "review: one at a time, with its reason",
        soon(lambda: first["reason"][10:40] in page.text(".suspect")),
        page.text(".suspect .versus").replace("\n", " "),
    )
    page.picture(shots and shots / "review.png")
    page.click("#play-suspect")
    page.plays()
    page.run("document.getElementById('audio').pause()")
    page.click("#accept")
    page.until(
        "document.querySelector('.progress span').innerText.startsWith('2 of')", "the next suspect"
    )
    page.run("document.activeElement.blur()")
    page.key("k", "k")
    page.until(
        "document.querySelector('.progress span')?.innerText.startsWith('3 of') ?? true",
        "the next suspect",
    )
    labels = genres_of(program, server.library)
    accepted, kept = labels[first["path"]], labels[second["path"]]
    check("accepting is a label of the library", accepted == first["suggested"], accepted)
    check("keeping is one too", kept == "; ".join(second["labels"]), kept)
    check("both are by hand", by_hand(program, server.library) == 2)
    page.run("document.getElementById('undo').click()")
    page.until("document.querySelector('.progress span').innerText.startsWith('2 of')", "undo")
    check(
        "undo takes the last one back",
        by_hand(program, server.library) == 1,
    )
    quiet(page, "review")


def a_file(page, shots):
    file = DEMO / "held-out/sectoid-war-of-freedom.mp3"
    packed = base64.b64encode(file.read_bytes()).decode()
    page.go("#/")
    page.run(f"""(() => {{
        const bytes = Uint8Array.from(atob("{packed}"), c => c.charCodeAt(0)), data = new DataTransfer();
        data.items.add(new File([bytes], "sectoid-war-of-freedom.mp3", {{ type: "audio/mpeg" }}));
        for (const kind of ["dragenter", "dragover", "drop"]) document.body.dispatchEvent(new DragEvent(kind, {{ dataTransfer: data, bubbles: true, cancelable: true }}));
    }})()""")
    page.until(
        "location.hash === '#/file' && document.querySelectorAll('.card .share').length > 5 && document.querySelector('.answer')",
        "a dropped file is answered",
        120,
    )
    check(
        "a dropped file: what sounds like it, and its genre",
        soon(lambda: page.count(".card .share") >= 10),
        page.text(".answer"),
    )
    page.click(".card .primary")
    page.plays()
    check(
        "a dropped file plays", page.run("document.getElementById('audio').src.startsWith('blob:')")
    )
    page.run("document.getElementById('audio').pause()")
    # A file without audio is reported.
    page.expected = ["422"]
    page.run("""(() => { const data = new DataTransfer(); data.items.add(new File(["this is not music"], "x.mp3", { type: "audio/mpeg" }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })); })()""")
    page.until(
        "document.querySelectorAll('.card .empty-state').length > 0", "what is no music is told"
    )
    check(
        "what is no music is told",
        soon(lambda: "not an audio file" in page.text(".card")),
        page.text(".card .empty-state").replace("\n", " ")[:120],
    )
    quiet(page, "files")
    page.expected = []


def scanning(page, program, server, music):
    # Files that were there before the server: watching adds those that come later.
    for i in range(60):
        with wave.open(str(music / f"noise-{i}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(22050)
            file.writeframes(os.urandom(2 * 22050 * 12))
    server.stop()
    server.process = Server(program, server.library, "--folder", music, port=server.port).process
    page.open(server.address + "#/library")
    page.until(
        "document.querySelector('.facts.tall') && document.querySelector('.scan h2').innerText",
        "the library",
    )
    check(
        "the library has its number of tracks",
        soon(lambda: re.search(r"\d+ tracks", page.text(".facts.tall"))),
    )
    # Stopped while it runs: analysed tracks stay, the rest is left.
    page.until(
        "/^[1-9]\\d* of \\d+ files/.test(document.querySelector('.scan p').innerText)",
        "progress of a scan",
    )
    page.run("document.getElementById('scan-stop').click()")
    page.until(
        "document.querySelector('.scan h2').innerText === 'The scan was stopped'",
        "the scan stops",
        60,
    )
    page.settle(1)
    soon(lambda: server.json("/api/v1/status")["tracks"] > 43)
    tracks = server.json("/api/v1/status")["tracks"]
    check("a scan is stopped", 43 < tracks < 103, f"{tracks - 43} of 60 were analysed")
    page.expected = ["409"]
    quiet(page, "scan")
    page.expected = []
    # A page that is opened late shows the same as one opened before: 449 files more, at 125 in 20
    # s.
    runs = """window.EventSource = class {
      addEventListener(_, tell) { setTimeout(() => tell({ data: JSON.stringify({ state: "running", done: 126, total: 575, seconds: 20, summary: null, message: null }) }), 50); }
      close() {}
    }"""
    script = page.browser.call("Page.addScriptToEvaluateOnNewDocument", source=runs)["identifier"]
    page.open(server.address + "#/library")
    check(
        "how long a scan still takes is counted from its own start",
        soon(lambda: page.text(".scan p") == "126 of 575 files, about 72 s more"),
        page.text(".scan p"),
    )
    page.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    page.open(server.address)
    page.browser.events.clear()


def keyboard(page):
    """A track is found, its card opened and played without a pointer."""
    page.go("#/")
    page.until("document.querySelectorAll('.index .track').length > 5")
    page.run("document.activeElement.blur()")
    page.key("/", "/")
    page.type("nebula")
    page.until("document.querySelector('.result').innerText.startsWith('1 track')")
    page.key("Enter", "\r")
    check(
        "keyboard: Enter leads to the first one found",
        soon(lambda: page.run("document.activeElement.matches('.index .track a.words')")),
    )
    page.key("Enter", "\r")
    page.until(
        "location.hash.startsWith('#/track/') && document.querySelector('.card h2')?.innerText === 'Nebula'",
        "the card opens",
    )
    for _ in range(12):
        page.browser.call(
            "Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9
        )
        page.browser.call(
            "Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9
        )
        if page.run("document.activeElement.matches('.card .primary')"):
            break
    check(
        "keyboard: Tab reaches Play", page.run("document.activeElement.matches('.card .primary')")
    )
    page.run("document.activeElement.blur()")
    page.run("document.querySelector('.card .primary').focus()")
    page.key("Enter", "\r")
    page.plays(0.2)
    page.run("document.activeElement.blur()")
    page.key("2", "2")
    page.until("document.querySelector('.over')")
    page.run("document.querySelector('.over').focus()")
    page.key("ArrowRight")
    page.key("ArrowDown")
    check(
        "keyboard: the map is walked",
        # Beside the track that the search still finds.
        soon(lambda: page.count(".side .track") == 2 and page.text("#announcement") != ""),
        page.text("#announcement"),
    )
    page.key("Enter", "\r")
    page.until("location.hash.startsWith('#/track/')")
    page.run("document.getElementById('audio').pause()")
    page.run(
        "document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    quiet(page, "keyboard")


def sizes(page, shots, places):
    """No place is wider than its window; every control has a name and enough room for a finger or a
    pointer.
    """
    wide, cut = [], []
    ready = "!document.querySelector('#main [aria-busy]') && !document.querySelector('.skeleton')"
    for width, height, mobile in ((360, 740, True), (800, 1000, False), (1600, 1000, False)):
        page.browser.size(width, height, 1, mobile)
        for place in places:
            page.go(place)
            page.until(ready, place, 60)
            # A place is gone to once: in dark it is the same, drawn anew.
            for theme, rest in (("light", 0.5), ("dark", 0.3)):
                page.theme(theme)
                page.until(ready, place, 60)
                page.settle(rest)
                found = page.run(
                    "[document.documentElement.scrollWidth, ...[...document.querySelectorAll('.page, .detail, .scroller, .side')].map(e => e.scrollWidth - e.clientWidth + innerWidth)].reduce((a, b) => Math.max(a, b))"
                )
                if found > width:
                    wide.append(f"{place} at {width}: {found}")
                cut += page.run(
                    "[...document.querySelectorAll('#places a, #player button, .page-head *, .index-head *, .map-head > *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1).map(e => `${location.hash} at ${innerWidth}: ${e.textContent.trim()}`)"
                )
                page.picture(
                    shots
                    and shots
                    / f"{place.strip('#/').replace('/', '-') or 'listen'}-{width}-{theme}.png"
                )
    check("every place fits 360, 800 and 1600 px, light and dark", not wide, wide or "")
    check("no place, button or title leaves the window", not cut, cut[:8] or "")
    # With nothing beside it the list has the room: a title of forty letters is whole.
    page.browser.size(1400, 900)
    page.go("#/")
    page.until("document.querySelectorAll('.index .track .title').length > 5", "the list")
    page.settle(0.5)
    room = page.run(
        "(() => { const t = document.querySelector('.index .track .title'), c = document.createElement('canvas').getContext('2d'); c.font = getComputedStyle(t).font; return t.parentNode.clientWidth / c.measureText('n').width; })()"
    )
    check("titles have the room there is", room > 40, f"{room:.0f} letters")
    page.browser.size(1300, 900)
    quiet(page, "sizes")


def waiting(page, server, axe, shots):
    """While its answer is under way, a place has its title and a skeleton at once, in sight, and
    nothing for axe-core to find.
    """
    never = """(() => { const real = window.fetch; window.fetch = (address, options) => /\\/(map|genres|suspects)$/.test(new URL(address).pathname)
      ? new Promise((_, failed) => options.signal?.addEventListener("abort", () => failed(new DOMException("left", "AbortError")))) : real(address, options); })()"""
    script = page.browser.call("Page.addScriptToEvaluateOnNewDocument", source=never)["identifier"]
    page.open(server.address)
    page.until("document.querySelectorAll('.index .track').length > 5")
    for place, title in (
        ("map", "Map"),
        ("genres", "Genres"),
        ("review", "Review"),
    ):
        page.run(
            f"location.hash = '#/{place}'; new Promise(done => requestAnimationFrame(() => setTimeout(done, 250)))"
        )
        seen = page.run(
            "(() => { const [h, s] = ['#main h1', '#main .skeleton'].map(e => document.querySelector(e)?.getBoundingClientRect()); return [document.querySelector('#main h1')?.innerText, h && h.top > 0 && h.bottom < 200, s && s.top > h.bottom && s.top < 400 && s.bottom < innerHeight]; })()"
        )
        check(
            f"{place}: its title and a skeleton while it loads", seen == [title, True, True], seen
        )
        page.picture(shots and shots / f"waiting-{place}.png")
        if axe != "-":
            if not page.run("typeof axe === 'object'"):
                page.run(Path(axe).read_text(encoding="utf-8") + "; 0")
            found = page.run(
                "axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].target.join(' ')))"
            )
            check(f"{place}: axe-core finds nothing while it loads", not found, found)
    page.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    page.open(server.address)
    page.browser.events.clear()


def a_report(page, program, work, shots):
    """The report of a run in the laboratory is no wider than its window, however wide its tables
    are.
    """
    run = work / "run"
    command = [
        program,
        "--quiet",
        "lab",
        "train",
        f"folder:{DEMO / 'library'}",
        run,
        "--features",
        "mfcc40-mean",
        "--algorithm",
        "knn,forest",
    ]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    wide = []
    for width in (360, 400, 1400):
        page.browser.size(width, 900, 1, width < 500)
        page.browser.call("Page.navigate", url=f"file://{run}/report.html")
        page.settle(0.5)
        found = page.run(
            "[document.documentElement.scrollWidth, document.querySelectorAll('table').length]"
        )
        if found[0] > width or found[1] < 3:
            wide.append(f"{found} at {width}")
        page.picture(shots and shots / f"report-{width}.png")
    check("a run's report fits 360, 400 and 1400 px", not wide, wide or "")


def accessible(page, axe, places):
    if axe == "-":
        print("        axe-core is not here: accessibility is not checked")
        return
    source = Path(axe).read_text(encoding="utf-8")
    serious = []

    def look(name):
        page.until(
            "!document.querySelector('#main [aria-busy]') && !document.querySelector('.skeleton')",
            name,
            60,
        )
        page.settle(0.3)
        if not page.run("typeof axe === 'object'"):
            page.run(source + "; 0")
        for impact, rule, where in page.run(
            "axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations.map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.target.join(' ') + ' ' + (n.any[0]?.message ?? '')).join(' | ')]))"
        ):
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
        page.run(
            "document.querySelector('.card .track .after').click(); voisin.player.openQueue(true)"
        )
        look(f"queue {theme}")
        page.run("voisin.player.openQueue(false); document.getElementById('audio').pause()")
        page.go("#/map")
        page.until("document.querySelector('.over')")
        page.run("document.querySelector('.over').focus()")
        for key in ("ArrowRight", "s", "ArrowDown", "s"):
            page.key(key)
        look(f"map with a selection {theme}")
        page.run("document.querySelector('.over').focus()")
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
    script = page.browser.call("Page.addScriptToEvaluateOnNewDocument", source=MOCK)["identifier"]
    page.browser.size(1600, 1000)
    page.open(server.address + "#/map")
    page.until(
        "document.querySelector('.points')?.width > 100 && document.querySelectorAll('.swatch').length > 3",
        "the map of 20 000",
    )
    check(
        "all of it is there",
        page.run("document.querySelector('.over').getAttribute('aria-label')").startswith(
            "Map of 20,000 tracks"
        ),
    )
    milliseconds = page.run("voisin.map.measure(60)")
    least = float(os.environ.get("VOISIN_MAP_LEAST_FRAMES", "5"))
    check(
        "a map of 20 000 tracks is fluid",
        1000 / milliseconds >= least,
        f"{milliseconds:.1f} ms a frame without a graphics card, {1000 / milliseconds:.0f} a second",
    )
    page.go("#/")
    page.until("document.querySelector('.result').innerText === '20,000 tracks'")
    check(
        "a list of 20 000 has the rows in sight",
        soon(lambda: 0 < page.count(".long .track") < 60),
        page.count(".long .track"),
    )
    page.run("document.querySelector('.scroller').scrollTop = 3000 * 56")
    page.until(
        "[...document.querySelectorAll('.long .title')].some(e => /^Title 300\\d$/.test(e.innerText))",
        "far down in the list",
        30,
    )
    check("and goes on as one scrolls", soon(lambda: 0 < page.count(".long .track") < 60))
    top = page.run("document.querySelector('.scroller').scrollTop")
    page.go("#/library")
    page.until("document.querySelector('.facts.tall')", "another place")
    page.go("#/")
    check(
        "back from another place, the list is where it was",
        soon(lambda: page.run("document.querySelector('.scroller')?.scrollTop") == top),
        page.run("document.querySelector('.scroller')?.scrollTop"),
    )
    page.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    page.browser.size(1300, 900)
    page.browser.events.clear()


def troubles(page, program, server, work):
    """An answer that comes later, a server that goes and comes back, an empty library."""
    late = """(() => { const real = window.fetch; let left = 2; window.fetch = async (address, options) => new URL(address).pathname.endsWith("/genres") && left-- > 0
      ? new Response(JSON.stringify({ detail: "the index has to be built: it was made by another version", next: "ask again" }), { status: 503, headers: { "Retry-After": "1" } }) : real(address, options); })()"""
    script = page.browser.call("Page.addScriptToEvaluateOnNewDocument", source=late)["identifier"]
    page.open(server.address + "#/genres")
    page.until(
        "document.querySelector('.slow')?.innerText.includes('The index has to be built')",
        "503 is reported",
    )
    check(
        "503: the reason is shown, and the request repeated",
        soon(lambda: "Trying again in" in page.text(".slow")),
        page.text(".slow"),
    )
    page.until("document.querySelectorAll('.tree li').length > 3", "the answer comes in the end")
    page.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    page.open(server.address)
    page.until("document.querySelectorAll('.index .track').length > 5")
    page.expected = ["Failed to load resource", "ERR_CONNECTION_REFUSED", "ERR_"]
    port, music = server.port, work / "music"
    server.stop()
    page.run("voisin.request('status').catch(() => 0)")
    page.until("document.getElementById('notice')", "a lost server is reported")
    check(
        "server gone: it is reported",
        soon(lambda: "does not answer" in page.text("#notice")),
        page.text("#notice").replace("\n", " "),
    )
    again = Server(program, server.library, "--folder", music, port=port)
    page.until(
        "!document.getElementById('notice') && document.querySelectorAll('.index .track').length > 5",
        "the server is back",
        40,
    )
    check("server back: the page goes on by itself", True)
    again.stop()
    import check_drops

    trial = check_drops.Trial(page, program, server.library)
    trial.open()
    check_drops.end_of_track(trial, "the server is gone at the end of a track")
    trial.kill()
    empty = work / "empty"
    (work / "silence").mkdir()
    subprocess.run(
        [program, "--library", str(empty), "add", str(work / "silence")], capture_output=True
    )
    if empty.exists():
        nothing = Server(program, empty)
        page.open(nothing.address + "#token=" + nothing.token)
        page.until("document.querySelector('.index .empty-state')", "an empty library has a hint")
        check(
            "an empty library: what to do",
            soon(
                lambda: (
                    "voisin add" in page.text(".index .empty-state")
                    and page.count(".index .empty-state .primary") == 0
                )
            ),
            page.text(".index h2"),
        )
        for place in PLACES:
            page.go(place)
            page.until("document.querySelector('.empty-state, .facts.tall, .page')", place)
            page.settle(0.2)
        page.expected += ["409", "422", "404"]
        found = page.complaints()
        check("an empty library: every place has a text", not found, found or "")
        nothing.stop()
    else:
        check("an empty library can be made", False)


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
    for name, album in (
        ("metal/muldjord-mutilated-mime", "Mime"),
        ("folk/omri-lahav-celtica", "Celtica"),
        ("folk/omri-lahav-eastern-dreams", "Celtica"),
    ):
        with_frame(music / f"{name}.mp3", b"TALB", b"\0" + album.encode())
    began = time.time()
    subprocess.run([program, "--library", str(library), "--quiet", "add", str(music)], check=True)
    print(f"        library made in {time.time() - began:.0f} s", flush=True)
    server = Server(program, library)
    page = Page()
    only = os.environ.get("ONLY", "").split()

    def wanted(name):
        return not only or name in only

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
            ("radio", lambda: radio(page, server)),
            ("map", lambda: the_map(page, server, shots)),
            ("look", lambda: one_look(page, server, program, work, shots)),
            ("genres", lambda: the_genres(page, server, shots)),
            ("checks", lambda: the_checks(page, server, program, music, shots)),
            ("file", lambda: a_file(page, shots)),
            ("sizes", lambda: shots and sizes(page, shots, places) or sizes(page, None, places)),
            ("axe", lambda: accessible(page, axe, places)),
            ("waiting", lambda: waiting(page, server, axe, shots)),
            ("keyboard", lambda: keyboard(page)),
            ("review", lambda: the_review(page, server, program, shots)),
            ("scan", lambda: scanning(page, program, server, music)),
            ("many", lambda: many(page, server)),
            ("troubles", lambda: troubles(page, program, server, work)),
            ("report", lambda: a_report(page, program, work, shots)),
        ):
            if not wanted(name):
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
