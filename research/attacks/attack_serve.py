#!/usr/bin/env python3
"""Attacks voisin's server as a stranger or a guest would. Prints what it found, one line a part.

    research/attacks/attack_serve.py VOISIN [guesses] [codes] [sidecar] [uploads] [kills]
        [--seconds 20] [--kills 20]

`guesses`: thousands of passwords from one address, the right one last. Five are compared, the right
one is refused, and another address can sign in meanwhile. `codes`: wrong codes, 20 a second, while
the owner signs devices in by theirs, all of which must work. `sidecar`: paths that other servers
resolve differently, and identity headers of proxies, in front of a server that records its
requests, which must receive none of them. `uploads`: 512 slow uploads of one guest, restarted when
they are closed, at 1024 file descriptors. The owner's requests must succeed, 99 % of them within
200 ms. `kills`: the server is killed repeatedly while likes, labels, lists, devices and a scan are
written. Afterwards all acknowledged writes must be present, the library intact, and no track lost.

Exit code 1 if anything is wrong. Needs only Python; `uploads` counts descriptors on Linux.
"""

import argparse
import collections
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

PARTS = ["guesses", "codes", "sidecar", "uploads", "kills"]
PASSWORD = "summerhouse7"
DEMO = pathlib.Path(__file__).resolve().parents[2] / "data/demo/library"
TRACKS = "/api/v1/tracks?limit=1000"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("voisin")
parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
parser.add_argument(
    "--seconds", type=float, default=20, help="duration of uploads; scales the other parts"
)
parser.add_argument("--kills", type=int, default=20, help="how often the server is killed")
args = parser.parse_args()
if not set(args.parts) <= set(PARTS):
    parser.error(f"expected some of {', '.join(PARTS)}, found {' '.join(args.parts)}")
wrong = []


def check(is_right, what):
    if not is_right:
        wrong.append(what)
        print("WRONG:", what, flush=True)


class Server:
    """`voisin serve` on an empty library, behind a proxy that names the client."""

    def __init__(self, folder, *options, descriptors=None):
        folder = pathlib.Path(folder)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "VOISIN_LIBRARY": str(folder / "library"),
            "TMPDIR": str(folder),
        }
        limit = (
            (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)))
            if descriptors
            else None
        )
        command = [
            args.voisin,
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--trusted-proxy",
            "127.0.0.1",
            *options,
        ]
        self.log = open(folder / "log", "w+")
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
            text=True,
            preexec_fn=limit,
        )
        line = self.process.stdout.readline()
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])
        self.token = (folder / "library" / "serve.token").read_text().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None, headers=(), connection=None):
        own = connection is None
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        text = None if body is None else json.dumps(body)
        connection.request(
            method, path, text, {"Content-Type": "application/json", **dict(headers)}
        )
        answer = connection.getresponse()
        content = answer.read()
        if own:
            connection.close()
        return answer.status, answer.headers, content

    def as_owner(self, method, path, body=None):
        return self.ask(method, path, body, {"Authorization": f"Bearer {self.token}"})

    def sign_in(self, address, session, connection=None):
        headers = {"X-Forwarded-For": f"6.6.6.6, {address}"}
        return self.ask("POST", "/api/v1/session", session, headers, connection)

    def code(self, rights):
        return json.loads(self.as_owner("POST", "/api/v1/devices", {"rights": rights})[2])["code"]


def attack_guesses(folder):
    command = [args.voisin, "serve", "--hash-password"]
    line = subprocess.run(
        command, input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout
    file = pathlib.Path(folder) / "passwords"
    file.write_text(line)
    file.chmod(0o600)
    with Server(folder, "--sign-in-file", str(file)) as server:
        answers, count = collections.Counter(), int(400 * args.seconds)

        def guess(first):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            for i in range(first, count, 2):
                word = PASSWORD if i >= count - 2 else f"guess{i:07}"
                answers[server.sign_in("192.0.2.66", {"token": word}, connection)[0]] += 1

        start = time.monotonic()
        threads = [threading.Thread(target=guess, args=(first,)) for first in range(2)]
        [thread.start() for thread in threads]
        others = server.sign_in("192.0.2.7", {"token": PASSWORD})[0]
        [thread.join() for thread in threads]
        rate = count / (time.monotonic() - start)
        check(answers[204] == 0 and answers[401] <= 10, f"guesses are compared: {dict(answers)}")
        check(others == 204, f"another address is refused: {others}")
        server.log.seek(0)
        logged = sum("sign-in refused for 192.0.2.66: " in line for line in server.log)
        check(logged >= 5, f"{logged} refused sign-ins are logged")
        print(
            f"guesses: {count} at {rate:.0f} a second: {answers[401]} compared, {answers[429]} refused before"
        )


def attack_codes(folder):
    with Server(folder) as server:
        stop, answers = threading.Event(), collections.Counter()

        def guess():
            for number in range(1_000_000):
                if stop.wait(0.05):
                    return
                answers[server.sign_in("192.0.2.66", {"code": f"{number:06}"})[0]] += 1

        attacker = threading.Thread(target=guess)
        attacker.start()
        good = []
        for device in range(4):
            code = server.code("change")
            time.sleep(args.seconds / 10)
            good.append(server.sign_in(f"192.0.2.{device}", {"code": code})[0])
        stop.set()
        attacker.join()
        check(good == [204] * 4, f"codes of the owner: {good}")
        check(answers[204] == 0 and answers[401] <= 10, f"guesses are compared: {dict(answers)}")
        print(
            f"codes: {answers[401]} of {sum(answers.values())} guesses compared, {good.count(204)} of 4 devices let in"
        )


class Behind(http.server.BaseHTTPRequestHandler):
    """A server that records its requests, and returns responses that must not be forwarded."""

    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *_):
        pass

    def answer(self):
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(302 if "redirect" in self.path else 200)
        for name, value in [
            ("Location", "http://127.0.0.1:22/"),
            ("Set-Cookie", "voisin=evil"),
            ("Content-Type", "text/html"),
            ("Access-Control-Allow-Origin", "*"),
            ("Clear-Site-Data", '"*"'),
            ("Refresh", "0;url=//evil"),
            ("Service-Worker-Allowed", "/"),
            ("Link", "<//evil>; rel=preload"),
            ("Content-Length", "5"),
        ]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"hello")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer


