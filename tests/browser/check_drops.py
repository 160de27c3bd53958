#!/usr/bin/env python3
"""Takes the server away from the page that plays, and gives it back: check_drops.py VOISIN [MOMENT
...]

At more than twenty moments: before a track plays and in its middle, while it is sought in, between
two tracks, paused, by a kill, without a network, behind a proxy that has no server or swallows all.
Each time the page has to go on by itself, where it was, within two seconds. VOISIN is the program;
the server, the browser and the music are real. Prints one line per check, and exits with 1 if one
fails. check_page.py does one of them.
"""

import array
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave
from pathlib import Path

import check_map
from check_map import check
from check_page import DEMO, Page, Server, soon

# Seconds from the server's return to music, at most.
LATE = 2.0
AUDIO = "document.getElementById('audio')"


class Proxy:
    """Stands before a server: passes all on, answers 502 in its place, or swallows whatever comes,
    as a dead network does.
    """

    def __init__(self, port):
        self.behind, self.mode, self.open = port, "pass", []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def become(self, mode):
        """Connections that a network has swallowed stay dead; those of a proxy that has lost its
        server are closed.
        """
        self.mode = mode
        if mode == "502":
            for one in self.open:
                for end in one["ends"]:
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
        if mode == "swallow":
            for one in self.open:
                one["dead"] = True
        self.open = [] if mode != "pass" else self.open

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        if self.mode == "502":
            client.recv(1 << 16)
            client.sendall(
                b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\nConnection: close\r\n\r\n502"
            )
            client.close()
            return
        one = {"ends": [client], "dead": self.mode == "swallow"}
        self.open.append(one)
        if one["dead"]:
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.behind))
        except OSError:
            client.close()
            return
        one["ends"].append(server)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self.pump, args=(one, source, sink), daemon=True).start()

    def pump(self, one, source, sink):
        try:
            while part := source.recv(1 << 14):
                if one["dead"]:
                    return
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Trial:
    """A page that plays, and a server that comes and goes."""

    def __init__(self, page, program, library, port=0, late=LATE):
        self.page, self.program, self.library, self.late = page, program, library, late
        self.server = Server(program, library, port=port)
        self.port = self.server.port
        tracks = self.server.json("/api/v1/tracks?limit=100")["tracks"]
        self.tracks = sorted(tracks, key=lambda track: -track["seconds"])

    def kill(self):
        self.server.process.kill()
        self.server.process.wait(10)

    def start(self):
        self.server = Server(self.program, self.library, port=self.port)

    def open(self, port=None):
        self.page.expected = [""]
        self.page.open(f"http://127.0.0.1:{port or self.port}/#token={self.server.token}")
        self.page.until(
            "document.querySelectorAll('.index .track').length > 2", "the tracks are listed"
        )
        self.page.run(f"voisin.player.play([]); {AUDIO}.pause(); localStorage.clear()")

    def play(self, *which, at=0):
        """Plays the longest tracks, by their place; the first one from `at` on."""
        wanted = ", ".join(
            f"{{ track: {{ id: {self.tracks[i]['id']}, title: 'T{i}', seconds: {self.tracks[i]['seconds']} }} }}"
            for i in which
        )
        self.page.run(f"voisin.player.play([{wanted}])")
        self.page.plays(0.2)
        if at:
            self.seek(at)
            self.page.until(
                f"{AUDIO}.currentTime > {at} + 0.2 && !{AUDIO}.seeking", "the place that is sought"
            )

    def seek(self, to):
        self.page.run(
            f"(() => {{ const s = document.getElementById('seek'); s.value = {to}; s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); }})()"
        )

    def place(self):
        return self.page.run(f"{AUDIO}.currentTime")

    def title(self):
        return self.page.text("#now-title")

    def stuck(self, seconds=40):
        """Waits until what was loaded has been played."""
        self.page.until(f"{AUDIO}.error || {AUDIO}.readyState < 3", "the music stops", seconds)

    def state(self):
        return self.page.run(
            f"(() => {{ const a = {AUDIO}; return `${{a.currentTime.toFixed(1)}} s, ${{a.paused ? 'paused' : 'on'}}, ${{a.error?.message ?? 'no error'}}, ready ${{a.readyState}}, ${{document.getElementById('play').innerText}}`; }})()"
        )

    def goes_on(self, what, title, least, most=None, since=None):
        """The track sounds, from where it should, soon after the server is back, and Play is not
        dead.
        """
        since = since or time.time()
        try:
            self.page.until(
                f"!{AUDIO}.paused && !{AUDIO}.error && {AUDIO}.readyState > 2 && {AUDIO}.currentTime > {least} + 0.05 && document.getElementById('now-title').innerText === '{title}'",
                what,
                15,
            )
        except RuntimeError:
            check(what, False, f"{self.title()}: {self.state()}")
            return
        took, place = time.time() - since, self.place()
        most = most or least + took + 1.5
        check(
            f"{what}: it continues by itself",
            took <= self.late and place <= most,
            f"after {took:.1f} s, {title} at {place:.1f} s, expected {least:.1f} to {most:.1f} s",
        )
        self.page.click("#play")
        paused = soon(lambda: self.page.run(f"{AUDIO}.paused"), 3)
        place = self.place()
        self.page.click("#play")
        check(
            f"{what}: Play pauses and plays",
            paused and soon(lambda: self.place() > place, 5),
            self.state(),
        )

    def rests(self, what, place):
        """It stays paused at its position, and continues when Play is pressed."""
        self.page.settle(3)
        check(
            f"{what}: it stays paused",
            self.page.run(f"{AUDIO}.paused") and self.page.text("#play").strip() == "Play",
            self.state(),
        )
        since = time.time()
        self.page.click("#play")
        self.goes_on(f"{what}, Play", self.title(), place, since=since)


