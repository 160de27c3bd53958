#!/usr/bin/env python3
"""What a library in PostgreSQL costs and gives, on one server and over three shards, beside the library on this disk.

    cargo build --release --features parquet,postgres
    python scripts/bench_backend.py DIR [--tracks 100000] [--dimension 512] [--queries 200] [--widths 40,100,200]

Makes vectors that are hard to search (2 000 groups of unequal size in 48 directions, and noise in all), writes them as
Parquet files as docs/parquet.md says, takes them into a library in DIR, pushes it, and asks `voisin eval index`. Servers are
PostgreSQL's with pgvector (scripts/install_postgres), on loopback; as root it runs them as the user postgres. Prints JSON.
Needs numpy and pyarrow.
"""
import argparse, hashlib, json, os, pathlib, shutil, socket, subprocess, sys, tempfile, time
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("dir"); p.add_argument("--tracks", type=int, default=100_000)
p.add_argument("--dimension", type=int, default=512); p.add_argument("--queries", type=int, default=200)
p.add_argument("--widths", default="40,100,200"); p.add_argument("--binary", default="target/release/voisin")
p.add_argument("--index-memory", type=int, default=1024); p.add_argument("--shards", type=int, default=3)
a = p.parse_args()
root = pathlib.Path(a.dir).resolve(); root.mkdir(parents=True, exist_ok=True)
library, vectors = root / "library", root / "vectors"
PG = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]


def voisin(*words):
    start = time.perf_counter()
    run = subprocess.run([a.binary, "--library", library, *words, "--format", "json"], capture_output=True, text=True)
    if run.returncode > 1: sys.exit(f"{words}: {run.stderr}")
    return {**json.loads(run.stdout), "wall_seconds": round(time.perf_counter() - start, 2)}


def hard(n, d, rng):
    latent = 48
    spread = rng.normal(size=(latent, d)).astype("f4") / np.sqrt(latent)
    weights = rng.pareto(1.2, 2000) + .05
    group = rng.choice(2000, n, p=weights / weights.sum())
    middle = rng.normal(size=(2000, latent)).astype("f4")
    x = (middle[group] + .8 * rng.normal(size=(n, latent)).astype("f4")) @ spread
    x += .25 * rng.normal(size=(n, d)).astype("f4")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def write(n, d):
    vectors.mkdir(exist_ok=True); rng = np.random.default_rng(1)
    meta = {"voisin.model": "synthetic", "voisin.fingerprint": "0" * 32, "voisin.dimension": str(d), "voisin.manifest": "{}"}
    x = hard(n, d, rng).astype("f2"); part = 10_000
    for at in range(0, n, part):
        rows = x[at:at + part]; m = len(rows); ids = range(at, at + m)
        none = lambda kind: pa.nulls(m, kind)
        vector = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float16()), d)
        kind = pa.list_(pa.float16(), d)
        columns = {
            "path": pa.array([f"/music/{i % 997}/{i}.flac" for i in ids]), "path_bytes": none(pa.binary()),
            "size": pa.array([1] * m, pa.uint64()), "mtime_ns": pa.array([1] * m, pa.int64()),
            "content": pa.array([hashlib.blake2b(str(i).encode(), digest_size=32).digest() for i in ids], pa.binary(32)),
            "title": pa.array([f"title {i}" for i in ids]), "artist": pa.array([f"artist {i % 9973}" for i in ids]),
            "album": none(pa.string()), "album_artist": none(pa.string()),
            "genres": pa.array([["half"] * (i % 2 == 0) + ["tenth"] * (i % 10 == 1) + ["hundredth"] * (i % 100 == 3)
                                + ["thousandth"] * (i % 1000 == 5) for i in ids], pa.list_(pa.string())),
            "year": pa.array([1950 + i % 75 for i in ids], pa.int32()), "track_number": none(pa.uint32()),
            "disc_number": none(pa.uint32()), "mbid": none(pa.string()), "isrc": none(pa.string()),
            "licence": none(pa.string()), "bpm": none(pa.float64()), "musical_key": none(pa.string()),
            "replay_gain": none(pa.float64()), "seconds": pa.array([200.] * m), "sample_rate": pa.array([44100] * m, pa.uint32()),
            "channels": pa.array([2] * m, pa.uint16()), "container": pa.array(["flac"] * m), "codec": pa.array(["flac"] * m),
            "packets": pa.array([1] * m, pa.uint64()), "damaged_packets": pa.array([0] * m, pa.uint64()),
            "added_at": pa.array([0] * m, pa.int64()), "descriptors_version": none(pa.uint32()), "tempo": none(pa.float64()),
            "key": none(pa.uint8()), "loudness": none(pa.float64()), "loudness_is_exact": none(pa.bool_()),
            "label": none(pa.string()), "model_fingerprint": pa.array(["0" * 32] * m), "dimension": pa.array([d] * m, pa.int32()),
            "vector": vector.cast(kind), "starts": none(pa.list_(pa.float32())), "windows": none(pa.list_(kind)),
            "failure": none(pa.string()), "transient": none(pa.bool_()),
        }
        table = pa.table(columns)
        pq.write_table(table.replace_schema_metadata(meta), vectors / f"tracks-{at:09}.parquet", compression="snappy")


