#!/usr/bin/env python3
"""How soon the page shows music on a slow connection: check_slow.py VOISIN [LIBRARY]

A telephone's network of 50 kB/s with 400 ms to each answer, as Chromium's developer tools make one,
for a browser that is signed in: seconds from the navigation to the first row of Listen and the
first cover of Home, without anything in the browser's cache and again with it. Of LIBRARY, or of
the music in data/demo. Prints one line a check, and exits with 1 if the first visit takes over
2.5 s, or a later one over 1 s. Where the page's modules are not one file (scripts/bundle_page), a
later visit may take 1.5 s, and the first one has no bound.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import check_map
from check_map import check
from check_page import DEMO, Page, Server

BYTES_A_SECOND, LATENCY = 50_000, 400
FIRST, AGAIN, AGAIN_BY_MODULES = 2.5, 1.0, 1.5
SIGNS = {"#/": ".index .track .words"}

# The moment at which an element is there, since the navigation began.
WATCH = """new MutationObserver((_, observer) => {
  if (!document.querySelector('SELECTOR')?.innerText.trim()) return;
  observer.disconnect();
  requestAnimationFrame(() => { window.shown = performance.now(); });
}).observe(document, { subtree: true, childList: true });"""


def check_place(page, address, place, is_bundled):
    script = page.browser.call(
        "Page.addScriptToEvaluateOnNewDocument", source=WATCH.replace("SELECTOR", SIGNS[place])
    )["identifier"]
    page.browser.call("Network.clearBrowserCache")
    again = AGAIN if is_bundled else AGAIN_BY_MODULES
    for visit, most in ("first", FIRST), ("again", again), ("a third time", again):
        page.browser.call("Page.navigate", url="about:blank")
        page.browser.events.clear()
        page.browser.call("Page.navigate", url=address + place)
        page.until("window.shown", f"{place} is shown")
        seconds = page.run("window.shown") / 1000
        page.settle(3)
        found = f"{seconds:.2f} s, {len(page.requests())} requests"
        if visit == "first" and not is_bundled:
            print(f"        {place}, {visit}, module by module: {found}", flush=True)
        else:
            check(f"{place}, {visit}: at most {most} s", seconds <= most, found)
    page.browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def main():
    program, *rest = sys.argv[1:]
    program = str(Path(program).resolve())
    work = Path(tempfile.mkdtemp(prefix="voisin-slow-"))
    library = Path(rest[0]) if rest else work / "library"
    if not rest:
        music = str(DEMO / "library")
        subprocess.run([program, "--library", str(library), "--quiet", "add", music], check=True)
    server, page = Server(program, library), Page()
    try:
        page.browser.size(360, 740, mobile=True)
        page.open(server.address + "#token=" + server.token)
        for place, sign in SIGNS.items():
            page.go(place)
            page.until(f"document.querySelector('{sign}')", place)
        is_bundled = b"modulepreload" not in server.get("/")[2]
        page.browser.call(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=LATENCY,
            downloadThroughput=BYTES_A_SECOND,
            uploadThroughput=BYTES_A_SECOND,
        )
        for place in SIGNS:
            check_place(page, server.address, place, is_bundled)
    finally:
        page.browser.close()
        server.process.kill()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(check_map.failed > 0)


if __name__ == "__main__":
    main()
