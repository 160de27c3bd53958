#!/usr/bin/env python3
"""Attacks voisin: mutated files, kills at random moments, damaged libraries. Prints what it found,
one line a part.

    research/attacks/attack.py VOISIN files [--seed 1] [--count 10000] [--batch 1000]
    research/attacks/attack.py VOISIN kills [--seed 1] [--count 200]
    research/attacks/attack.py VOISIN damage [--seed 1] [--count 200]

`files`: audio files with bits flipped, parts removed, repeated and overwritten, and tags with
nested frames, some compressed, with wrong sizes; pipes, sockets and devices are among them. Every
batch is added by one `add`, which must terminate, count every file, and leave an intact library.
`kills`: SIGKILL at random moments of every verb that writes. Afterwards the library must be intact,
the audio in the files unchanged, and everything present that a run had reported as stored.
`damage`: databases, indexes and heads with flipped bits, truncated, zeroed, and mixed with older
ones. Each query must return the results of an intact library, an error or a warning; nothing may
crash or hang.

Exit code 1 if anything is wrong. Files for `files` are made with ffmpeg if it is installed; others
are in tests/data. Linux only. Needs only Python.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

HERE = pathlib.Path(__file__).resolve().parent.parent.parent
LIMIT = 600

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("voisin")
parser.add_argument("part", choices=["files", "kills", "damage"])
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--count", type=int)
parser.add_argument("--batch", type=int, default=1000)
args = parser.parse_args()
rng = random.Random(args.seed)
wrong = []


def complain(what):
    wrong.append(what)
    print("WRONG:", what, flush=True)


class Run:
    """Exit code of a run, its output, its duration, and its peak memory."""

    def __init__(self, library, *words, kill_after=None):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(library),
            "VOISIN_LIBRARY": str(library),
        }
        command = [args.voisin, *map(str, words)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            child = subprocess.Popen(
                command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=environment
            )
            deadline = start + (LIMIT if kill_after is None else kill_after)
            self.killed, self.hung = False, False
            pid, status = 0, 0
            while not pid:
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if not pid and time.monotonic() > deadline:
                    self.killed, self.hung = kill_after is not None, kill_after is None
                    os.kill(child.pid, signal.SIGKILL)
                    pid, status, usage = os.wait4(child.pid, 0)
                if not pid:
                    time.sleep(0.0005)
            child.returncode = self.code = os.waitstatus_to_exitcode(status)
            self.killed = self.killed and self.code == -signal.SIGKILL
            self.seconds, self.memory = time.monotonic() - start, usage.ru_maxrss / 1024
            out.seek(0), err.seek(0)
            self.out, self.err = (
                out.read().decode(errors="replace"),
                err.read().decode(errors="replace"),
            )
        self.what = " ".join(command[1:3])
        if self.hung:
            complain(f"{self.what} did not end in {LIMIT} s")
        elif "panicked" in self.err or "overflow" in self.err:
            complain(f"{self.what} panicked: {self.err[-500:]}")
        elif not self.killed and self.code not in (0, 1, 2):
            complain(f"{self.what} ended with {self.code}: {self.err[-500:]}")

    def json(self):
        return json.loads(self.out)


def noise(path, seed, seconds=3.5, rate=8000):
    source = random.Random(seed)
    colour, level, samples = source.random() * 0.9, 0.0, bytearray()
    for _ in range(int(seconds * rate)):
        level = colour * level + (1 - colour) * (source.random() - 0.5)
        samples += struct.pack("<h", int(30000 * level))
    head = struct.pack(
        "<4sI8sIHHIIHH4sI",
        b"RIFF",
        36 + len(samples),
        b"WAVEfmt ",
        16,
        1,
        1,
        rate,
        2 * rate,
        2,
        16,
        b"data",
        len(samples),
    )
    path.write_bytes(head + samples)


def rendered(folder):
    """Short pieces in every format that ffmpeg writes, tagged; and the test data."""
    seeds = [
        path.read_bytes()
        for path in sorted((HERE / "tests/data/audio").iterdir())
        if path.suffix not in (".py", ".json", ".txt")
    ]
    seeds += [path.read_bytes() for path in sorted((HERE / "fuzz/seeds/tags").iterdir())]
    wav = folder / "piece.wav"
    noise(wav, args.seed)
    seeds.append(wav.read_bytes())
    for ending in (
        ["flac", "mp3", "ogg", "opus", "m4a", "aiff", "mka"] if shutil.which("ffmpeg") else []
    ):
        made = folder / f"piece.{ending}"
        subprocess.run(
            [
                "ffmpeg",
                "-v",
                "error",
                "-y",
                "-i",
                wav,
                "-metadata",
                "title=A title",
                "-metadata",
                "artist=Somebody",
                "-metadata",
                "genre=Rock;Jazz",
                "-b:a",
                "32k",
                made,
            ],
            check=True,
        )
        seeds.append(made.read_bytes())
    return seeds


def mutated(data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        # headers and tags are at the ends
        where = rng.choice([min(len(data), 256), min(len(data), 4096), len(data)])
        at = rng.randrange(max(where, 1))
        at = len(data) - 1 - at if rng.random() < 0.15 and data else at
        how = rng.randrange(8)
        if not data:
            break
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)])
        elif how == 2:
            word = rng.choice(
                [
                    0,
                    1,
                    0x7FFFFFFF,
                    0x80000000,
                    0xFFFFFFFF,
                    0xFFFFFFFE,
                    len(data),
                    rng.getrandbits(32),
                ]
            )
            data[at : at + 4] = struct.pack(rng.choice("<>") + "I", word)[: len(data) - at]
        elif how == 3:
            del data[at : at + rng.choice([1, 2, 4, 100, 1000])]
        elif how == 4:
            piece = data[at : at + rng.choice([1, 4, 64, 1000])]
            data[at:at] = piece * rng.choice([1, 2, 50])
        elif how == 5:
            other = rng.randrange(len(data))
            length = rng.choice([1, 8, 100, 2000])
            data[at : at + length] = data[other : other + length]
        elif how == 6:
            data[at:] = (
                b""
                if rng.random() < 0.5
                else bytes(rng.getrandbits(8) for _ in range(rng.randrange(64)))
            )
        else:
            length = rng.choice([1, 16, 300])
            data[at : at + length] = rng.randbytes(length)
    return bytes(data[:400_000])


def seven(size):
    return bytes([(size >> shift) & 0x7F for shift in (21, 14, 7, 0)])


def hostile_tag():
    """Nested ID3v2 frames, some compressed, some bombs, some with wrong sizes."""
    version = rng.choice([2, 3, 4])
    body = b""
    for _ in range(rng.choice([1, 3, 20, 200, 1500])):
        kind = rng.choice([b"CHAP", b"CTOC", b"TIT2", b"TXXX", b"APIC", b"TCON", b"UFID"])
        inside = (b"c\0" + b"\0" * 16 if kind == b"CHAP" else b"c\0\3\1") + body
        flags = 0
        if rng.random() < 0.1:
            plain = (
                bytes(rng.choice([1000, 1_000_000, 30_000_000])) if rng.random() < 0.1 else inside
            )
            inside, flags = (
                seven(len(plain) & 0x0FFFFFFF) + zlib.compress(plain, 9),
                rng.choice([0x09, 0x80, 0x08]),
            )
        size = len(inside) + (rng.choice([-1, 1, 100000]) if rng.random() < 0.05 else 0)
        size = max(0, size)
        frame = (
            kind
            + (seven(size) if version == 4 else struct.pack(">I", size))
            + bytes([0, flags])
            + inside
        )
        body = frame if rng.random() < 0.9 else body + frame
        if len(body) > 100_000:
            break
    return b"ID3" + bytes([version, 0, 0]) + seven(len(body)) + body


def attack_files():
    count = args.count or 10_000
    totals, slowest, memory, specials, seconds = collections.Counter(), 0.0, 0.0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with tempfile.TemporaryDirectory() as pieces:
            seeds = rendered(pathlib.Path(pieces))
        library, music = folder / "library", folder / "music"
        library.mkdir()
        made = 0
        while made < count:
            music.mkdir()
            batch = min(args.batch, count - made)
            for i in range(batch):
                data = rng.choice(seeds)
                if rng.random() < 0.25:
                    tag = hostile_tag()
                    data = rng.choice(
                        [
                            tag + data,
                            data + b"id3 " + struct.pack("<I", len(tag)) + tag,
                            tag + tag + data,
                        ]
                    )
                    data = mutated(data) if rng.random() < 0.5 else data
                else:
                    data = mutated(data)
                ending = rng.choice(
                    ["mp3", "flac", "ogg", "opus", "m4a", "wav", "aiff", "mka", "aac", "caf"]
                )
                (music / f"{made + i:05}.{ending}").write_bytes(data)
            os.mkfifo(music / "pipe.mp3")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(music / "socket.flac"))
            for name, target in [
                ("zero.wav", "/dev/zero"),
                ("tty.ogg", "/dev/tty"),
                ("loop.mp3", "loop.mp3"),
                ("up", ".."),
            ]:
                os.symlink(target, music / name)
            named = [
                music / name
                for name in ("pipe.mp3", "socket.flac", "zero.wav", "tty.ogg", "loop.mp3")
            ]
            for path in named:
                run = Run(library, "add", "--quiet", path)
                specials += 1
                if run.code == 0:
                    complain(f"add {path.name} ended well")
            run = Run(library, "add", "--windows", "1", "--format", "json", music)
            if run.code in (0, 1):
                found = run.json()
                all_of = {
                    key: found[key]
                    for key in ("added", "updated", "moved", "unchanged", "failed", "skipped")
                }
                if sum(all_of.values()) != batch:
                    complain(f"{batch} files, counted {all_of}")
                totals.update(all_of)
            slowest, memory, seconds = (
                max(slowest, run.seconds),
                max(memory, run.memory),
                seconds + run.seconds,
            )
            listener.close()
            if Run(library, "verify").code != 0:
                complain(f"not sound after {made + batch} files")
            shutil.rmtree(music)
            made += batch
            print(f"{made} files: {dict(totals)}", file=sys.stderr, flush=True)
    print(
        f"{count} mutated files in runs of {args.batch}, seed {args.seed}: {dict(totals)}; {seconds:.0f} s in all, "
        f"at most {memory:.0f} MB; {specials} pipes, sockets, devices and loops named directly"
    )


def payload(path):
    """A digest of a file's audio, without its tags."""
    data = path.read_bytes()
    if data[:4] == b"RIFF":
        at = data.index(b"data")
        return hashlib.sha256(
            data[at : at + 8 + struct.unpack_from("<I", data, at + 4)[0]]
        ).hexdigest()
    if data[:3] == b"ID3":
        size = sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False))
        data = data[10 + size :]
    return hashlib.sha256(data[:-128] if data[-128:-125] == b"TAG" else data).hexdigest()


