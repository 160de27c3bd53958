"""Tables that data frames take over without a copy; run where those packages are, as .ci/run has
them.
"""

import ctypes

import numpy as np
import pytest
import voisin
from conftest import FILES

pa = pytest.importorskip("pyarrow")


def test_data_frames_take_a_library_over(folder):
    library = voisin.Library(folder)
    table = library.table()
    assert len(table) == len(FILES) and repr(table) == f"Table({len(FILES)} tracks, 35 columns)"
    ids, vectors = library.vectors()
    arrow = pa.table(table)
    assert arrow.column_names == table.columns
    assert arrow.schema.field("vector").type == pa.list_(
        pa.field("item", pa.float32(), False), library.dimension
    )
    rows = arrow.to_pylist()
    for row, track in zip(rows, library.tracks(), strict=True):
        assert row.pop("path") == str(track.path) and row.pop("genres") == list(track.genres)
        row.pop("vector")
        facts = {name: getattr(track, name, track.scales.get(name)) for name in row}
        assert row == facts
    np.testing.assert_array_equal(np.stack(arrow["vector"].to_numpy()), vectors)
    assert len(pa.table(library.table(vectors=False)).column_names) == 34
    metal = pa.table(library.table(genre="Metal", sort="title"))
    titles = metal["title"].to_pylist()
    assert 0 < len(titles) < len(FILES) and titles == sorted(titles)
    for id, vector in zip(metal["id"].to_pylist(), metal["vector"].to_pylist(), strict=False):
        np.testing.assert_array_equal(vector, vectors[list(ids).index(id)])
    assert len(library.table(year=1066)) == 0


def test_vectors_are_not_copied(folder):
    table = voisin.Library(folder).table()

    def address(table):
        vectors = pa.table(table)["vector"].chunk(0).flatten()
        return vectors.buffers()[1].address, vectors.to_numpy(zero_copy_only=True)

    first, numbers = address(table)
    second, _ = address(table)
    assert first == second, "each gets the memory that the table holds"
    del table
    # It lives as long as a reference to it.
    assert numbers[0] == ctypes.c_float.from_address(first).value and np.isfinite(numbers).all()


def test_polars_pandas_and_duckdb_know_it(folder):
    polars, pandas, duckdb = (pytest.importorskip(name) for name in ("polars", "pandas", "duckdb"))
    library = voisin.Library(folder)
    table = library.table()
    loudest = max(library.tracks(), key=lambda track: track.loudness)
    frame = polars.DataFrame(table)
    assert frame.shape == (len(FILES), 35) and frame["vector"].dtype == polars.Array(
        polars.Float32, library.dimension
    )
    assert frame.sort("loudness")["title"][-1] == loudest.title
    frame = pandas.DataFrame.from_arrow(table)
    assert frame.loc[frame.loudness.idxmax(), "title"] == loudest.title
    music = table
    assert duckdb.sql("select title from music order by loudness desc limit 1").fetchall() == [
        (loudest.title,)
    ]
