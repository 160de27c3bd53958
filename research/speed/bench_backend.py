#!/usr/bin/env python3
"""Measures a library in PostgreSQL, on one server and over three shards, against the library on
this disk.

    cargo build --release --features parquet,postgres
    python research/speed/bench_backend.py DIR [--tracks 100000] [--queries 200] [--widths 40,100,200] [--filters]
    python research/speed/bench_backend.py --fit REPORT... [--to 10000000,100000000]

Makes vectors of the default model's length that are hard to search (2 000 groups of unequal size in
48 directions, and noise in all), writes them as Parquet files (docs/parquet.md), adds them to
a library in DIR, pushes it, and runs `voisin eval index`. Servers are PostgreSQL's with
pgvector (scripts/install_postgres), on loopback; as root it runs them as the user postgres. Prints
JSON, which is saved in DIR/report.json after every step, so that an aborted run keeps its
measurements; --parts measures some parts and adds them to the report. CPU seconds are those of the
servers (Linux, /proc) and of voisin. Every query is also compared with all tracks, which takes most
of the time over shards and for many tracks: --shard-queries reduces the queries there. --signs also
builds an index of one bit per number and measures it. --keep leaves the servers running, with their
addresses in the report, for more queries. --delay repeats the queries with a delay in milliseconds
on the way back from the one server, and from each shard. --lists also measures lists.

--fit reads such reports of several sizes and prints the power of the number of tracks with which
each figure of one server grows, and extrapolates it to larger ones. Needs numpy, and pyarrow where
vectors are made.
"""

import argparse
import asyncio
import hashlib
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("dir", nargs="?")
p.add_argument("--tracks", type=int, default=100_000)
p.add_argument("--queries", type=int, default=200)
p.add_argument("--widths", default="40,100,200")
p.add_argument("--binary", default="target/release/voisin")
p.add_argument("--index-memory", type=int, default=1024, help="MB")
p.add_argument("--shared-buffers", type=int, default=512, help="MB")
p.add_argument("--shard-queries", type=int, help="questions over shards, where not --queries")
p.add_argument(
    "--filters", action="store_true", help="also under filters that pass a half to a thousandth"
)
p.add_argument(
    "--signs", action="store_true", help="also an index of one bit a number on the one server"
)
p.add_argument("--lists", action="store_true", help="also lists in several orders")
p.add_argument("--parts", default="library,one,shards")
p.add_argument("--keep", action="store_true")
p.add_argument("--delay", type=float, default=0, help="ms")
p.add_argument("--fit", nargs="+", metavar="REPORT")
p.add_argument("--to", default="10000000,100000000")
a = p.parse_args()


def fit():
    reports = sorted((json.load(open(name)) for name in a.fit), key=lambda report: report["tracks"])
    sizes = np.array([report["tracks"] for report in reports], float)
    larger = [int(n) for n in a.to.split(",")]
    figures = {
        "index, processor seconds": lambda report: report["push"]["index_processor_seconds"],
        "index, bytes": lambda report: report["index_bytes"],
        "table, bytes": lambda report: report["table_bytes"],
        "sending, processor seconds of both sides": lambda report: both(report["push"]),
        "sending to shards, processor seconds of both sides": lambda report: both(
            report["push_shards"]
        ),
        "indexes of shards, processor seconds": lambda report: sum(
            report["index_shards"]["processor_seconds"]
        ),
        "a search at the widest, processor ms": lambda report: report["one"]["widths"][-1][
            "servers_processor_ms"
        ],
        "a comparison with all, processor ms": lambda report: report["one"]["exact"][
            "servers_processor_ms"
        ],
        "library on this disk with its index, processor seconds": lambda report: report[
            "from_parquet"
        ]["processor_seconds"],
        "index on this disk, bytes": lambda report: report["local_bytes"]["index"],
        "database on this disk, bytes": lambda report: report["local_bytes"]["database"],
    }

    def both(sent):
        return sent["processor_seconds"] + sent["servers_processor_seconds"]

    rows = []
    for name, of in figures.items():
        try:
            values = np.array([of(report) for report in reports])
        except KeyError:
            continue
        exponent, offset = np.polyfit(np.log(sizes), np.log(values), 1)

        def at(n):
            return float(np.exp(offset) * n**exponent)

        worst = max(
            max(value / at(n), at(n) / value) for n, value in zip(sizes, values, strict=False)
        )
        rows.append(
            {
                "name": name,
                "measured": values.tolist(),
                "exponent": round(float(exponent), 3),
                "off_by_at_most": round(worst - 1, 3),
                "at": {n: float(f"{at(n):.4g}") for n in larger},
            }
        )
    print(json.dumps({"tracks": sizes.astype(int).tolist(), "figures": rows}, indent=1))


