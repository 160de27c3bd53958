#!/usr/bin/env python3
"""Drives the HTML map in a headless Chromium: check_map.py SMALL.html BIG.html [SCREENSHOT_FOLDER]

Needs Python's standard library and Debian's chromium only: it uses the DevTools protocol through
a pipe. SMALL.html has 300 tracks or more, with hostile names; BIG.html has 100 000. Prints one line
per check, and exits with 1 if one fails.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Browser:
    def __init__(self, extra):
        self.folder = tempfile.mkdtemp(prefix="voisin-browser-")
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()
        # The protocol's pipe is descriptors 3 and 4 of the child; high numbers first, so that
        # neither is overwritten.
        source, sink = os.dup(to_read), os.dup(to_write)
        import fcntl

        source, sink = (
            fcntl.fcntl(d, fcntl.F_DUPFD, 20) for d in (source, sink)
        )  # not inherited beyond dup2's copies

        def descriptors():
            os.dup2(source, 3)
            os.dup2(sink, 4)

        command = [
            "chromium",
            *FLAGS,
            *extra,
            f"--user-data-dir={self.folder}/profile",
            "about:blank",
        ]
        self.process = subprocess.Popen(
            command,
            preexec_fn=descriptors,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for d in (to_read, to_write, source, sink):
            os.close(d)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        page = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"][0]
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=self.folder,
            eventsEnabled=True,
        )

    def receive(self, wait):
        while b"\0" not in self.rest:
            if not select.select([self.back], [], [], wait)[0]:
                return None
            part = os.read(self.back, 1 << 20)
            if not part:
                raise RuntimeError("the browser has gone")
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        end = time.time() + 180
        while time.time() < end:
            answer = self.receive(end - time.time())
            if answer is None:
                break
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)
        raise RuntimeError(f"{method}: no answer")

    def run(self, script):
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, page, fragment=""):
        self.events.clear()
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url="file://" + os.path.abspath(page) + fragment)
        end = time.time() + 120
        while time.time() < end:
            if self.run("document.readyState === 'complete' && typeof voisinMap === 'object'"):
                return
            time.sleep(0.1)
        raise RuntimeError("the page does not come up: " + str(self.complaints()))

    def settle(self, seconds=0.4):
        self.run(f"new Promise(done => setTimeout(done, {seconds * 1000}))")

    def mouse(self, kind, x, y, **more):
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            **({"button": "left", "clickCount": 1} | more),
        )

    def key(self, key, text=""):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self):
        """Console errors, exceptions, policy violations, and requests beyond the page itself."""
        out = []
        for event in self.events:
            method, p = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                out.append(
                    p["exceptionDetails"].get("exception", {}).get("description", "exception")
                )
            elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "assert"):
                out.append(str(p["args"]))
            elif method == "Log.entryAdded" and p["entry"]["level"] == "error":
                out.append(p["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                url = p["request"]["url"]
                if not url.startswith(("data:", "blob:", "about:")) and p.get("type") != "Document":
                    out.append("request " + url[:200])
        return out

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def size(self, width, height, ratio=1, mobile=False):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=mobile,
        )

    def close(self):
        try:
            self.call("Browser.close")
        except (RuntimeError, OSError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


failed = 0


def check(what, holds, detail=""):
    global failed
    failed += not holds
    print(
        ("ok      " if holds else "FAILED  ") + what + (f": {detail}" if detail != "" else ""),
        flush=True,
    )


def beside(browser, selector):
    """The texts of these elements beside the map."""
    return browser.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
    )


def a_track(browser, shots):
    """A click chooses the track under it, and its neighbours can be walked to."""
    i = 20
    x, y = browser.run(f"voisinMap.map.toScreen({i})")
    box = browser.run(
        "(() => { const b = document.querySelector('.stage').getBoundingClientRect(); return [b.left, b.top]; })()"
    )
    x, y = x + box[0], y + box[1]
    before = browser.run("document.querySelector('.over').toDataURL()")
    browser.mouse("mouseMoved", x, y, button="none")
    browser.settle(0.2)
    tip = beside(browser, ".tip:not([hidden]) > *")
    check("hover shows the track and its cluster", len(tip) == 3 and "cluster" in tip[2], tip)
    for kind in ("mousePressed", "mouseReleased"):
        browser.mouse(kind, x, y)
    browser.settle()
    chosen = browser.run("voisinMap.map.selected")
    near = browser.run(
        f"Math.hypot(...[0, 1].map(d => voisinMap.map.toScreen({i})[d] - voisinMap.map.toScreen({chosen})[d]))"
    )
    check("a click chooses the track under it", chosen >= 0 and near < 3, f"{near:.1f} px away")
    listed = browser.run("document.querySelectorAll('#neighbours button').length")
    check(
        "its neighbours are listed and drawn",
        listed >= 5 and before != browser.run("document.querySelector('.over').toDataURL()"),
        listed,
    )
    if shots:
        browser.picture(f"{shots}/chosen.png")
    browser.run("document.querySelector('#neighbours button').click()")
    browser.settle()
    check("a neighbour can be walked to", browser.run("voisinMap.map.selected") != chosen)


def a_lasso(browser):
    """What a lasso takes is saved as M3U8; a hostile name adds no line."""
    left, right, top, bottom = 250, 620, 150, 700
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    browser.run("document.querySelector('.map-head .switch').click()")
    browser.mouse("mousePressed", *corners[0])
    for a, b in zip(corners, corners[1:] + corners[:1], strict=False):
        for t in range(1, 9):
            browser.mouse(
                "mouseMoved", a[0] + (b[0] - a[0]) * t / 8, a[1] + (b[1] - a[1]) * t / 8, buttons=1
            )
    browser.mouse("mouseReleased", *corners[0])
    browser.settle()
    inside = browser.run(
        f"(() => {{ const b = document.querySelector('.stage').getBoundingClientRect(); return voisinMap.map.filter(i => {{ const [x, y] = voisinMap.map.toScreen(i); return x + b.left > {left} && x + b.left < {right} && y + b.top > {top} && y + b.top < {bottom}; }}); }})()"
    )
    taken = browser.run("[...voisinMap.map.chosen]")
    check("the lasso takes the tracks inside it", taken == inside and len(inside) > 10, len(taken))
    browser.run("document.getElementById('save').click()")
    saved = os.path.join(browser.folder, "selection.m3u8")
    end = time.time() + 10
    while time.time() < end and not os.path.exists(saved):
        browser.settle(0.2)
    with open(saved, encoding="utf-8") as file:
        lines = file.read().splitlines()
    pairs = list(zip(lines[1::2], lines[2::2], strict=False))
    check(
        "the playlist has two lines per track",
        lines[0] == "#EXTM3U"
        and len(lines) == 1 + 2 * len(taken)
        and all(a.startswith("#EXTINF:") and not b.startswith("#") for a, b in pairs),
        f"{len(lines)} lines",
    )


def small_page(browser, page, shots):
    browser.size(1300, 850)
    browser.open(page)
    browser.settle()
    check(
        "loads without complaint or request", not browser.complaints(), browser.complaints() or ""
    )
    if shots:
        browser.picture(f"{shots}/light.png")
    browser.run("document.getElementById('search').focus()")
    browser.call("Input.insertText", text="TITLE 177")
    names = beside(browser, ".chosen li span")
    check("search finds", len(names) == 1 and names[0].endswith("Title 177"), names)
    said = browser.run("document.getElementById('status').textContent")
    check("search is announced to screen readers", said == "1 selected", said)
    browser.run("voisinMap.seek('')")
    a_track(browser, shots)
    browser.run("document.querySelector('.legend button').click()")
    check(
        "the legend hides a category",
        browser.run("voisinMap.map.hidden.size") == 1
        and browser.run("document.querySelector('.legend button').ariaPressed") == "false",
    )
    browser.run("document.querySelector('.legend button').click()")
    a_lasso(browser)
    browser.run("document.querySelector('.over').focus()")
    scale = browser.run("voisinMap.map.view.scale")
    browser.key("+", "+")
    check("keys zoom", browser.run("voisinMap.map.view.scale") > scale)
    at = browser.run("voisinMap.map.selected")
    browser.key("ArrowRight")
    check("keys go from track to track", browser.run("voisinMap.map.selected") != at)
    browser.run("voisinMap.select(5)")
    check(
        "hostile names run nothing",
        browser.run("window.pwned === undefined && !document.querySelector('.map img')"),
        beside(browser, "#track h2"),
    )
    ways = browser.run("[...document.querySelector('select').options].map(o => o.value)")
    for way in ways:
        browser.run(f"voisinMap.recolour('{way}')")
    check(
        "every way to colour works",
        sorted(ways) == ["artist", "cluster", "genre", "predicted", "year"]
        and not browser.complaints(),
        browser.complaints() or ways,
    )
    browser.size(390, 800, 2, True)
    browser.settle()
    wide = browser.run("document.documentElement.scrollWidth")
    stage = browser.run("document.querySelector('.stage').getBoundingClientRect().height")
    check(
        "a phone's width",
        wide <= 390 and 190 < stage < 700,
        f"{wide} px wide, map {stage:.0f} px high",
    )
    if shots:
        browser.picture(f"{shots}/phone.png")


def big_page(browser, page, shots):
    browser.size(1600, 1000)
    began = time.time()
    browser.open(page)
    browser.settle()
    loaded = time.time() - began
    tracks = browser.run("voisinMap.n")
    milliseconds = browser.run("voisinMap.map.measure(60)")
    check(
        f"{tracks} tracks",
        tracks >= 100_000 and not browser.complaints(),
        f"{milliseconds:.1f} ms a frame ({1000 / milliseconds:.0f} frames/s), open in {loaded:.1f} s",
    )
    began = browser.run("performance.now()")
    browser.run("voisinMap.seek('title 999')")
    print(f"        search {browser.run('performance.now()') - began:.0f} ms")
    if shots:
        browser.picture(f"{shots}/big.png")
    least = float(os.environ.get("VOISIN_MAP_LEAST_FRAMES", "0"))
    check(
        "it is drawn fast enough",
        1000 / milliseconds >= least,
        f"at least {least:.0f} frames/s expected",
    )


def main():
    small, big, *rest = sys.argv[1:]
    shots = rest[0] if rest else None
    if not shutil.which("chromium"):
        print("skipped: no chromium")
        return
    # The map needs no graphics card.
    browser = Browser(["--disable-gpu", "--disable-3d-apis"])
    try:
        print(browser.call("Browser.getVersion")["product"])
        small_page(browser, small, shots)
        big_page(browser, big, shots)
    finally:
        browser.close()
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
