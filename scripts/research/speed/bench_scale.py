#!/usr/bin/env python3
"""Measures every verb on libraries of growing size, as a command, including its start.

    cargo build --release --features parquet
    scripts/research/speed/bench_scale.py [--sizes 10000,100000,1000000] [--verbs list,similar] [--keep DIR] [--limit S]

Libraries are synthetic: the demo's tracks are analysed once, and each synthetic track is a mixture
of a few of them and noise, in groups, with an artist, an album, a year, a tempo and a key; half
have a genre, that of their group. One in 200 is another file of an earlier track. None has logits
or audio. They are added by `add --from-parquet` and stored in DIR if given (a million take 5 GB;
the Parquet files are stored too).

Prints for each verb CPU seconds (user and system) and peak memory in MB at each size, the exponent
from the last two sizes (1: twice the tracks take twice as long), and the bytes of memory per
additional track. "-" if a verb exceeded the limit of S CPU seconds or of MB of memory. Needs numpy,
pyarrow and Linux.
"""

import argparse
import math
import multiprocessing
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("VOISIN_PROGRAM", str(ROOT / "target/release/voisin"))
ROWS = 20_000  # of a Parquet file
GENRES = [
    "Rock",
    "Jazz",
    "Ambient",
    "Techno",
    "Folk",
    "Metal",
    "Blues",
    "Classical",
    "House",
    "Reggae",
    "Soul",
    "Punk",
    "Disco",
    "Country",
    "Funk",
    "Pop",
    "Hip-Hop",
    "Trance",
    "Latin",
    "Gospel",
]
VERBS = {
    "add --from-parquet": None,
    "status": ["status"],
    "list --limit 5": ["list", "--limit", "5"],
    "find": ["find", "piano", "--limit", "5"],
    "similar": ["similar", "id:77"],
    "similar --genre": ["similar", "id:77", "--genre", "Jazz"],
    "similar --year": ["similar", "id:77", "--year", "1990-1999"],
    "classify, first": ["classify", "id:77"],
    "classify, again": ["classify", "id:77"],
    "playlist": ["playlist", "id:77", "--limit", "30"],
    "path": ["path", "id:77", "id:7777"],
    "genres, first": ["genres"],
    "genres, again": ["genres"],
    "artists, first": ["similar", "--by", "artist", "--limit", "5"],
    "artists, again": ["similar", "--by", "artist", "--limit", "5"],
    "albums, first": ["similar", "--by", "album", "--limit", "5"],
    "albums, again": ["similar", "--by", "album", "--limit", "5"],
    "clusters, first": ["clusters"],
    "clusters, again": ["clusters"],
    "duplicates": ["duplicates", "--limit", "5"],
    "map": ["map", "--output", "MAP.html"],
    "suspects, first": ["labels", "suspects", "--limit", "5"],
    "suspects, again": ["labels", "suspects", "--limit", "5"],
}

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--sizes", default="10000,100000,1000000")
parser.add_argument("--verbs", help="those whose name begins so, separated by commas; all")
parser.add_argument("--keep", type=pathlib.Path)
parser.add_argument(
    "--limit", type=int, default=600, help="seconds of the processor that a verb may take"
)
parser.add_argument("--memory", type=int, default=8_000, help="MB that a verb may take")
arguments = parser.parse_args()