if a.fit:
    fit()
    sys.exit()
if not a.dir:
    p.error("expected a folder to work in")
import pyarrow as pa
import pyarrow.parquet as pq

root = pathlib.Path(a.dir).resolve()
root.mkdir(parents=True, exist_ok=True)
library, vectors = root / "library", root / "vectors"
PG = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
report = {"tracks": a.tracks, "load": os.getloadavg(), "cores": os.cpu_count()}
ours = set()


def note(name, value):
    file = root / "report.json"
    if file.exists():
        report.update({**json.loads(file.read_text()), **{key: report[key] for key in ours}})
    ours.add(name)
    report[name] = value
    report["load_after"] = os.getloadavg()
    file.with_suffix(".new").write_text(json.dumps(report, indent=1))
    file.with_suffix(".new").rename(file)
    print(name, file=sys.stderr, flush=True)


def voisin(*words, servers=(), library=library):
    start, before = time.perf_counter(), [server.processor() for server in servers]
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [a.binary, "--library", library, *words, "--format", "json"], capture_output=True, text=True
    )
    if run.returncode > 1:
        sys.exit(f"{words}: {run.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = {
        "wall_seconds": time.perf_counter() - start,
        "processor_seconds": after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime,
    }
    if servers:
        times["servers_processor_seconds"] = sum(
            server.processor() - was for server, was in zip(servers, before, strict=False)
        )
    return {**json.loads(run.stdout), **{name: round(value, 2) for name, value in times.items()}}