def before_play(t, what):
    t.kill()
    t.page.run("document.querySelector('.index .play-cover').click()")
    title = t.title()
    t.page.settle(2)
    t.start()
    t.goes_on(what, title, 0)


def during_load(t, what):
    t.page.run(
        f"voisin.player.play([{{ track: {{ id: {t.tracks[0]['id']}, title: 'T0', seconds: 90 }} }}])"
    )
    t.kill()
    t.page.settle(2)
    t.start()
    t.goes_on(what, "T0", 0, 5)


def first_second(t, what):
    t.play(0)
    t.kill()
    t.stuck(60)
    place = t.place()
    t.start()
    t.goes_on(what, "T0", place)


def middle_short(t, what):
    t.play(0, at=30)
    place, began = t.place(), time.time()
    t.kill()
    t.page.settle(4)
    t.start()
    t.page.settle(20)
    passed = time.time() - began
    # It had enough to play meanwhile, or nearly.
    check(
        f"{what}: it plays through",
        t.place() - place > passed - 6,
        f"{t.place() - place:.1f} of {passed:.1f} s",
    )
    t.goes_on(what, "T0", t.place())


def middle_long(t, what):
    t.play(0, at=30)
    t.kill()
    t.stuck()
    t.page.settle(3)
    place = t.place()
    t.start()
    t.goes_on(what, "T0", max(place, 30))


def sought_while_gone(t, what):
    t.play(0)
    t.kill()
    t.seek(70)
    t.page.settle(6)
    t.start()
    t.goes_on(what, "T0", 70)


def sought_then_gone(t, what):
    t.play(0)
    t.seek(70)
    t.kill()
    t.page.settle(4)
    t.start()
    t.goes_on(what, "T0", 70)


def sought_twice(t, what):
    t.play(0)
    t.kill()
    t.seek(70)
    t.page.settle(3)
    t.seek(50)
    t.page.settle(3)
    t.start()
    t.goes_on(what, "T0", 50)


def end_of_track(t, what, at=3):
    t.play(2, 0)
    t.seek(t.tracks[2]["seconds"] - at)
    t.page.settle(0.3)
    t.kill()
    t.page.until("document.getElementById('now-title').innerText === 'T0'", "the next track")
    t.page.settle(3)
    t.start()
    # The next track was loaded ahead: it may have sounded since.
    t.goes_on(what, "T0", 0, 8)