class Server:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="voisin-bench-")); self.folder.chmod(0o700)
        with socket.socket() as s: s.bind(("127.0.0.1", 0)); self.port = s.getsockname()[1]
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.getuid() == 0 else []
        if self.user: shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-U", "voisin", "-A", "trust", "-N")
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c shared_buffers=512MB -c max_wal_size=4GB"
        self.run("pg_ctl", "-D", self.folder / "data", "-o", options, "-l", self.folder / "log", "-w", "start")
        self.url = f"postgres://voisin@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def run(self, program, *words):
        subprocess.run([*self.user, PG / program, *words], check=True, stdout=subprocess.DEVNULL, cwd="/")

    def psql(self, sql, **variables):
        words = [f"--set={name}={value}" for name, value in variables.items()]
        done = subprocess.run([PG / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "voisin", "-d", "postgres", "-AtXq",
                               "-v", "ON_ERROR_STOP=1", *words, "-f", "-"], input=sql, capture_output=True, text=True)
        if done.returncode: sys.exit(done.stderr)
        return done.stdout.strip()

    def stop(self):
        self.run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop"); shutil.rmtree(self.folder, ignore_errors=True)


INDEX = "create index on {} using hnsw (embedding halfvec_ip_ops) with (m = 16, ef_construction = 128)"
SIZES = "select coalesce(sum(pg_relation_size(i.indexrelid)), 0) from pg_index i where i.indrelid = '{}'::regclass and pg_get_indexdef(i.indexrelid) like '%embedding%'"
report = {"tracks": a.tracks, "dimension": a.dimension, "load": os.getloadavg(), "cores": os.cpu_count()}
if not (library / "voisin.db").exists():
    write(a.tracks, a.dimension)
    report["from_parquet"] = voisin("add", "--from-parquet", str(vectors))
measure = ["--widths", a.widths, "--queries", str(a.queries)]
one = Server()
try:
    report["push"] = voisin("push", "--to", one.url, "--index-memory", str(a.index_memory))
    report["push"]["rows_a_second"] = round(a.tracks / report["push"]["seconds"])
    report["again"] = voisin("push", "--to", one.url)
    report["index_bytes"] = int(one.psql(SIZES.format("voisin_track")))
    report["table_bytes"] = int(one.psql("select pg_table_size('voisin_track')"))
    report["one"] = voisin("eval", "index", "--backend", one.url, *measure)
finally:
    one.stop()
ddl = subprocess.run([a.binary, "--library", library, "push", "--print-ddl", "partitioned"], capture_output=True, text=True, check=True).stdout
parts = [f"-- {part}" for part in ddl.split("\n-- == ")][1:]
servers = [Server() for _ in range(4)]
try:
    variables = {}
    for i, shard in enumerate(servers[1:]):
        shard.psql(parts[i])
        variables |= {f"shard{i}_host": "127.0.0.1", f"shard{i}_port": shard.port, f"shard{i}_dbname": "postgres", f"shard{i}_user": "voisin"}
    servers[0].psql(parts[3], **variables)
    report["push_shards"] = voisin("push", "--to", servers[0].url)
    report["push_shards"]["rows_a_second"] = round(a.tracks / report["push_shards"]["seconds"])
    start = time.perf_counter()
    for i, shard in enumerate(servers[1:]):
        shard.psql(f"set maintenance_work_mem = '{a.index_memory}MB'; {INDEX.format(f'voisin_track_{i}')}; analyze")
    report["index_shards_seconds"] = round(time.perf_counter() - start, 1)
    report["shards"] = voisin("eval", "index", "--backend", servers[0].url, *measure)
finally:
    for server in servers: server.stop()
report["load_after"] = os.getloadavg()
print(json.dumps(report, indent=1))