def tracks_of(library):
    """Paths of the library's tracks; empty without a library."""
    run = Run(library, "list", "--format", "paths")
    return set(run.out.splitlines()) if run.code == 0 else set()


def attack_kills():
    count = args.count or 200
    hits, rounds, by_verb = 0, 0, collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        library, music, extra = folder / "library", folder / "music", folder / "extra"
        for path in (library, music / "Hum", music / "Hiss", extra):
            path.mkdir(parents=True)
        for i in range(20):
            noise(music / ("Hum" if i % 2 else "Hiss") / f"{i:02}.wav", 1000 * args.seed + i)
        for i in range(6):
            (music / f"no{i}.mp3").write_bytes(b"no music at all")
            noise(extra / f"{i}.wav", 1000 * args.seed + 500 + i)
        if shutil.which("ffmpeg"):
            for i in range(0, 20, 4):
                wav = music / "Hiss" / f"{i:02}.wav"
                subprocess.run(
                    [
                        "ffmpeg",
                        "-v",
                        "error",
                        "-y",
                        "-i",
                        wav,
                        "-b:a",
                        "48k",
                        wav.with_suffix(".mp3"),
                    ],
                    check=True,
                )
                wav.unlink()
        files = sorted(path for path in music.rglob("*") if path.parent != music) + sorted(
            extra.iterdir()
        )
        before = {path: payload(path) for path in files}
        Run(library, "add", "--quiet", music)
        verbs = {
            "add": ["add", "-v", music, extra],
            "add --force": ["add", "-v", "--force", music],
            "add --update-descriptors": ["add", "-v", "--update-descriptors", music],
            "retry": ["retry"],
            "remove": ["remove", extra],
            "train genre": ["train", "genre", "--label-from", "folder"],
            "labels set": ["labels", "set", "id:1", "Polka"],
            "labels undo": ["labels", "undo"],
            "classify --write-tags": [
                "classify",
                "--all",
                "--write-tags",
                "--overwrite",
                "--precision",
                "0.5",
            ],
            "undo": ["undo"],
            "clusters": ["clusters"],
            "duplicates": ["duplicates"],
            "repair": ["repair"],
            "relocate": ["relocate", extra, extra],
            "backup": ["backup", folder / "copy.db"],
        }
        usual = {}
        for verb, words in verbs.items():
            (folder / "copy.db").unlink(missing_ok=True)
            usual[verb] = Run(library, *words).seconds
        stored = tracks_of(library)
        while hits < count and rounds < 4 * count:
            rounds += 1
            verb = rng.choice(list(verbs))
            (folder / "copy.db").unlink(missing_ok=True)
            if verb == "add":
                Run(library, "remove", "--quiet", extra)
                stored = tracks_of(library)
            run = Run(library, *verbs[verb], kill_after=rng.random() * usual[verb])
            hits += run.killed
            by_verb[verb] += run.killed
            checked = Run(library, "verify")
            if checked.code != 0:
                complain(f"not sound after a kill of {verb}: {checked.out}{checked.err}")
            now = tracks_of(library)
            reported = {
                line.split("  ")[1]
                for line in run.err.splitlines()
                if line.endswith("  added") and "/" in line
            }
            gone = (
                reported
                | (
                    stored
                    if verb != "remove"
                    else {path for path in stored if str(extra) not in path}
                )
            ) - now
            if gone:
                complain(f"gone after a kill of {verb}: {sorted(gone)[:3]}")
            stored = now
            for path, digest in before.items():
                if not path.exists() or payload(path) != digest:
                    complain(f"the audio of {path.name} changed under {verb}")
            if hits and hits % 20 == 0 and run.killed:
                print(f"{hits} kills", file=sys.stderr, flush=True)
        last = Run(library, "add", "--format", "json", music, extra)
        checked = Run(library, "verify", "--deep")
        if last.code not in (0, 1) or len(tracks_of(library)) != len(files) or checked.code != 0:
            complain(f"in the end: {last.out}{last.err}{checked.out}{checked.err}")
        Run(library, "backup", "--force", folder / "copy.db")
        left = [path.name for path in folder.rglob(".voisin-*")]
        if left:
            complain(f"left behind: {left}")
    print(
        f"{hits} kills in {rounds} rounds over {len(verbs)} verbs, seed {args.seed}: {dict(by_verb)}; "
        f"library sound each time, all {len(files)} tracks there in the end"
    )