def in_the_gap(t, what):
    t.play(2, 0)
    t.page.run(
        f"window.gap = new Promise(done => {AUDIO}.addEventListener('ended', done, {{ once: true }})); 0"
    )
    t.seek(t.tracks[2]["seconds"] - 1)
    t.page.run("gap.then(() => 0)")
    t.kill()
    t.page.settle(2)
    place = t.place()
    t.start()
    t.goes_on(what, "T0", place, place + 15)


def next_pressed(t, what):
    t.play(0, 1)
    t.kill()
    t.page.click("#next")
    t.page.settle(3)
    t.start()
    t.goes_on(what, "T1", 0)


def other_chosen(t, what):
    t.play(0, 1, at=20)
    t.kill()
    t.seek(60)
    t.page.settle(2)
    t.page.click("#next")
    t.page.settle(2)
    t.start()
    t.goes_on(what, "T1", 0)


def paused(t, what):
    t.play(0, at=30)
    t.page.click("#play")
    place = t.place()
    t.kill()
    t.page.settle(4)
    t.start()
    t.rests(what, place)


def play_while_gone(t, what):
    t.play(0, at=30)
    t.page.click("#play")
    t.kill()
    t.seek(70)
    t.page.settle(2)
    t.page.click("#play")
    check(
        f"{what}: Play is not silent",
        soon(lambda: "does not answer" in t.page.text("#toasts") + t.page.text("#notice")),
        t.state(),
    )
    check(
        f"{what}: the button shows that it waits",
        soon(lambda: t.page.run("document.getElementById('play').ariaBusy") == "true"),
        t.state(),
    )
    t.page.settle(4)
    t.start()
    t.goes_on(what, "T0", 70)


def paused_while_gone(t, what):
    t.play(0)
    t.kill()
    t.seek(70)
    t.page.settle(4)
    t.page.click("#play")
    t.page.settle(2)
    t.start()
    t.rests(what, 70)


def twice(t, what):
    t.play(0)
    t.kill()
    t.seek(70)
    t.page.settle(3)
    t.start()
    t.page.settle(0.4)
    t.kill()
    t.page.settle(3)
    place = max(70, t.place())
    t.start()
    t.goes_on(what, "T0", place)


def many_times(t, what):
    t.play(0)
    t.seek(60)
    for _ in range(4):
        t.kill()
        t.page.settle(1.2)
        t.start()
        t.page.settle(2.5)
    t.goes_on(what, "T0", max(60, t.place()), 90)


