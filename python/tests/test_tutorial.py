"""docs/tutorial.ipynb runs, and shows the figures that it should."""

import json
import pathlib

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def test_the_tutorial_runs_and_its_figures_hold(monkeypatch, capsys):
    for needed in ("polars", "pyarrow", "duckdb", "sklearn", "matplotlib"):
        pytest.importorskip(needed)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(DOCS)
    cells = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    names = {}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    assert names["vectors"].shape == (43, 256)
    assert (names["done"]["added"], names["done"]["failed"]) == (43, 0)
    assert names["frame"].shape[0] == 43
    alike = capsys.readouterr().out.splitlines()[:5]
    assert all(" metal " in line for line in alike), alike
    # Chance would be right for one in six.
    assert sum(names["predicted"] == names["styles"]) > 43 / 3
    assert names["recall"] >= 0.995
