"""The package as researchers use it: run by .ci/run with the wheel installed and the program at
VOISIN.
"""

import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time
import wave

import numpy as np
import pytest
from conftest import DEMO, DOORS, FILES, PROGRAM, beats_during, in_child

import voisin


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def samples_of(path):
    with wave.open(str(path)) as file:
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(
            -1, file.getnchannels()
        )
        return data.T.astype(np.float32) / 32768, file.getframerate()


def test_a_file_and_its_samples_are_the_same_music(embedder):
    path = DEMO / "ambient" / "askyel-ambient-4.wav"
    result = embedder.embed(path)
    assert result["vector"].shape == (embedder.dimension,) and result["vector"].dtype == np.float32
    assert result["windows"].shape == (len(result["starts"]), embedder.dimension)
    assert abs(np.linalg.norm(result["vector"]) - 1) < 1e-5
    assert np.all(np.diff(result["starts"]) > 0) and result["starts"][0] >= 0
    mean = result["windows"].astype("f8").mean(axis=0)
    assert cosine(mean, result["vector"]) > 0.99999
    samples, sr = samples_of(path)
    for audio in (
        samples,
        samples.mean(axis=0).astype(np.float64),
        list(samples.mean(axis=0)[: 10 * sr]),
    ):
        again = embedder.embed(audio, sr)
        if len(np.shape(audio)) == 2 or len(audio) > 10 * sr:
            assert cosine(again["vector"], result["vector"]) > 0.99999
            np.testing.assert_allclose(again["starts"], result["starts"])
    assert "musicnn-msd" in voisin.models()


