"""Forked children, and the files of an index."""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
import voisin
from conftest import in_child

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
VECTORS = np.random.default_rng(7).standard_normal((9000, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def index():
    index = voisin.VectorIndex(VECTORS)
    index.search(VECTORS[:100])
    return index


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_forked_child_searches_as_its_parent(index):
    ways = [
        lambda: index.search(VECTORS[3], k=5),
        lambda: index.search(VECTORS[:100], k=5),
        lambda: index.search(VECTORS[:100], k=5, exact=True),
        lambda: index.search(VECTORS[:100], k=5, filter=np.arange(0, 9000, 7)),
        lambda: index.kneighbors(n_neighbors=3),
        lambda: index.kneighbors(VECTORS[:50], 3),
    ]
    for way in ways:
        assert same(in_child(way), way())
    # And its child.
    assert same(in_child(lambda: in_child(ways[1])), ways[1]())


def test_a_forked_child_builds_changes_and_saves(index, tmp_path):
    def build():
        return voisin.VectorIndex(VECTORS, graph=True).search(VECTORS[:20], k=3)

    def change():
        index.add(np.arange(20_000, 23_000), VECTORS[:3000] + 1)
        for id in range(100):
            index.remove(id)
        index.save(tmp_path / "child.index")
        return len(index), len(pickle.loads(pickle.dumps(index)))

    assert same(in_child(build), build())
    assert in_child(change) == (11_900, 11_900)
    # The parent's is unchanged; the file exists.
    assert len(index) == 9000 and len(voisin.VectorIndex.load(tmp_path / "child.index")) == 11_900
    small = in_child(
        lambda: voisin.VectorIndex(VECTORS[:50]).search(VECTORS[:5], k=1)[0].ravel().tolist()
    )
    assert small == [0, 1, 2, 3, 4]


def nearest(rows, index=None):
    index = index or voisin_index
    return index.search(VECTORS[rows : rows + 10], k=3)[0][:, 0].tolist()


def test_pools_search_what_they_inherit_or_are_given(index):
    global voisin_index
    voisin_index = index
    expected = [list(range(rows, rows + 10)) for rows in range(0, 200, 10)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map_async(nearest, range(0, 200, 10)).get(120) == expected
    joblib = pytest.importorskip("joblib")
    # From Python 3.14 on those processes are not children of this one.
    for backend in ["multiprocessing", "threading"]:
        jobs = [joblib.delayed(nearest)(rows, index) for rows in range(0, 200, 10)]
        assert joblib.Parallel(n_jobs=3, backend=backend, timeout=120)(jobs) == expected
    # Spawned processes, for which the index is pickled.
    jobs = [
        joblib.delayed(lambda index, rows: index.search(rows, k=1)[0].ravel().tolist())(
            index, VECTORS[:3]
        )
    ]
    assert joblib.Parallel(n_jobs=2, backend="loky", timeout=120)(jobs) == [[0, 1, 2]]


def test_a_child_of_a_busy_parent_answers(index):
    done = threading.Event()

    def search():
        while not done.is_set():
            index.search(VECTORS[:200], k=5)

    busy = [threading.Thread(target=search) for _ in range(3)]
    for thread in busy:
        thread.start()
    try:
        for start in range(0, 50, 10):
            rows = VECTORS[start : start + 10]
            ids = in_child(lambda rows=rows: index.search(rows, k=1)[0].ravel().tolist())
            assert ids == list(range(start, start + 10))
    finally:
        done.set()
        for thread in busy:
            thread.join()


def test_a_library_raises_after_a_fork(folder):
    library = voisin.Library(folder)

    def ask():
        with pytest.raises(RuntimeError, match="open it again"):
            len(library)
        return len(voisin.Library(folder))

    assert in_child(ask) == len(library)


def test_a_changed_index_is_one_file(tmp_path):
    path = tmp_path / "v.index"
    index = voisin.VectorIndex(VECTORS[:7000])
    index.save(path)
    index.add(np.arange(7000, 7250), VECTORS[7000:7250])
    for id in range(900):
        index.remove(id)
    index.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["v.index"]
    moved = voisin.VectorIndex.load(path.rename(tmp_path / "other"))
    assert np.array_equal(moved.ids, np.arange(900, 7250))
    assert same(moved.search(VECTORS[:300], k=5), index.search(VECTORS[:300], k=5))
    again = pickle.loads(pickle.dumps(moved))
    assert same(again.search(VECTORS[:300], k=5), index.search(VECTORS[:300], k=5))


def test_pickling_needs_no_folder_for_temporary_files(index, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    again = pickle.loads(pickle.dumps(index))
    assert same(again.search(VECTORS[:10], k=5), index.search(VECTORS[:10], k=5))


def test_what_happens_to_a_file_changes_no_index(index, tmp_path):
    path = tmp_path / "v.index"
    expected = index.search(VECTORS[:100], k=5)
    for harm in [
        lambda: os.truncate(path, 5000),
        lambda: path.write_bytes(b"another kind of file " * 100_000),
        lambda: path.write_bytes(bytes(path.stat().st_size)),
        lambda: path.unlink(),
    ]:
        index.save(path, force=True)
        loaded = voisin.VectorIndex.load(path)
        inode = path.stat().st_ino
        harm()
        assert not path.exists() or path.stat().st_ino == inode
        assert same(loaded.search(VECTORS[:100], k=5), expected)
        assert same(
            loaded.search(VECTORS[:100], k=5, exact=True),
            index.search(VECTORS[:100], k=5, exact=True),
        )