def hard(n, d):
    rng = np.random.default_rng(1)
    latent = 48
    spread = rng.normal(size=(latent, d)).astype("f4") / np.sqrt(latent)
    weights = rng.pareto(1.2, 2000) + 0.05
    weights /= weights.sum()
    middle = rng.normal(size=(2000, latent)).astype("f4")
    for at in range(0, n, 10_000):
        m = min(10_000, n - at)
        x = (
            middle[rng.choice(2000, m, p=weights)] + 0.8 * rng.normal(size=(m, latent)).astype("f4")
        ) @ spread
        x += 0.25 * rng.standard_normal((m, d), "f4")
        yield at, (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("f2")


def write(n):
    vectors.mkdir(exist_ok=True)
    # A file of the default model has its name and manifest, without which no vectors are believed.
    demo = pathlib.Path(__file__).parents[2] / "data/demo/held-out"
    subprocess.run(
        [
            a.binary,
            "embed",
            demo,
            "--format",
            "parquet",
            "--no-windows",
            "--output",
            root / "embedded",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    meta = {
        key.decode(): value.decode()
        for key, value in pq.read_schema(
            next((root / "embedded").glob("*.parquet"))
        ).metadata.items()
        if key.startswith(b"voisin.")
    }
    d = int(meta["voisin.dimension"])
    note("dimension", d)
    for at, rows in hard(n, d):
        m = len(rows)
        ids = range(at, at + m)

        def none(kind):
            return pa.nulls(m, kind)

        vector = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float16()), d)
        kind = pa.list_(pa.float16(), d)
        columns = {
            "path": pa.array([f"/music/{i % 997}/{i}.flac" for i in ids]),
            "path_bytes": none(pa.binary()),
            "size": pa.array([1] * m, pa.uint64()),
            "mtime_ns": pa.array([1] * m, pa.int64()),
            "content": pa.array(
                [hashlib.blake2b(str(i).encode(), digest_size=32).digest() for i in ids],
                pa.binary(32),
            ),
            "title": pa.array([f"title {i}" for i in ids]),
            "artist": pa.array([f"artist {i % 9973}" for i in ids]),
            "album": none(pa.string()),
            "album_artist": none(pa.string()),
            "genres": pa.array(
                [
                    ["half"] * (i % 2 == 0)
                    + ["tenth"] * (i % 10 == 1)
                    + ["hundredth"] * (i % 100 == 3)
                    + ["thousandth"] * (i % 1000 == 5)
                    for i in ids
                ],
                pa.list_(pa.string()),
            ),
            "year": pa.array([1950 + i % 75 for i in ids], pa.int32()),
            "track_number": none(pa.uint32()),
            "disc_number": none(pa.uint32()),
            "mbid": none(pa.string()),
            "isrc": none(pa.string()),
            "licence": none(pa.string()),
            "bpm": none(pa.float64()),
            "musical_key": none(pa.string()),
            "replay_gain": none(pa.float64()),
            "seconds": pa.array([200.0] * m),
            "sample_rate": pa.array([44100] * m, pa.uint32()),
            "channels": pa.array([2] * m, pa.uint16()),
            "container": pa.array(["flac"] * m),
            "codec": pa.array(["flac"] * m),
            "packets": pa.array([1] * m, pa.uint64()),
            "damaged_packets": pa.array([0] * m, pa.uint64()),
            "added_at": pa.array([0] * m, pa.int64()),
            "descriptors_version": none(pa.uint32()),
            "tempo": none(pa.float64()),
            "key": none(pa.uint8()),
            "loudness": none(pa.float64()),
            "loudness_is_exact": none(pa.bool_()),
            "label": none(pa.string()),
            "model_fingerprint": pa.array([meta["voisin.fingerprint"]] * m),
            "dimension": pa.array([d] * m, pa.int32()),
            "vector": vector.cast(kind),
            "starts": none(pa.list_(pa.float32())),
            "windows": none(pa.list_(kind)),
            "failure": none(pa.string()),
            "transient": none(pa.bool_()),
        }
        table = pa.table(columns)
        pq.write_table(
            table.replace_schema_metadata(meta),
            vectors / f"tracks-{at:09}.parquet",
            compression="snappy",
        )


class Server:
    def __init__(self, share=1):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="voisin-bench-"))
        self.folder.chmod(0o700)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.user = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
            if os.getuid() == 0
            else []
        )
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-U", "voisin", "-A", "trust", "-N")
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c shared_buffers={a.shared_buffers // share}MB -c max_wal_size={3072 // share}MB"
        self.run(
            "pg_ctl",
            "-D",
            self.folder / "data",
            "-o",
            options,
            "-l",
            self.folder / "log",
            "-w",
            "start",
        )
        self.url = f"postgres://voisin@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def run(self, program, *words):
        subprocess.run(
            [*self.user, PG / program, *words], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )

    def psql(self, sql, **variables):
        words = [f"--set={name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            [
                PG / "psql",
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "voisin",
                "-d",
                "postgres",
                "-AtXq",
                "-v",
                "ON_ERROR_STOP=1",
                *words,
                "-f",
                "-",
            ],
            input=sql,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout.strip()

    def processor(self):
        """Processor seconds of all its processes, those that have ended among them."""
        first = (self.folder / "data/postmaster.pid").read_text().split()[0]
        ticks = 0
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if stat.parent.name == first:
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == first:
                ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


def delayed(port):
    """A port that leads to this one, where every answer comes later."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def carry(reader, writer, delay):
        while chunk := await reader.read(1 << 16):
            loop.call_later(delay, writer.write, chunk)
        loop.call_later(delay, writer.close)

    async def meet(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            carry(reader, there[1], 0),
            carry(there[0], writer, a.delay / 1e3),
            return_exceptions=True,
        )

    def serve():
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(meet, "127.0.0.1", 0))
        serve.port = server.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()

    threading.Thread(target=serve, daemon=True).start()
    ready.wait()
    return serve.port


def ask_delayed(name, url, queries):
    note(
        name,
        voisin(
            "eval",
            "index",
            "--backend",
            url,
            "--queries",
            str(queries),
            "--widths",
            a.widths,
            "--dry-run",
            library=root / "none",
        ),
    )


INDEX = (
    "create index on {} using hnsw (embedding halfvec_ip_ops) with (m = 16, ef_construction = 128)"
)
SIZES = "select coalesce(sum(pg_relation_size(i.indexrelid)), 0) from pg_index i where i.indrelid = '{}'::regclass and pg_get_indexdef(i.indexrelid) like '%embedding%'"


def ask(name, servers, queries):
    """What the index gives, and the index of the library on this disk."""
    measure = ["eval", "index", "--backend", servers[0].url]
    plain = voisin(*measure, "--queries", str(queries), "--widths", a.widths, servers=servers)
    note(name, plain)
    # By how much forty times more searches take more of the servers' processors, and the rest is
    # comparing with all.
    few = [*measure, "--dry-run", "--queries", "10", "--widths"]
    widths, first = plain["widths"], plain["widths"][0]["width"]
    once = voisin(*few, str(first), servers=servers)["servers_processor_seconds"]
    for quality in widths:
        often = voisin(
            *few, ",".join([str(first)] + [str(quality["width"])] * 40), servers=servers
        )["servers_processor_seconds"]
        quality["servers_processor_ms"] = round((often - once) / 400 * 1e3, 2)
        note(name, plain)
    searches = (
        queries * sum(quality["servers_processor_ms"] for quality in widths)
        - 10 * widths[0]["servers_processor_ms"]
    )
    plain["exact"]["servers_processor_ms"] = round(
        (1e3 * (plain["servers_processor_seconds"] - once) - searches) / (queries - 10), 1
    )
    note(name, plain)
    # Without the library on this disk: it looks up the tracks that pass for each question anew,
    # which takes longest of all.
    for genre in ["half", "tenth", "hundredth", "thousandth"] if a.filters else []:
        note(
            f"{name}_{genre}",
            voisin(
                *measure,
                "--queries",
                str(queries),
                "--widths",
                "100",
                "--genre",
                genre,
                servers=servers,
                library=root / "none",
            ),
        )


def lists(name, servers):
    """What lists cost, start included, and how the server puts them in order."""
    figures = {}
    for words in (
        "--sort artist",
        "--sort title --reverse",
        "--sort path",
        "--sort time",
        "--sort artist --genre half",
        "--sort title --genre tenth --year 1990-1999",
    ):
        found = voisin(
            "list",
            "--limit",
            "50",
            *words.split(),
            "--backend",
            servers[0].url,
            servers=servers,
            library=root / "none",
        )
        figures[words] = {
            "total": found["total"],
            "processor_seconds": found["processor_seconds"],
            "servers_processor_seconds": found["servers_processor_seconds"],
        }
    order = "artist, album nulls last, disc nulls last, number nulls last, title nulls last, id"
    figures["explain"] = (
        servers[0]
        .psql(
            f"explain (analyze, costs off, timing off) select id from voisin_order where artist is not null order by {order} limit 50"
        )
        .splitlines()
    )
    note(f"{name}_lists", figures)


def one():
    server = Server()
    try:
        sent = voisin("push", "--to", server.url, "--no-index", servers=[server])
        if a.lists:
            server.psql("analyze voisin_track, voisin_order")
            lists("one", [server])
        made = voisin(
            "push", "--to", server.url, "--index-memory", str(a.index_memory), servers=[server]
        )
        note(
            "push",
            {
                **sent,
                "rows_a_second": round(a.tracks / sent["seconds"]),
                "index_seconds": made["index_seconds"],
                "index_processor_seconds": made["servers_processor_seconds"],
            },
        )
        note("again", {name: made[name] for name in ("unchanged", "seconds", "processor_seconds")})
        note("index_bytes", int(server.psql(SIZES.format("voisin_track"))))
        note("table_bytes", int(server.psql("select pg_table_size('voisin_track')")))
        note("vector_bytes", int(server.psql("select pg_total_relation_size('voisin_vector')")))
        ask("one", [server], a.queries)
        if a.delay:
            ask_delayed(
                "one_delayed",
                server.url.replace(str(server.port), str(delayed(server.port))),
                a.queries,
            )
        if a.signs:
            made = voisin(
                "push",
                "--to",
                server.url,
                "--index-bits",
                "1",
                "--index-memory",
                str(a.index_memory),
                servers=[server],
            )
            note(
                "push_signs",
                {
                    "index_seconds": made["index_seconds"],
                    "index_processor_seconds": made["servers_processor_seconds"],
                    "index_bytes": int(server.psql(SIZES.format("voisin_track"))),
                },
            )
            ask("one_signs", [server], a.queries)
        if a.keep:
            note("one_url", server.url)
    finally:
        if not a.keep:
            server.stop()


def shards():
    ddl = subprocess.run(
        [a.binary, "--library", library, "push", "--print-ddl", "partitioned"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    parts = [f"-- {part}" for part in ddl.split("\n-- == ")][1:]
    shards = len(parts) - 1
    servers = [Server(shards) for _ in parts]
    try:
        variables = {}
        for i, shard in enumerate(servers[1:]):
            shard.psql(parts[i])
            variables |= {
                f"shard{i}_host": "127.0.0.1",
                f"shard{i}_port": shard.port,
                f"shard{i}_dbname": "postgres",
                f"shard{i}_user": "voisin",
            }
        servers[0].psql(parts[-1], **variables)
        sent = voisin("push", "--to", servers[0].url, servers=servers)
        note("push_shards", {**sent, "rows_a_second": round(a.tracks / sent["seconds"])})
        # One after the other, since they share this machine; where each has its own they go at
        # once.
        seconds, processor = [], []
        for i, shard in enumerate(servers[1:]):
            start, before = time.perf_counter(), shard.processor()
            shard.psql(
                f"set maintenance_work_mem = '{a.index_memory // shards}MB'; {INDEX.format(f'voisin_track_{i}')}; analyze"
            )
            seconds.append(round(time.perf_counter() - start, 1))
            processor.append(round(shard.processor() - before, 1))
        note(
            "index_shards",
            {
                "seconds": seconds,
                "processor_seconds": processor,
                "bytes": [
                    int(shard.psql(SIZES.format(f"voisin_track_{i}")))
                    for i, shard in enumerate(servers[1:])
                ],
            },
        )
        if a.lists:
            servers[0].psql("analyze voisin_order")
            lists("shards", servers)
        ask("shards", servers, a.shard_queries or a.queries)
        if a.delay:
            for i, shard in enumerate(servers[1:]):
                servers[0].psql(
                    f"alter server voisin_shard_{i} options (set port '{delayed(shard.port)}')"
                )
            ask_delayed("shards_delayed", servers[0].url, a.shard_queries or a.queries)
        if a.keep:
            note("shards_url", servers[0].url)
    finally:
        for server in [] if a.keep else servers:
            server.stop()


parts = a.parts.split(",")
if "library" in parts and not (library / "voisin.db").exists():
    write(a.tracks)
    note("from_parquet", voisin("add", "--from-parquet", str(vectors)))
    shutil.rmtree(vectors)
if (library / "index.bin").exists():
    note(
        "local_bytes",
        {
            "index": (library / "index.bin").stat().st_size,
            "database": (library / "voisin.db").stat().st_size,
        },
    )
if "one" in parts:
    one()
if "shards" in parts:
    shards()
print(json.dumps(report, indent=1))
