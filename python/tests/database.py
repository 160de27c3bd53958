"""A PostgreSQL for the tests, and a library pushed to it."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest
from conftest import DEMO, PROGRAM

# Programs of PostgreSQL refuse to be root.
NOBODY = (
    ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
    if os.geteuid() == 0
    else []
)


def missing(what):
    assert "CI" not in os.environ, what
    pytest.skip(what)


def programs():
    """The folder of the programs of the newest PostgreSQL that has pgvector."""
    found = [
        one
        for one in pathlib.Path("/usr/lib/postgresql").glob("*/bin")
        if pathlib.Path(
            "/usr/share/postgresql", one.parent.name, "extension", "vector.control"
        ).exists()
    ]
    if not found:
        missing("no PostgreSQL with pgvector: scripts/install_postgres installs them")
    return max(found, key=lambda one: int(one.parent.name))


class Server:
    """On loopback, until it is closed."""

    def __init__(self):
        self.programs = programs()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = pathlib.Path(
            tempfile.gettempdir(), f"voisin-postgres-{os.getpid()}-{self.port}"
        )
        self.run("initdb", "-D", self.folder, "-U", "voisin", "-A", "trust", "-N", "-E", "UTF8")
        self.start()

    def run(self, program, *words):
        subprocess.run(
            [*NOBODY, self.programs / program, *words],
            check=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def start(self):
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self.run(
            "pg_ctl",
            "-D",
            self.folder,
            "-o",
            options,
            "-l",
            self.folder / "log",
            "-w",
            "-t",
            "60",
            "start",
        )

    def stop(self):
        self.run("pg_ctl", "-D", self.folder, "-m", "immediate", "-w", "stop")

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def psql(self, sql):
        """The output of statements."""
        words = [
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "voisin",
            "-d",
            "postgres",
            "-qAtXw",
            "-c",
            sql,
        ]
        done = subprocess.run(
            [self.programs / "psql", *words],
            env={**os.environ, "PGSSLMODE": "disable"},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def url(self, database="postgres"):
        return f"postgres://voisin@127.0.0.1:{self.port}/{database}?sslmode=disable"


def push(folder, server):
    done = subprocess.run(
        [PROGRAM, "--library", folder, "push", "--windows", "--to", server.url()],
        capture_output=True,
        text=True,
    )
    if "built without the feature postgres" in done.stderr:
        missing(f"{PROGRAM} has no support for databases: build it with --features postgres")
    assert done.returncode == 0, done.stderr


def demo_library(folder):
    """The demo's music as a library."""
    if not pathlib.Path(PROGRAM).exists():
        pytest.skip(f"no program at {PROGRAM}: VOISIN names it")
    subprocess.run(
        [PROGRAM, "--library", folder, "--model", "musicnn-msd", "add", DEMO],
        check=True,
        capture_output=True,
    )
