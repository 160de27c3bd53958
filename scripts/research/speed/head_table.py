#!/usr/bin/env python3
"""Measures the table at the head of BENCHMARKS.md in one run: scripts/research/speed/head_table.py
EMOTIFY SONGS VECTORS RIVAL [--only ROW,...]

    cargo build --release --examples --benches
    scripts/research/speed/head_table.py EMOTIFY SONGS VECTORS RIVAL    # ten minutes; the table is written into BENCHMARKS.md
    scripts/research/speed/head_table.py --check                        # whether a crate that it measures has changed since

EMOTIFY is the labelled set of BENCHMARKS.md with its tracks.tsv, SONGS a folder of MP3s of four
minutes (20 or so), VECTORS the hard set of scripts/research/speed/bench_index_rivals.py, RIVAL the program
around bliss-audio that scripts/research/speed/bench_road.py describes. Needs the packages of the scripts
that it runs (numpy, torch, onnx, onnxruntime, safetensors, rivals in search). Every row compares voisin with a rival, interleaved in its script, for speed
by CPU time. With --only (names of ROWS below), rows are measured and printed but not written, so
that the table is always of one run.
"""

import argparse
import datetime
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "BENCHMARKS.md"
BEGIN, END = (
    "<!-- scripts/research/speed/head_table.py: begin -->\n",
    "<!-- scripts/research/speed/head_table.py: end -->\n",
)
RELEASE = ROOT / "target/release"
# How --check ends where the table is sound and older than the code; any other failure ends with 1.
STALE = 3
ROAD = ["audio", "features", "simd", "encoder", "voisin", "library"]


def run(*command, **options):
    print(
        "$", *(str(word).removeprefix(f"{ROOT}/") for word in command), file=sys.stderr, flush=True
    )
    done = subprocess.run(
        [str(word) for word in command],
        check=True,
        text=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        **options,
    )
    print(done.stdout, file=sys.stderr, flush=True)
    return done.stdout


def script(name, *arguments):
    (path,) = (ROOT / "research").glob(f"*/{name}")
    return run(sys.executable, path, *arguments)


def found(pattern, text):
    """The groups of a pattern that must be there, as numbers."""
    match = re.search(pattern, text)
    if not match:
        sys.exit(f"expected {pattern!r} in:\n{text}")
    return [float(group) for group in match.groups()]


def times(ratio):
    return f"**{ratio:.1f} ×**" if ratio >= 10 else f"**{ratio:.2f} ×**"


def spaced(number):
    """To three digits, thousands apart."""
    return f"{round(number, 3 - len(str(int(number)))):,.0f}".replace(",", " ")


def neighbours(options):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        environment = {**os.environ, "VOISIN_LIBRARY": str(work / "library")}
        run(RELEASE / "voisin", "add", "--quiet", options.emotify, env=environment)
        run(RELEASE / "voisin", "export", work / "vectors", env=environment)
        tracks = options.emotify / "tracks.tsv"
        ours = script(
            "neighbour_quality.py",
            tracks,
            work / "vectors",
            "--join",
            "pop=rock",
            "--centre",
            "200,56",
        )
        run(options.rival, options.emotify, 2, work / "features.tsv")
        theirs = script("rival_quality.py", work / "features.tsv", tracks, "--join", "pop=rock")
        run(RELEASE / "voisin", "labels", "folder", env=environment)
        genres = run(
            RELEASE / "voisin",
            "lab",
            "eval",
            "genre",
            "--repeats",
            5,
            env=environment,
        )
    ours = [float(share) for share in re.findall(r"centred: +precision@10 ([\d.]+)", ours)]
    theirs = [float(share) for share in re.findall(r"precision@10 ([\d.]+)", theirs)]
    for genres_there, our, their in zip((4, 3), ours, theirs, strict=True):
        yield (
            f"nearest ten of the same genre, of {genres_there}",
            f"{100 * our:.1f} %",
            f"bliss-audio {100 * their:.1f} %",
            times(our / their),
        )
    (voisin,) = found(r"fused +([\d.]+)", genres)
    yield "genre of 4, artist held out", f"{voisin} %", "", ""


def road(options):
    for model, what in (("voisin-equal", "default model"), ("musicnn-msd", "musicnn-msd")):
        text = script(
            "bench_road.py",
            options.songs,
            "--model",
            model,
            "--rival",
            options.rival,
            "--rounds",
            3,
        )
        (ours,) = found(r"voisin .* ([\d.]+) processor seconds", text)
        (theirs,) = found(r"rival .* ([\d.]+) processor seconds", text)
        (ratio,) = found(r"ratio by processor time ([\d.]+)", text)
        yield (
            f"adding music, {what}, tracks/h and core",
            spaced(3600 / ours),
            f"bliss-audio {spaced(3600 / theirs)}",
            times(ratio),
        )