def attack_sidecar(folder):
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    with Server(folder, "--subsonic", f"http://127.0.0.1:{behind.server_port}") as server:
        known = {"host", "accept-encoding", "content-type", "x-forwarded-for"}
        back = {"content-type", "content-length", "date"}
        own = {name.lower() for name in server.ask("GET", "/api/v1/health")[1]}
        hostile = dict.fromkeys(
            [
                "Remote-User",
                "X-Forwarded-User",
                "X-Authentik-Username",
                "X-Real-IP",
                "Forwarded",
                "Via",
                "X-Forwarded-Host",
                "True-Client-IP",
                "X-ND-Authorization",
                "Cookie",
                "X-Anything",
            ],
            "admin",
        )
        hostile |= {
            "Authorization": f"Bearer {server.token}",
            "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
        }
        for path in ["/rest/ping?u=a", "/rest/redirect"]:
            _, headers, _ = server.ask("GET", path, None, hostile)
            extra = {name.lower() for name in headers} - own - back
            check(not extra, f"an answer keeps {extra}")
        for _path, headers in Behind.seen:
            check(set(headers) <= known, f"handed on: {set(headers) - known}")
            check(headers.get("x-forwarded-for") == "203.0.113.9", f"whose request: {headers}")
        passed = len(Behind.seen)
        check(passed == 2, f"{passed} of 2 were handed on")
        paths = [
            "/rest/../admin",
            "/rest/..;/admin",
            "/rest/..;x=1/settings",
            "/rest//admin",
            "/rest/./admin",
            "/rest/a/../../x",
            "/rest/%2e%2e/x",
            "/rest/..\\admin",
            "/rest/...",
            "/rest/;/..;/index.html",
            "/rest/sw.js",
            "/rest/ping.view/../../../x",
            "/rest",
            "/rest/",
            "/rest/..;",
            "/rest/ping;x=1",
        ]
        for path in paths:
            server.ask("GET", path)
        for method in ["PUT", "DELETE", "PATCH"]:
            server.ask(method, "/rest/ping")
        arrived = [path for path, _ in Behind.seen[passed:]]
        check(not arrived, f"handed on: {arrived}")
        print(
            f"sidecar: {len(hostile)} headers, {len(paths)} paths, 3 methods: {len(arrived)} handed on"
        )
    behind.shutdown()