def offline(t, what):
    t.play(0)

    def network(off):
        return t.page.browser.call(
            "Network.emulateNetworkConditions",
            offline=off,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    network(True)
    t.seek(70)
    t.page.settle(6)
    network(False)
    t.goes_on(what, "T0", 70)


def offline_and_paused(t, what):
    t.play(0, at=30)
    t.page.click("#play")
    place = t.place()

    def network(off):
        return t.page.browser.call(
            "Network.emulateNetworkConditions",
            offline=off,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    network(True)
    t.page.settle(4)
    network(False)
    t.rests(what, place)


def frozen(t, what):
    """The lid is closed: the page stands still while the server is started anew."""
    t.play(0)
    t.seek(70)
    t.page.browser.call("Page.setWebLifecycleState", state="frozen")
    t.kill()
    time.sleep(3)
    t.start()
    t.page.browser.call("Page.setWebLifecycleState", state="active")
    t.goes_on(what, "T0", 70, 80)


def behind_a_proxy(mode, seek):
    def moment(t, what):
        proxy = Proxy(t.port)
        t.open(proxy.port)
        t.play(0, 1)
        proxy.become(mode)
        if seek:
            t.seek(70)
        else:
            t.page.click("#next")
        t.page.settle(8)
        proxy.become("pass")
        t.goes_on(what, "T0" if seek else "T1", 70 if seek else 0)
        t.page.run(f"voisin.player.play([]); {AUDIO}.pause()")

    return moment


def once_more(t, what):
    """One track again and again."""
    t.play(2)
    t.page.run("localStorage.setItem('voisin-repeat', '\"one\"')")
    t.open()
    t.play(2)
    t.seek(t.tracks[2]["seconds"] - 2)
    t.page.settle(0.3)
    t.kill()
    t.page.settle(5)
    t.start()
    # The browser has its beginning, and may play that meanwhile.
    t.goes_on(what, "T2", 0, 15)


def radio(t, what):
    """The continuation is requested while the server is gone."""
    t.page.run("localStorage.setItem('voisin-go-on', 'false')")
    t.play(2)
    t.seek(t.tracks[2]["seconds"] - 6)
    t.page.settle(0.3)
    t.page.key("q", "q")
    t.page.until("document.getElementById('radio')")
    t.kill()
    t.page.click("#radio")
    t.page.key("Escape")
    t.page.settle(9)
    t.start()
    since = time.time()
    t.page.until("voisin.player.current()?.track.title !== 'T2'", "another track", 15)
    t.goes_on(what, t.title(), 0, since=since)
    t.page.run("voisin.player.play([]); document.getElementById('audio').pause()")


def refused(t, what):
    """A browser that refuses autoplay: the message names the button, which works."""
    page = Page(autoplay=False)
    try:
        other = Trial.__new__(Trial)
        other.__dict__.update(t.__dict__, page=page)
        other.open()
        page.run(
            f"voisin.player.play([{{ track: {{ id: {t.tracks[0]['id']}, title: 'T0', seconds: 90 }} }}])"
        )
        check(
            f"{what}: it is reported",
            soon(lambda: "press of Play" in page.text("#toasts")),
            page.text("#toasts"),
        )
        other.rests(what, 0)
    finally:
        page.browser.close()


MOMENTS = {
    "before a track plays": before_play,
    "while it is loaded": during_load,
    "in its first second": first_second,
    "in its middle, for a moment": middle_short,
    "in its middle, for long": middle_long,
    "sought while gone": sought_while_gone,
    "gone while it is sought": sought_then_gone,
    "sought twice while gone": sought_twice,
    "at its end": end_of_track,
    "between two tracks": in_the_gap,
    "next while gone": next_pressed,
    "another one chosen while gone": other_chosen,
    "paused": paused,
    "Play while gone": play_while_gone,
    "paused while gone": paused_while_gone,
    "twice in a row": twice,
    "four times": many_times,
    "no network": offline,
    "no network, paused": offline_and_paused,
    "the lid closed": frozen,
    "a proxy answers 502, sought": behind_a_proxy("502", True),
    "a proxy answers 502, next": behind_a_proxy("502", False),
    "a network swallows all, sought": behind_a_proxy("swallow", True),
    "a network swallows all, next": behind_a_proxy("swallow", False),
    "repeat one": once_more,
    "radio": radio,
    "autoplay refused": refused,
}


def tone(path, seconds, pitch):
    """So large a file that a browser does not load it at once."""
    rate = 192_000
    wave_of = array.array(
        "h",
        (
            int(9000 * math.sin(2 * math.pi * pitch * i / rate) * (1 + math.sin(i / 39000)) / 2)
            for i in range(rate)
        ),
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        second = array.array("h", (value for value in wave_of for _ in range(2))).tobytes()
        for _ in range(seconds):
            file.writeframes(second)


def main():
    program, *only = sys.argv[1:]
    work = Path(tempfile.mkdtemp(prefix="voisin-drops-"))
    music, library = work / "music", work / "library"
    music.mkdir()
    tone(music / "a.wav", 92, 220)
    tone(music / "b.wav", 91, 330)
    for path in sorted((DEMO / "library/folk").iterdir())[:4]:
        shutil.copy(path, music / path.name)
    subprocess.run(
        [os.path.abspath(program), "--library", str(library), "--quiet", "add", str(music)],
        check=True,
    )
    trial = Trial(None, os.path.abspath(program), library)
    try:
        for name, moment in MOMENTS.items():
            if only and name not in only:
                continue
            # A browser that has played nothing has nothing to play from.
            trial.page = Page()
            trial.page.browser.size(1300, 900)
            try:
                if trial.server.process.poll() is not None:
                    trial.start()
                trial.open()
                moment(trial, name)
            except RuntimeError as error:
                check(name, False, str(error).split(": [")[0] + ": " + trial.state())
            finally:
                trial.page.browser.close()
    finally:
        trial.server.process.kill()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(check_map.failed > 0)


if __name__ == "__main__":
    main()
