"""Fixtures of the tests: the program at VOISIN, the demo's music, a library of five tracks of it."""

import multiprocessing
import os
import pathlib
import subprocess
import threading
import time

import pytest

import voisin

ROOT = pathlib.Path(__file__).resolve().parents[4]
PROGRAM = os.environ.get("VOISIN", str(ROOT / "target" / "release" / "voisin"))
DEMO = ROOT / "data" / "demo" / "library"
DOORS = ROOT / "tests" / "doors.tsv"
FILES = [
    "metal/muldjord-chaos-god.mp3",
    "metal/muldjord-armygeddon.m4a",
    "ambient/maxstack-nebula.ogg",
    "ambient/askyel-ambient-4.wav",
    "folk/omri-lahav-celtica.mp3",
]


@pytest.fixture(scope="session")
def embedder():
    return voisin.Embedder("musicnn-msd")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    if not pathlib.Path(PROGRAM).exists():
        pytest.skip(f"no program at {PROGRAM}: VOISIN names it")
    folder = tmp_path_factory.mktemp("library")
    subprocess.run(
        [
            PROGRAM,
            "--library",
            folder,
            "--model",
            "musicnn-msd",
            "add",
            *(DEMO / name for name in FILES),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def in_child(work, seconds=120):
    """The result of `work` in a forked child. One that hangs is ended, and the test fails."""
    context = multiprocessing.get_context("fork")
    answers, send = context.Pipe(duplex=False)
    child = context.Process(target=lambda: send.send(work()))
    child.start()
    send.close()
    if not answers.poll(seconds):
        child.kill()
        pytest.fail(f"the child did not answer within {seconds} s")
    answer = answers.recv()
    child.join(seconds)
    assert child.exitcode == 0
    return answer


def beats_during(call):
    """How often another thread ran during `call`: rarely if the interpreter's lock is held."""
    beats, done = [], threading.Event()

    def beat():
        while not done.is_set():
            beats.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
    finally:
        done.set()
        thread.join()
    return sum(start < beat < end for beat in beats)
