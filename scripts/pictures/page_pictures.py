#!/usr/bin/env python3
"""Takes the screenshots of the page for README.md and docs/page.md, with the demo's music:
page_pictures.py [VOISIN]

Follows the order of docs/page.md, and writes docs/page.png and docs/page-NAME.png. Needs Debian's
chromium and pngquant.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/browser"))
from check_page import DEMO, Page, Server, with_frame  # noqa: E402

# The games that the excerpts are from, since their tags have no album.
ALBUMS = {
    "0 A.D.": [
        "folk/omri-lahav-celtica",
        "folk/omri-lahav-eastern-dreams",
        "folk/omri-lahav-tavern-in-the-mist",
    ],
    "SuperTux": ["chiptune/marek-moeckel-chipdisko", "chiptune/marek-moeckel-fortress"],
    "M.A.R.S.": ["metal/obsidian-shell-orphanage"],
    "Frets on Fire": ["metal/muldjord-chaos-god", "metal/muldjord-mutilated-mime"],
}


def main():
    program = str(
        Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/voisin").resolve()
    )
    work = Path(tempfile.mkdtemp(prefix="voisin-page-"))
    library, music = work / "library", work / "Music"
    shutil.copytree(DEMO / "library", music)
    for album, names in ALBUMS.items():
        for name in names:
            with_frame(music / f"{name}.mp3", b"TALB", b"\0" + album.encode())
    subprocess.run([program, "--library", str(library), "--quiet", "add", str(music)], check=True)
    server, page = Server(program, library), Page()

    def ready(place, sign):
        page.go(place)
        page.until(sign, place)
        page.settle(1.5)

    def shoot(name, theme="light", width=1280, height=760):
        page.browser.size(width, height, 1, width < 500)
        page.run(
            f"if (document.documentElement.dataset.theme !== '{theme}') document.getElementById('theme').click()"
        )
        page.run("document.querySelectorAll('.toast').forEach(toast => toast.remove())")
        page.settle(0.8)
        file = ROOT / "docs" / f"page{name and '-' + name}.png"
        page.browser.picture(file)
        subprocess.run(
            ["pngquant", "--force", "--strip", "--speed", "1", "--output", file, "128", file],
            check=True,
        )

    def hold():
        page.run("document.getElementById('audio').pause(); document.activeElement.blur()")

    try:
        page.browser.size(1280, 760)
        page.open(server.address)
        page.until("document.getElementById('sign-in').open")
        shoot("sign-in", height=560)
        page.open(server.address + "#token=" + server.token)
        page.until("document.querySelectorAll('.index .track').length > 5")
        page.run("document.getElementById('search').focus()")
        page.type("muld")
        page.until("document.querySelector('.result').innerText.startsWith('4 tracks')")
        shoot("search", height=560)
        page.run(
            "document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))"
        )
        page.until("document.querySelector('.result').innerText === '43 tracks'")
        track = server.json("/api/v1/tracks?query=celtica")["tracks"][0]
        ready(
            f"#/track/{track['id']}",
            "document.querySelector('.answer') && document.querySelectorAll('.card .share').length > 5",
        )
        page.click(".card .primary")
        page.plays(4)
        hold()
        shoot("")
        shoot("phone", "dark", 360, 740)
        page.run("document.getElementById('now-open').click()")
        shoot("now", "dark", 360, 740)
        page.run("document.getElementById('now').close()")
        page.browser.size(1280, 760)
        ready(f"#/track/{track['id']}", "document.querySelector('.card .primary')")
        page.run("voisin.player.play([{ track: voisin.player.current().track }])")
        page.run("document.getElementById('queue').click()")
        page.click("#radio")
        page.until("voisin.player.upcoming().length > 3", "a radio")
        page.plays(3)
        hold()
        shoot("radio", "dark")
        page.open(server.address)
        page.until("window.voisin?.player.current()", "the restored queue")
        page.run("document.getElementById('queue').click()")
        page.settle(1)
        shoot("reload", "dark")
        page.run("document.getElementById('queue').click()")
        ready("#/albums", "document.querySelectorAll('.albums li').length === 4")
        shoot("grid", height=560)
        page.run(
            "[...document.querySelectorAll('.albums a')].find(link => link.textContent.startsWith('Frets')).click()"
        )
        page.until("document.querySelectorAll('.albums-page .columns .track').length > 1")
        shoot("album")
        ready(
            "#/artists/" + "Muldjord",
            "document.querySelectorAll('.own-tracks > li').length > 3 && document.querySelectorAll('.albums-page .columns .track').length > 3",
        )
        shoot("artist", "dark")
        ready("#/", "document.querySelectorAll('.index .track').length > 5")
        page.click(".filters summary")
        page.until("document.querySelectorAll('#known-genres option').length === 6")
        for name, value in (("genre", "metal, folk"), ("bpm", "90-140")):
            page.run(
                f"(() => {{ const f = document.querySelector('.filters [name={name}]'); f.value = '{value}'; f.dispatchEvent(new Event('change')); }})()"
            )
        page.settle(1)
        shoot("filters", "dark")
        page.run(
            "[...document.querySelectorAll('.filters button')].at(-1).click(); document.querySelector('.filters').open = false"
        )
        ready("#/map", "document.querySelectorAll('.swatch').length > 3")
        box = page.run(
            "(() => { const b = document.querySelector('.over').getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })()"
        )
        middle = (box[0] + box[2]) / 2
        page.click(".map-head .switch:nth-of-type(2)")
        page.drag(
            (box[0] + 4, box[1] + 4),
            (middle, box[1] + 4),
            (middle, box[3] - 4),
            (box[0] + 4, box[3] - 4),
        )
        shoot("map", "dark")
        page.click("#lasso-list")
        ready("#/genres/Metal", "document.querySelectorAll('.tree li').length > 3")
        shoot("genres")
        ready("#/list", "document.querySelectorAll('.slot').length > 3")
        page.run("document.querySelectorAll('.slot .lock')[2].click()")
        page.run("document.querySelector('[data-focus=path]').click()")
        page.click("#fill")
        page.until("/^\\d+ tracks/.test(document.getElementById('fill-note').innerText)")
        page.run("document.activeElement.blur()")
        shoot("list")
        copy = work / "Downloads/chaos-god (copy).mp3"
        copy.parent.mkdir()
        shutil.copy(music / "metal/muldjord-chaos-god.mp3", copy)
        subprocess.run(
            [program, "--library", str(library), "--quiet", "add", str(copy)], check=True
        )
        ready("#/library/copies", "document.querySelectorAll('.checks .track').length === 2")
        # Without the path of this checkout.
        page.run(
            "document.querySelectorAll('.checks *').forEach(line => { if (!line.children.length) line.textContent = "
            f"line.textContent.replace('{work}', '/home/me'); }})"
        )
        shoot("copies", height=560)
        ready(f"#/track/{track['id']}", "document.querySelectorAll('.card .share').length > 5")
        for wish in ("Livelier", "More guitar"):
            page.run(
                f"[...document.querySelectorAll('.knobs button')].find(b => b.textContent === '{wish}').click()"
            )
        page.until(
            "document.querySelector('.knobs ~ div [role=status]')?.innerText.includes('guitar')"
        )
        page.run(
            "document.querySelector('.knobs').scrollIntoView({ block: 'center' }); document.activeElement.blur()"
        )
        shoot("knobs")
    finally:
        page.browser.close()
        server.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