def make(folder, demo, tracks):
    """Parquet files of made tracks; in a process of its own, whose memory is not that of what is
    measured.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    heard = pq.read_table(demo)
    base = np.array(heard["vector"].to_pylist(), dtype=np.float32)
    draw = np.random.default_rng(1)
    groups = max(tracks // 300, 20)
    # Of three of the demo's tracks each; what is left of a vector when these are taken off is noise
    # of its own scale.
    weights = draw.dirichlet([1.0] * 3, groups).astype(np.float32)
    centres = np.einsum("gk,gkd->gd", weights, base[draw.integers(len(base), size=(groups, 3))])
    spread = base.std(axis=0)
    folder.mkdir(parents=True)
    schema = heard.schema
    for start in range(0, tracks, ROWS):
        n = min(ROWS, tracks - start)
        at = np.arange(start, start + n)
        group = draw.integers(groups, size=n)
        vectors = (
            centres[group] + draw.normal(0, 0.5, (n, base.shape[1])).astype(np.float32) * spread
        )
        copies = np.flatnonzero(at % 200 == 199)
        vectors[copies] = (
            vectors[copies - 1] + draw.normal(0, 1e-3, (len(copies), base.shape[1])) * spread
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        artist = (group * 37 + draw.integers(30, size=n)) % max(tracks // 10, 1)
        album = artist * 3 + draw.integers(3, size=n)
        artist[copies], album[copies] = artist[copies - 1], album[copies - 1]
        labelled = draw.random(n) < 0.5
        content = [int(i).to_bytes(32, "big") for i in at]
        columns = {
            "path": [f"/made/{a}/{b}/{i}.flac" for a, b, i in zip(artist, album, at, strict=False)],
            "content": content,
            "size": (20_000_000 + at).tolist(),
            "mtime_ns": (at * 1_000).tolist(),
            "title": [f"Title {i - (i % 200 == 199)}" for i in at],
            "artist": [f"Artist {a}" for a in artist],
            "album": [f"Album {b}" for b in album],
            "genres": [
                [GENRES[g % len(GENRES)]] if is_labelled else []
                for g, is_labelled in zip(group, labelled, strict=False)
            ],
            "year": (1960 + album % 65).tolist(),
            "track_number": (1 + at % 12).tolist(),
            "seconds": (120.0 + at % 240).tolist(),
            "sample_rate": [44_100] * n,
            "channels": [2] * n,
            "container": ["flac"] * n,
            "codec": ["flac"] * n,
            "packets": [3_000] * n,
            "damaged_packets": [0] * n,
            "added_at": (1_700_000_000 + at).tolist(),
            "descriptors_version": [heard["descriptors_version"][0].as_py()] * n,
            "tempo": (60.0 + draw.random(n) * 120).tolist(),
            "loudness": (-20.0 + draw.random(n) * 12).tolist(),
            "key": draw.integers(24, size=n).tolist(),
            "loudness_is_exact": [True] * n,
            "is_steady": [False] * n,
            "logits": [[]] * n,
        }
        arrays = []
        for field in schema:
            if field.name == "vector":
                values = pa.array(vectors.astype(np.float16).ravel(), pa.float16())
                arrays.append(pa.FixedSizeListArray.from_arrays(values, type=field.type))
            else:
                arrays.append(pa.array(columns.get(field.name, [None] * n), field.type))
        table = pa.Table.from_arrays(arrays, schema=schema)
        pq.write_table(table, folder / f"tracks-{start:08}.parquet", compression="snappy")


def run(command):
    """The processor's seconds, most memory in MB, and whether it ended well."""

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (arguments.limit, arguments.limit + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory * 1_000_000,) * 2)

    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, preexec_fn=limit
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        # 1: what was asked for was answered in part, as where nothing was near.
        if process.returncode not in (0, 1):
            said.seek(0)
            print(
                command[3:],
                process.returncode,
                said.read().decode(errors="replace")[-300:],
                file=sys.stderr,
                flush=True,
            )
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000, process.returncode in (0, 1)


def main():
    sizes = [int(size) for size in arguments.sizes.split(",")]
    wanted = tuple(arguments.verbs.split(",")) if arguments.verbs else ("",)
    folder = arguments.keep or pathlib.Path(tempfile.mkdtemp(prefix="voisin-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    demo = folder / "demo"
    if not demo.exists():
        listen = [
            PROGRAM,
            "embed",
            str(ROOT / "data/demo"),
            "--format",
            "parquet",
            "--output",
            str(demo),
        ]
        subprocess.run(listen, check=True, stderr=subprocess.DEVNULL)
    found = {verb: [] for verb in VERBS if verb.startswith(wanted)}
    for size in sizes:
        library, parquet = folder / f"library-{size}", folder / f"parquet-{size}"
        if not parquet.exists():
            maker = multiprocessing.Process(target=make, args=(parquet, demo, size))
            maker.start()
            maker.join()
            if maker.exitcode:
                raise SystemExit("the tracks could not be made")
        taking_in = [PROGRAM, "--library", str(library), "add", "--from-parquet", str(parquet)]
        if "add --from-parquet" in found:
            shutil.rmtree(library, ignore_errors=True)
        for verb in found:
            if verb == "add --from-parquet":
                result = run(taking_in)
            else:
                if not library.exists():
                    run(taking_in)
                result = run(
                    [
                        PROGRAM,
                        "--library",
                        str(library),
                        *(word.replace("MAP", str(folder / "map")) for word in VERBS[verb]),
                    ]
                )
            found[verb].append(result)
            print(
                f"{size:>9} {verb:<20} {result[0]:9.2f} s {result[1]:7.0f} MB{'' if result[2] else '  NOT DONE'}",
                file=sys.stderr,
                flush=True,
            )
        disk = {
            name: (library / name).stat().st_size
            for name in ("voisin.db", "index.bin")
            if (library / name).exists()
        }
        print(
            f"{size:>9} "
            + ", ".join(f"{name} {bytes / size:.0f} bytes a track" for name, bytes in disk.items()),
            file=sys.stderr,
            flush=True,
        )
    print(
        "| processor s; MB |"
        + "".join(f" {size:,} |".replace(",", " ") for size in sizes)
        + " exponent | bytes a track |"
    )
    print("|---|" + "---|" * (len(sizes) + 2))
    for verb, results in found.items():
        cells = [
            f"{s:.2f}; {mb:.0f}" if fine else f"- (> {s:.0f}; {mb:.0f})" for s, mb, fine in results
        ]
        exponent = bytes = "-"
        if len(sizes) > 1 and results[-2][2] and results[-1][2]:
            (s0, mb0, _), (s1, mb1, _) = results[-2:]
            exponent = (
                f"{math.log(max(s1, 0.005) / max(s0, 0.005)) / math.log(sizes[-1] / sizes[-2]):.2f}"
            )
            bytes = f"{(mb1 - mb0) * 1e6 / (sizes[-1] - sizes[-2]):.0f}"
        print(f"| `{verb}` | " + " | ".join(cells) + f" | {exponent} | {bytes} |")
    if not arguments.keep:
        shutil.rmtree(folder)


main()
