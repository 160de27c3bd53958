"""The recipes of docs/scale.md for Spark and Dask: all files have rows with
vectors or failures.
"""

import os
import pathlib
import subprocess
import sys
import wave

import numpy as np
import pytest

PAGE = pathlib.Path(__file__).resolve().parents[4] / "docs/scale.md"
CHECKS = {
    "Spark": "rows = [row.asDict() for row in spark.read.parquet('embedded').collect()]",
    "Dask": "rows = embedded",
}


@pytest.mark.parametrize(("engine", "package"), [("Spark", "pyspark"), ("Dask", "dask")])
def test_a_cluster_embeds_each_file(engine, package, tmp_path):
    pytest.importorskip(package)
    paths = [str(tmp_path / f"{i}.wav") for i in range(5)]
    for i, path in enumerate(paths[:-1]):
        noise = np.random.default_rng(i).integers(-8000, 8000, 8 * 22_050, dtype=np.int16)
        with wave.open(path, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(22_050)
            file.writeframes(noise.tobytes())
    pathlib.Path(paths[-1]).write_bytes(b"no audio at all")
    recipe = (
        PAGE.read_text()
        .split(f"### {engine}\n", 1)[1]
        .split("```python\n", 1)[1]
        .split("```", 1)[0]
    )
    script = (
        f"paths = {paths!r}\n{recipe}\n{CHECKS[engine]}\n"
        + """
import voisin
import numpy as np
rows = {row["path"]: row for row in rows}
assert sorted(rows) == paths, rows
embedder = voisin.Embedder()
for path in paths[:-1]:
    alone = embedder.embed(path)["vector"]
    assert np.array_equal(np.float32(rows[path]["vector"]), alone), path
assert "not an audio file" in rows[paths[-1]]["failure"] and rows[paths[-1]].get("vector") is None
"""
    )
    # Processes that Dask starts read the script again.
    body = "\n".join("    " + line for line in script.splitlines())
    program = tmp_path / "program.py"
    program.write_text(f"if __name__ == '__main__':\n{body}\n")
    env = {"PYSPARK_PYTHON": sys.executable, **os.environ}
    ran = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