def damaged(path, old):
    """Damages a file in one of many ways; returns which."""
    data = bytearray(path.read_bytes())
    how = rng.choice(
        ["a bit", "bits", "zeros", "noise", "cut", "empty", "doubled", "older", "a page swapped"]
    )
    at = rng.randrange(len(data))
    if how == "a bit":
        data[at] ^= 1 << rng.randrange(8)
    elif how == "bits":
        for _ in range(50):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how in ("zeros", "noise"):
        length = min(rng.choice([16, 512, 4096, 20_000]), len(data) - at)
        data[at : at + length] = bytes(length) if how == "zeros" else rng.randbytes(length)
    elif how == "cut":
        del data[at:]
    elif how == "empty":
        data.clear()
    elif how == "doubled":
        data += data[:at]
    elif how == "older":
        data = bytearray(old.read_bytes())
    else:
        pages = len(data) // 4096
        if pages > 1:
            a, b = (4096 * rng.randrange(pages) for _ in range(2))
            data[a : a + 4096], data[b : b + 4096] = data[b : b + 4096], data[a : a + 4096]
    path.write_bytes(data)
    return how


def attack_damage():
    count = args.count or 200
    found = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sound, old, music, library = (
            folder / name for name in ("sound", "old", "music", "library")
        )
        for path in (sound, music / "Hum", music / "Hiss"):
            path.mkdir(parents=True)
        for i in range(24):
            noise(music / ("Hum" if i % 2 else "Hiss") / f"{i:02}.wav", 1000 * args.seed + i)
            if i == 16:
                Run(sound, "add", "--quiet", music)
                Run(sound, "train", "genre", "--label-from", "folder")
                shutil.copytree(sound, old)
        Run(sound, "add", "--quiet", music)
        Run(sound, "train", "genre", "--label-from", "folder")

        def answers(of):
            similar = Run(of, "similar", "id:1", "--limit", "all", "--format", "json")
            classify = Run(of, "classify", "id:2", "--format", "json")
            if similar.code == 0:
                similar.said = [
                    (n["id"], round(n["similarity"], 4)) for n in similar.json()["neighbours"]
                ]
            if classify.code == 0:
                classify.said = [
                    (a["best"], round(a["probability"], 3)) for a in classify.json()["items"]
                ]
            return similar, classify

        expected = [run.said for run in answers(sound)]
        for case in range(count):
            shutil.rmtree(library, ignore_errors=True)
            shutil.copytree(sound, library)
            name = rng.choice(
                ["voisin.db", "voisin.db", "index.bin", "genre.safetensors", "voisin.db-wal"]
            )
            if name == "voisin.db-wal":
                (library / name).write_bytes(rng.randbytes(rng.choice([10, 5000, 100_000])))
                how = "noise beside the database"
            else:
                how = damaged(library / name, old / name)
            checked = Run(library, "verify")
            runs = answers(library)
            is_older = how == "older"
            for run, truth in zip(runs, expected, strict=False):
                if run.code != 0:
                    found["refused"] += 1
                elif run.said == truth:
                    found["as ever"] += 1
                elif run.err.strip() or checked.code != 0 or (is_older and name != "index.bin"):
                    found["different, and said"] += 1
                else:
                    found["different, and not said"] += 1
                    complain(
                        f"case {case}: {how} in {name}: {run.what} answers {run.said[:3]} without a word"
                    )
            Run(library, "status"), Run(library, "list")
            repaired = Run(library, "repair")
            again = Run(library, "add", "--quiet", music)
            whole = (
                again.code == 0
                and Run(library, "verify").code in (0, 1)
                and len(tracks_of(library)) >= 24
            )
            found["whole again after repair and add"] += whole
            if not whole and repaired.code == 0:
                complain(
                    f"case {case}: {how} in {name}: repair ended well, and then: {again.err[-300:]}"
                )
            if (case + 1) % 20 == 0:
                print(f"{case + 1} cases: {dict(found)}", file=sys.stderr, flush=True)
    print(f"{count} damaged libraries, seed {args.seed}: {dict(found)}")


{"files": attack_files, "kills": attack_kills, "damage": attack_damage}[args.part]()
print("nothing wrong" if not wrong else f"{len(wrong)} things wrong")
sys.exit(bool(wrong))