def test_mistakes_are_python_errors(embedder, tmp_path):
    samples = np.zeros(48000, np.float32)
    with pytest.raises(TypeError, match="sample rate"):
        embedder.embed(samples)
    with pytest.raises(TypeError, match="floats"):
        embedder.embed(np.zeros(48000, np.int16), 16000)
    with pytest.raises(ValueError, match=r"\[channels, samples\]"):
        embedder.embed(np.zeros((48000, 2), np.float32), 16000)
    with pytest.raises(ValueError, match="finite"):
        embedder.embed(np.full(48000, np.nan, np.float32), 16000)
    with pytest.raises(ValueError, match="silent"):
        embedder.embed(np.zeros(160000, np.float32), 16000)
    with pytest.raises(ValueError, match="no model named"):
        voisin.Embedder("nothing of the kind")
    with pytest.raises(FileNotFoundError, match="voisin add FOLDER"):
        voisin.Library(tmp_path / "nowhere")
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no audio at all")
    with pytest.raises(ValueError, match="broken.mp3"):
        embedder.embed(broken)
    with pytest.raises(FileNotFoundError, match="nope.flac"):
        embedder.embed(tmp_path / "nope.flac")
    with pytest.raises(FileNotFoundError, match="nope.index"):
        voisin.VectorIndex.load(tmp_path / "nope.index")
    with pytest.raises(OSError, match="expected the name of a file"):
        voisin.VectorIndex(np.eye(3, dtype=np.float32)).save(tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        voisin.VectorIndex.load(broken)
    with pytest.raises(ValueError, match=r"expected the shape \[n, dimension\], found \[3\]"):
        voisin.VectorIndex(np.ones(3, np.float32))


def test_saving_an_index_overwrites_nothing_else(tmp_path):
    index = voisin.VectorIndex(np.eye(4, dtype=np.float32))
    path = tmp_path / "x.index"
    path.write_text("PRECIOUS")
    with pytest.raises(FileExistsError, match="force=True"):
        index.save(path)
    assert path.read_text() == "PRECIOUS"
    path.unlink()
    index.save(path)
    index.remove(0)
    index.save(path)
    assert len(voisin.VectorIndex.load(path)) == 3, "its own is renewed"
    path.write_text("PRECIOUS")
    index.save(path, force=True)
    assert len(voisin.VectorIndex.load(path)) == 3
    if os.name == "posix":
        link = tmp_path / "link.index"
        index.save(tmp_path / "real.index")
        link.symlink_to(tmp_path / "real.index")
        index.save(link)
        assert link.is_symlink() and len(voisin.VectorIndex.load(link)) == 3
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(OSError, match="expected the name of a file"):
            index.save(pipe, force=True)
        assert pipe.is_fifo()


def printed(folder, *words):
    done = subprocess.run(
        [PROGRAM, "--library", folder, "--model", "musicnn-msd", *words, "--format", "json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode <= 1, done.stderr
    return json.loads(done.stdout)


def test_a_library_answers_as_the_program_does(folder, embedder, caplog):
    library = voisin.Library(folder)
    assert len(library) == len(FILES) and library.model == "musicnn-msd" and library.path == folder
    for line in DOORS.read_text().splitlines():
        query, fields, command = line.split("\t")
        fields = json.loads(fields)
        if command == "-" or '{"id"' in line:
            continue
        ours = library.query(query, embedder=embedder, **fields)
        theirs = printed(folder, *command.split("|"))
        if query == "show":
            theirs = {"version": 1, **theirs["items"][0]}
        for name in ("generation", "next", "notes", "total"):
            if name not in theirs:
                ours.pop(name, None)
        assert {"version": 1, **ours} == theirs, line
    names = [str(DEMO / name) for name in FILES]
    with caplog.at_level("INFO", "voisin"):
        genres = library.classify(names, embedder=embedder)
    assert caplog.records and all(record.name == "voisin" for record in caplog.records)
    for ours, theirs in zip(genres, printed(folder, "classify", *names)["items"], strict=True):
        assert {**ours, "probabilities": 0} == {**theirs, "probabilities": 0}
    seed = next(track for track in library.tracks() if track["title"] == "Chaos God")
    found = library.similar("chaos god", limit=3)
    assert library.similar([seed["id"]], 3, exact=True) == found
    assert len(library.similar("chaos god", limit=None)) == len(FILES) - 1
    ids, vectors = library.vectors()
    assert ids.dtype == np.int64 and vectors.shape == (len(FILES), library.dimension)
    assert vectors.flags.owndata is False and vectors.flags.c_contiguous, (
        "Rust's memory, taken over"
    )
    row = vectors[list(ids).index(seed["id"])]
    near = library.similar(row, limit=4)
    assert near[0]["id"] != seed["id"] and near[0]["similarity"] > 0
    other = DEMO / "metal" / "muldjord-mutilated-mime.mp3"
    with pytest.raises(ValueError, match="embedder="):
        library.similar(other)
    assert library.similar(other, 1, embedder=embedder)[0]["artist"]
    again = pickle.loads(pickle.dumps(library))
    assert again.similar("chaos god", 3) == found and again.path == library.path


def test_wrong_questions_are_python_errors(folder):
    library = voisin.Library(folder)
    with pytest.raises(KeyError):
        library.query("show", 10**9)
    with pytest.raises(voisin.NoSuchTrack) as several:
        library.similar("muldj")
    assert "fits 2 tracks" in str(several.value) and "\n  id:" in str(several.value), (
        "in lines, without quotes"
    )
    with pytest.raises(
        ValueError, match=f"vector of dimension {library.dimension}, found one of 10"
    ):
        library.similar(np.ones(10))
    with pytest.raises(TypeError, match="expected an id, a path, words, or .* found True"):
        library.similar(True)
    with pytest.raises(TypeError, match="found a vector"):
        library.playlist(np.ones(library.dimension))
    with pytest.raises(ValueError, match="there is no query"):
        library.query("remove")
    for wrong, raised, message in [
        ({"limit": -1}, ValueError, "limit: expected u32, found integer `-1`"),
        ({"energy": 200}, ValueError, "energy: expected 0 to 100"),
        ({"from": float("nan")}, ValueError, "Out of range"),
        ({"genr": "Metal"}, ValueError, 'expected a field of .*genre, .*, found "genr"'),
        ({"genre": "Polka"}, KeyError, "no track of genre .*Polka"),
        ({"folder": "/no/such/folder"}, KeyError, "/no/such/folder"),
    ]:
        with pytest.raises(raised, match=message):
            library.similar("chaos god", **wrong)


def test_names_of_several_tracks_are_seeds(tmp_path, embedder, caplog):
    music = tmp_path / "music"
    for name in FILES[:4]:
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        (music / name).write_bytes((DEMO / name).read_bytes())
    library = voisin.Library(tmp_path / "library", create=True)
    assert library.add(music, embedder=embedder)["added"] == 4
    metal = {music / name for name in FILES[:2]}
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("\n".join([*map(str, sorted(metal)), "gone.mp3"]))
    for name, expected in [
        ("artist:muldjord", metal),
        ("muldjord", metal),
        (music / "metal", metal),
        (playlist, metal),
    ]:
        with caplog.at_level("INFO", "voisin"):
            answers = library.classify(name, embedder=embedder)
        assert {pathlib.Path(one["path"]) for one in answers} == expected, name
        found = {pathlib.Path(one["path"]) for one in library.similar(name, limit=None)}
        assert found and not found & expected, name
    messages = {record.message for record in caplog.records}
    assert "taken for artist:muldjord, 2 tracks" in messages
    assert f"{playlist}: 1 of 3 entries are not in the library and left out" in messages
    with pytest.raises(voisin.NoSuchTrack, match="artist:muldjord: expected one track, found 2"):
        library.path_between("artist:muldjord", "nebula")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        voisin.NoSuchTrack,
        match="no track of the library lies below it: run .voisin add. on it first",
    ):
        library.similar(empty)


def test_an_index_of_ones_own_vectors(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(3000) * 7 - 5
    index = voisin.VectorIndex(vectors, ids)
    assert len(index) == 3000 and index.dimension == 32 and (index.ids == np.sort(ids)).all()
    queries = vectors[::100]
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    found, similarities = index.search(queries, 10)
    assert found.shape == similarities.shape == (30, 10)
    assert np.mean([len(set(a) & set(ids[b])) for a, b in zip(found, truth, strict=False)]) > 9.9
    exact, values = index.search(queries, 10, exact=True)
    assert (exact[:, 0] == ids[::100]).all()
    np.testing.assert_allclose(values, np.take_along_axis(queries @ vectors.T, truth, 1), atol=2e-3)
    one, _ = index.search(queries[3], k=5)
    assert one.shape == (5,) and one[0] == ids[300]
    index.save(tmp_path / "index.bin")
    index.remove(int(ids[300]))
    assert index.search(queries[3], k=1)[0][0] != ids[300]
    with pytest.raises(KeyError):
        index.remove(int(ids[300]))
    index.add(1_000_000, vectors[300])
    assert index.search(queries[3], k=1)[0][0] == 1_000_000
    assert len(voisin.VectorIndex.load(tmp_path / "index.bin")) == 3000
    assert index.search(queries[:2], k=10**6)[0].shape == (2, 3000), "no more than there are"
    with pytest.raises(ValueError, match="length 0"):
        voisin.VectorIndex(0 * vectors)
    with pytest.raises(ValueError, match="dimension"):
        index.search(np.zeros(7, np.float32))
    with pytest.raises(ValueError):
        voisin.VectorIndex(vectors, ids[:-1])


def nearest(vectors, query, k):
    """Rows and cosines of the k nearest, by comparing with all."""
    values = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    order = np.argsort(-values, kind="stable")[:k]
    return order, values[order]


def test_an_index_searches_among_some_ids():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(3000, 16)).astype(np.float32)
    index = voisin.VectorIndex(vectors, np.arange(3000) * 2)
    some = np.arange(0, 6000, 14)
    found, _ = index.search(vectors[:40], 10, ids=some)
    truth = [2 * (some // 2)[nearest(vectors[some // 2], query, 10)[0]] for query in vectors[:40]]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=False)]) > 9.9
    assert index.search(vectors[0], 10, ids=[4, 6, 7, -1])[0].tolist() in ([4, 6], [6, 4])
    assert index.search(vectors[:3], 10, ids=[])[0].shape == (3, 0)


@pytest.mark.parametrize("dtype", ["f2", "f8", "i1", "u2", ">f4"])
def test_an_index_takes_real_numbers_of_any_type(dtype):
    rng = np.random.default_rng(4)
    vectors = rng.integers(1, 100, (300, 8)).astype(dtype)
    index = voisin.VectorIndex(vectors[:200])
    index.add(np.arange(200, 299), vectors[200:299])
    index.add(299, vectors[299])
    found, similarities = index.search(vectors[::30], 1)
    assert (similarities > 0.9999).all() and (found[:, 0] == np.arange(0, 300, 30)).all()


def test_an_index_refuses_what_is_no_number_or_no_id():
    square = np.eye(3, dtype="f4")
    index = voisin.VectorIndex(square)
    for wrong in (
        square * 1j,
        np.array([["1.5", "2"]]),
        np.eye(3, dtype=bool),
        [[1.0], [2.0, 3.0]],
    ):
        with pytest.raises(TypeError, match="vectors: expected an array of numbers"):
            voisin.VectorIndex(wrong)
    for wrong in (square * np.nan, [[1e39, 0, 0]]):
        with pytest.raises(ValueError, match="not finite"), np.errstate(all="ignore"):
            voisin.VectorIndex(wrong)
    for wrong, raised, words in [
        ([0, 1, 2.5], TypeError, "ids: expected an array of numbers"),
        ([True, False, True], TypeError, "ids: expected an array of numbers"),
        (np.array([0, 2**63, 1], "u8"), ValueError, "ids: expected whole numbers of 64 bits"),
        ([5, 5, 6], ValueError, "id 5 is there twice"),
    ]:
        with pytest.raises(raised, match=words):
            voisin.VectorIndex(square, wrong)
    with pytest.raises(OverflowError):
        index.search(square, width=-1)
    with pytest.raises(ValueError, match="query 1 of the batch: vector has length 0"):
        index.search([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="already"):
        index.add([9, 2], square[:2])
    assert len(index) == 3
    empty = voisin.VectorIndex()
    # Its first vectors decide its dimension.
    assert empty.search(np.ones((2, 128)), 5)[0].shape == (2, 0)
    empty.add(np.arange(5), np.random.default_rng(0).normal(size=(5, 20)))
    assert empty.dimension == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_refused(folder):
    library, index = voisin.Library(folder), voisin.VectorIndex(np.eye(3))

    def refused():
        with pytest.raises(RuntimeError, match="after a fork"):
            library.similar("chaos god")
        with pytest.raises(RuntimeError, match="after a fork"):
            index.search(np.eye(3))
        return True

    assert in_child(refused)


def test_other_threads_run_while_it_computes(embedder):
    path = DEMO / "folk" / "omri-lahav-celtica.mp3"
    assert beats_during(lambda: embedder.embed([path] * 8)) > 10


def test_everything_is_documented():
    for name in voisin.__all__:
        kind = getattr(voisin, name)
        if not isinstance(kind, type):
            continue
        assert kind.__doc__, name
        for member in set(dir(kind)) - set(dir(KeyError)):
            assert member.startswith("_") or getattr(kind, member).__doc__, (name, member)


def test_music_is_added(tmp_path, embedder):
    music = tmp_path / "music"
    music.mkdir()
    for name in FILES[:3]:
        (music / pathlib.Path(name).name).write_bytes((DEMO / name).read_bytes())
    (music / "broken.mp3").write_bytes(b"no audio at all")
    folder = tmp_path / "library"
    with pytest.raises(FileNotFoundError):
        voisin.Library(folder)
    library = voisin.Library(folder, create=True)
    calls = []
    done = library.add(
        music,
        embedder=embedder,
        threads=2,
        progress=lambda done, total: calls.append((done, total, len(library))),
    )
    assert (done["added"], done["failed"], done["model"]) == (3, 1, "musicnn-msd")
    assert [one["path"] for one in done["failures"]] == [str(music / "broken.mp3")]
    assert "not an audio file" in done["failures"][0]["reason"]
    assert [one[:2] for one in calls] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(library) == 3 and library.similar("chaos god")[0]["title"]
    again = library.add([music, DEMO / FILES[3]])
    assert (again["added"], again["unchanged"], again["skipped"], again["failures"]) == (
        1,
        3,
        1,
        [],
    )
    assert library.add(DEMO / FILES[3], force=True)["updated"] == 1
    assert len(library.duplicates()) == 0
    copy = music / "copy.mp3"
    copy.write_bytes((DEMO / FILES[0]).read_bytes())
    library.add(copy)
    (group,) = library.duplicates()
    assert {group["keep"]["path"], group["others"][0]["path"]} == {
        str(copy),
        str(music / "muldjord-chaos-god.mp3"),
    }
    with pytest.raises(ZeroDivisionError):
        library.add(DEMO / FILES[4], progress=lambda *_: 1 / 0)
    with pytest.raises(ValueError, match="this library's vectors are from model musicnn-msd"):
        library.add(
            DEMO / FILES[4],
            embedder=voisin.Embedder("openl3-music-mel128-512")
            if "openl3-music-mel128-512" in voisin.models()
            else voisin.Embedder(),
        )
    missing = library.add(tmp_path / "nowhere")
    assert missing["added"] == 0 and missing["failures"][0]["path"].endswith("nowhere")


def test_many_files_are_embedded_at_once(embedder, tmp_path):
    paths = [DEMO / name for name in FILES]
    calls = []
    together = embedder.embed(paths, threads=3, progress=lambda *counts: calls.append(counts))
    assert calls == [(n, len(FILES)) for n in range(1, len(FILES) + 1)]
    for path, other in zip(paths, together, strict=True):
        one = embedder.embed(path)
        assert (one["vector"] == other["vector"]).all() and (one["starts"] == other["starts"]).all()
    assert embedder.embed([]) == []
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no audio at all")
    with pytest.raises(ValueError, match="broken.mp3"):
        embedder.embed([paths[0], broken, paths[1]])
    with pytest.raises(ZeroDivisionError):
        embedder.embed(paths, progress=lambda *_: 1 / 0)


def test_embedding_can_be_interrupted():
    script = f"""
import signal, sys, voisin
# Whoever started the tests may ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
voisin.Embedder("musicnn-msd").embed([{str(DEMO / FILES[0])!r}] * 10**6, progress=lambda *_: print("embedded", flush=True))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.stdout.readline() != "embedded\n":
        pass
    process.send_signal(signal.SIGINT)
    start = time.perf_counter()
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and time.perf_counter() - start < 30
