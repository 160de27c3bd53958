#!/usr/bin/env python3
"""The pictures of the page in README.md and docs/page.md, from the demo's music: page_pictures.py [VOISIN]

Writes docs/page.png, and docs/page-NAME.png for map, list, phone, genres and copies. Needs chromium.
"""
import shutil, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/browser"))
from check_page import DEMO, Page, Server  # noqa: E402


def main():
    program = str(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/voisin").resolve())
    work = Path(tempfile.mkdtemp(prefix="voisin-page-"))
    library = work / "library"
    subprocess.run([program, "--library", str(library), "--quiet", "add", str(DEMO / "library")], check=True)
    server, page = Server(program, library), Page()

    def ready(place, sign):
        page.go(place)
        page.until(sign, place)
        page.settle(1.5)

    def shoot(name, theme, width=1280, height=800):
        page.browser.size(width, height, 1, width < 500)
        page.run(f"if (document.documentElement.dataset.theme !== '{theme}') document.getElementById('theme').click()")
        page.settle(0.8)
        page.browser.picture(ROOT / "docs" / name)

    try:
        page.browser.size(1280, 800)
        page.open(server.address + "#token=" + server.token)
        track = server.json("/api/v1/tracks?query=celtica")["tracks"][0]
        ready(f"#/track/{track['id']}", "document.querySelector('.answer') && document.querySelectorAll('.card .share').length > 5")
        page.run("document.querySelector('.card .primary').click()")
        page.plays(4)
        page.run("document.getElementById('audio').pause(); document.activeElement.blur()")
        shoot("page.png", "light")
        shoot("page-phone.png", "dark", 360, 740)
        page.browser.size(1280, 800)
        ready("#/map", "document.querySelectorAll('.swatch').length > 3")
        box = page.run("(() => { const b = document.querySelector('.over').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })()")
        middle = (box[0] + box[2]) / 2
        page.click(".map-head .switch:nth-of-type(2)")
        page.drag((box[0] + 4, box[1] + 4), (middle, box[1] + 4), (middle, box[3] - 4), (box[0] + 4, box[3] - 4))
        shoot("page-map.png", "dark")
        page.click("#lasso-list")
        page.run("document.querySelector('.toast button:last-child')?.click()")
        ready("#/list", "document.querySelectorAll('.slot').length > 3")
        page.run("document.querySelectorAll('.slot .lock')[2].click()")
        page.run("document.querySelector('[data-focus=path]').click()")
        page.click("#fill")
        page.until("/^\\d+ tracks/.test(document.getElementById('fill-note').innerText)")
        page.run("document.activeElement.blur()")
        shoot("page-list.png", "light")
        ready("#/genres/Metal", "document.querySelectorAll('.tree li').length > 3")
        shoot("page-genres.png", "light")
        shutil.copy(DEMO / "library/metal/muldjord-chaos-god.mp3", work / "chaos-god (copy).mp3")
        subprocess.run([program, "--library", str(library), "--quiet", "add", str(work / "chaos-god (copy).mp3")], check=True)
        ready("#/library/copies", "document.querySelectorAll('.checks .track').length === 2")
        # Where this checkout lies is nobody's business.
        page.run("document.querySelectorAll('.checks *').forEach(line => { if (!line.children.length) line.textContent = "
                 f"line.textContent.replace('{DEMO / 'library'}', '/home/me/Music').replace('{work}', '/home/me/Downloads'); }})")
        shoot("page-copies.png", "dark", 1280, 560)
    finally:
        page.browser.close()
        server.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
