"""A page that plays, and a server that comes and goes: one moment of it, for check_page.py."""

import time

from check_map import check
from check_page import Server, soon

# Seconds from the server's return to music, at most.
LATE = 2.0
AUDIO = "document.getElementById('audio')"


class Trial:
    """A page that plays, and a server that comes and goes."""

    def __init__(self, page, program, library, port=0, late=LATE):
        self.page, self.program, self.library, self.late = page, program, library, late
        self.server = Server(program, library, port=port)
        self.port = self.server.port
        tracks = self.server.json("/api/v1/list?limit=100")["tracks"]
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