def attack_uploads(folder):
    with Server(folder, descriptors=1024) as server:
        _, headers, _ = server.sign_in("192.0.2.66", {"code": server.code("listen")})
        cookie = headers["Set-Cookie"].split(";")[0]
        head = (
            f"POST /api/v1/files/similar HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\nCookie: {cookie}\r\n"
            "X-Forwarded-For: 192.0.2.66\r\nContent-Type: audio/mpeg\r\nContent-Length: 190000000\r\n\r\n"
        ).encode()
        stop, begun = threading.Event(), [0]

        def upload():
            """512 connections that send a little now and then, and are restarted when they are
            closed.
            """
            slow = []
            while not stop.is_set():
                for connection in slow[:]:
                    try:
                        connection.send(b"x" * 100)
                    except OSError:
                        slow.remove(connection)
                        connection.close()
                while len(slow) < 512 and not stop.is_set():
                    try:
                        connection = socket.create_connection(("127.0.0.1", server.port), timeout=2)
                        connection.sendall(head + b"x" * 1000)
                        connection.setblocking(False)
                        slow.append(connection)
                        begun[0] += 1
                    except OSError:
                        break
                    if begun[0] % 64 == 0:
                        time.sleep(0.02)
                time.sleep(0.2)
            for connection in slow:
                connection.close()

        resource.setrlimit(
            resource.RLIMIT_NOFILE, (min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2
        )
        attacker = threading.Thread(target=upload)
        attacker.start()
        times, refused, open_files, copies = [], collections.Counter(), 0, 0
        until = time.monotonic() + args.seconds
        while time.monotonic() < until:
            start = time.monotonic()
            try:
                status = server.as_owner("GET", "/api/v1/status")[0]
            except OSError as error:
                status = type(error).__name__
            times.append(time.monotonic() - start)
            if status != 200:
                refused[status] += 1
            descriptors = pathlib.Path(f"/proc/{server.process.pid}/fd")
            if descriptors.exists():
                open_files = max(open_files, len(os.listdir(descriptors)))
            copies = max(copies, sum(name.startswith(".tmp") for name in os.listdir(folder)))
            time.sleep(0.02)
        stop.set()
        attacker.join()
        times.sort()
        median, late = (1000 * times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
        check(not refused, f"the owner is refused: {dict(refused)}")
        check(late < 200, f"the owner waits {late:.0f} ms")
        check(copies <= 2, f"{copies} temporary files of one guest")
        print(
            f"uploads: {begun[0]} begun by a guest; the owner's {len(times)} questions: {sum(refused.values())} refused, "
            f"median {median:.1f} ms, p99 {late:.1f} ms; {copies} temporary files, {open_files} descriptors"
        )


def attack_kills(folder):
    folder, rng = pathlib.Path(folder), random.Random(1)
    music = folder / "music"
    shutil.copytree(DEMO / "folk", music / "folk")
    waiting = [path for path in sorted(DEMO.glob("*/*")) if path.parent.name != "folk"]

    def voisin(*words):
        command = [args.voisin, "--library", str(folder / "library"), *words]
        return subprocess.run(command, capture_output=True, text=True)

    voisin("--quiet", "add", str(music))
    # Labelled tracks and devices that the server confirmed; and requests that were
    # open when it was killed, which may have taken effect or not.
    answered, open_requests = {}, {}

    def write(server, stop):
        ids = [track["id"] for track in json.loads(server.as_owner("GET", TRACKS)[2])["tracks"]]
        while not stop.is_set():
            # The server keeps 500 devices, and forgets the oldest one for the next.
            devices = sum(kind == "device" for kind, _ in answered)
            kinds = ["label", "device"][: 1 if devices >= 100 else 2]
            track, kind = rng.choice(ids), rng.choice(kinds)
            if kind == "label":
                key, value = ("label", track), rng.choice(["Polka", "Waltz", None])
                request = ("POST", "/api/v1/labels", {"tracks": [track], "genre": value})
            else:
                key, value = ("device", None), None
                request = None
            open_requests[key] = value
            try:
                if request:
                    status = server.as_owner(*request)[0]
                    if status < 300:
                        answered[key] = value
                    else:
                        check(False, f"{request}: {status}")
                else:
                    code = server.code("change")
                    _, headers, _ = server.sign_in("192.0.2.5", {"code": code, "stay": True})
                    cookie = headers["Set-Cookie"].split(";")[0]
                    answered["device", cookie] = True
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                return
            del open_requests[key]

    def compare(server):
        get = lambda path: json.loads(server.as_owner("GET", path)[2])  # noqa: E731
        labels = {item["id"]: item["genre"] for item in get("/api/v1/labels?limit=1000")["by_hand"]}
        for (kind, name), value in answered.items():
            if (kind, name) in open_requests:
                continue
            if kind == "device":
                status = server.ask("GET", "/api/v1/status", None, {"Cookie": name})[0]
                check(status == 200, f"a device is signed out: {status}")
                continue
            found = labels.get(name)
            check(found == value, f"{kind} of {name} is lost: expected {value}, found {found}")

    tracks = 0
    for _ in range(args.kills):
        for path in waiting[:2]:
            (music / path.parent.name).mkdir(exist_ok=True)
            shutil.copy(path, music / path.parent.name)
        waiting = waiting[2:]
        with Server(folder, "--folder", str(music)) as server:
            compare(server)
            for key in open_requests:
                answered.pop(key, None)
            open_requests.clear()
            now = json.loads(server.as_owner("GET", TRACKS)[2])["total"]
            check(now >= tracks, f"{tracks} tracks became {now}")
            tracks = now
            stop = threading.Event()
            writer = threading.Thread(target=write, args=(server, stop))
            writer.start()
            time.sleep(rng.uniform(0.2, args.seconds / 10))
            server.process.kill()
            writer.join()
    with Server(folder, "--no-watch") as server:
        compare(server)
    sound = voisin("verify")
    check(sound.returncode == 0, f"verify: {sound.stdout[-300:]}{sound.stderr[-300:]}")
    print(f"kills: {args.kills}, {len(answered)} answered writes compared, {tracks} tracks")


for part in args.parts or PARTS:
    with tempfile.TemporaryDirectory() as folder:
        {
            "guesses": attack_guesses,
            "codes": attack_codes,
            "sidecar": attack_sidecar,
            "uploads": attack_uploads,
            "kills": attack_kills,
        }[part](folder)
print("nothing wrong" if not wrong else f"{len(wrong)} things wrong")
sys.exit(bool(wrong))