def openl3(_options):
    text = script(
        "bench_encoder.py",
        "--only",
        "onnx",
        "--batches",
        "32",
        "--threads",
        "1",
        "--clock",
        "cpu",
        "--rounds",
        "3",
    )
    (theirs,) = found(r"onnx +([\d.]+) +1\.00", text)
    ours, ratio = found(r"voisin f32 +([\d.]+) +([\d.]+)", text)
    yield (
        "full OpenL3, windows/s and core, batches of 32",
        f"{ours:.1f}",
        f"ONNX Runtime {theirs:.1f}",
        times(ratio),
    )


def search(options):
    text = script(
        "bench_index_rivals.py",
        options.vectors,
        "--rounds",
        3,
    )
    rows = re.findall(r"^(\S.*?) +0\.\d{4} +(\d+) \( *\d+\) +(\d+) \( *\d+\)", text, flags=re.M)
    rows = [(name, float(alone), float(batch)) for name, alone, batch in rows]
    ratios = found(r"processor time: alone ([\d.]+) x, in batches ([\d.]+) x", text)
    for place, how, ratio in ((1, "one by one", ratios[0]), (2, "in batches", ratios[1])):
        ours = max((row for row in rows if row[0].startswith("voisin")), key=lambda row: row[place])
        theirs = max(
            (row for row in rows if not row[0].startswith("voisin")), key=lambda row: row[place]
        )
        yield (
            f"search at recall 0.99, {how}, queries/s",
            spaced(ours[place]),
            f"{theirs[0].split(',')[0]} {spaced(theirs[place])}",
            times(ratio),
        )


# What measures rows, and the crates that it measures.
ROWS = {
    "neighbours": (neighbours, [*ROAD, "genre"]),
    "road": (road, ROAD),
    "openl3": (openl3, ["simd", "encoder"]),
    "search": (search, ["simd", "index"]),
}


def digest(crate):
    """Of a crate's sources."""
    hashed = hashlib.sha256()
    # index/ is the crate of the index.
    folder = next(path for path in (ROOT / "src" / crate, ROOT / crate / "src") if path.is_dir())
    for path in sorted(folder.rglob("*.rs")):
        hashed.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()[:12]


def check():
    table = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    then = dict(re.findall(r"voisin-(\w+) ([0-9a-f]{12})", table))
    crates = {crate for _, crates in ROWS.values() for crate in crates}
    if set(then) != crates:
        sys.exit(
            f"BENCHMARKS.md: expected a table of {sorted(crates)}, found one of {sorted(then)}: run scripts/research/speed/head_table.py"
        )
    changed = sorted(crate for crate in crates if digest(crate) != then[crate])
    if changed:
        stale = [name for name, (_, crates) in ROWS.items() if set(crates) & set(changed)]
        print(
            f"BENCHMARKS.md: voisin-{', voisin-'.join(changed)} changed since the table at its head was measured "
            f"({', '.join(stale)}): run scripts/research/speed/head_table.py",
            file=sys.stderr,
        )
        sys.exit(STALE)
    print("the table at the head of BENCHMARKS.md was measured of the code that is here")


def processor():
    model = [
        line.split(":")[1].strip()
        for line in open("/proc/cpuinfo", encoding="utf-8")
        if line.startswith("model name")
    ]
    return f"{len(model)} cores of an {model[0]}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("emotify", "songs", "vectors", "rival"):
        parser.add_argument(name, type=lambda text: pathlib.Path(text).resolve(), nargs="?")
    parser.add_argument("--only", default="", help="names of rows, with commas")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        return check()
    if not options.rival:
        parser.error("expected EMOTIFY SONGS VECTORS RIVAL, or --check")
    only = options.only.split(",") if options.only else list(ROWS)
    crates = sorted({crate for name in only for crate in ROWS[name][1]})
    before, load = {crate: digest(crate) for crate in crates}, os.getloadavg()[0]
    lines = ["| what | voisin | rival | ratio |\n", "|---|---|---|---|\n"]
    for name in only:
        measure = ROWS[name][0]
        for what, *figures in measure(options):
            lines.append(f"| {what} | {' | '.join(figures)} |\n")
            print(lines[-1], end="", flush=True)
    if options.only:
        return None
    if before != {crate: digest(crate) for crate in crates}:
        sys.exit("the sources changed while they were measured: run it again")
    sources = [f"voisin-{crate} {before[crate]}" for crate in crates]
    note = f"One run of `scripts/research/speed/head_table.py`, {datetime.date.today():%-d %B %Y}, {processor()}, load {load:.1f} at its start.\n"
    stamp = "<!-- sources:\n" + "".join(f"{source}\n" for source in sources) + "-->\n"
    head, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    rest = rest.split(END)[1]
    DOCUMENT.write_text(
        head + BEGIN + "".join(lines) + "\n" + note + "\n" + stamp + END + rest, encoding="utf-8"
    )
    return None


main()
