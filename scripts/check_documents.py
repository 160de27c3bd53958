#!/usr/bin/env python3
"""Checks that the documents match the program: scripts/check_documents.py [--voisin PROGRAM]

- every relative link leads to a file, and every `scripts/NAME` or `research/NAME` in the text
  exists;
- no line is longer than 100 columns;
- blocks of Python and TOML can be parsed;
- each crate's README has 30 to 80 lines and a section "Limits" (models/README.md is a model card);
- the README's chart is that of BENCHMARKS.md (scripts/pictures/chart.py);
- docs/json.md: each command before an example is run, on a library of the demo's music, a file
  without audio, an exact copy and a truncated one; names and types of the output must equal those
  of the example.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap

import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *(
        "README.md",
        "BENCHMARKS.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "STYLE.md",
        "ARCHITECTURE.md",
        "models/README.md",
    ),
    *sorted(
        str(path.relative_to(ROOT))
        for part in ("docs/*.md", "research/*.md", "index/*.md", "crates/*/*.md", "crates/*/*/*.md")
        for path in ROOT.glob(part)
    ),
]
WIDTH = 100
# as wide as the program's help
GENERATED = {"docs/cli.md"}
# Tables that cannot be narrower: one is read by tests/architecture, one maps hnswlib's calls.
WIDE_TABLES = {"ARCHITECTURE.md", "index/README.md"}
# objects whose keys depend on the music, such as genres
BY_GENRE = {
    "probabilities",
    "basis",
    "head",
    "votes",
    "formats",
    "licences",
    "scales",
    "captions",
}

PARSERS = {"python": ast.parse, "toml": tomllib.loads}

faults = []


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def check_text(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if (
            len(line) > WIDTH
            and name not in GENERATED
            and not (name in WIDE_TABLES and line.startswith("|"))
        ):
            faults.append(f"{name}:{number}: {len(line)} columns, expected at most {WIDTH}")
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        path = target.partition("#")[0]
        if "://" not in target and path and not ((ROOT / name).parent / path).exists():
            faults.append(f"{name}: links to {target}, which does not exist")
    for block in re.finditer(r"^ *```(python|toml)\n(.*?)^ *```$", text, flags=re.M | re.S):
        try:
            PARSERS[block[1]](textwrap.dedent(block[2]))
        # of Python and of TOML
        except (SyntaxError, ValueError) as error:
            number = text.count("\n", 0, block.start()) + 1
            faults.append(f"{name}:{number}: expected {block[1]}, found {error}: wrapped lines?")
    for script in re.findall(r"\b(?:scripts|research(?:/\w+)?)/[\w.-]*\w(?![\w*…])", text):
        if not (ROOT / script).exists():
            faults.append(f"{name}: names {script}, which does not exist")


def shape(value, key=None):
    """Names and types of a value. Elements of a list are merged, null matches everything."""
    if isinstance(value, dict):
        if key in BY_GENRE and all(
            isinstance(inner, (int, float, str)) for inner in value.values()
        ):
            return {"*": joined([shape(inner) for inner in value.values()])}
        return {name: shape(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [joined([shape(inner) for inner in value])]
    if value is None:
        return None
    return {bool: "boolean", str: "text"}.get(type(value), "number")


def joined(shapes):
    found = None
    for one in shapes:
        if isinstance(found, dict) and isinstance(one, dict):
            found = {name: joined([found.get(name), one.get(name)]) for name in {**found, **one}}
        elif isinstance(found, list) and isinstance(one, list):
            found = [joined(found + one)]
        elif found is None:
            found = one
    return found


def compare(command, expected, actual, place=""):
    if expected is None or actual is None:
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in sorted(set(expected) ^ set(actual)):
            where = (
                "is printed but not documented"
                if name in actual
                else "is documented but not printed"
            )
            faults.append(f"docs/json.md: {command}: {place}{name} {where}")
        for name in set(expected) & set(actual):
            compare(command, expected[name], actual[name], f"{place}{name}.")
    elif isinstance(expected, list) and isinstance(actual, list):
        compare(command, expected[0], actual[0], place)
    elif expected != actual:
        faults.append(
            f"docs/json.md: {command}: {place.rstrip('.')} is {actual}, documented as {expected}"
        )


def check_json(program):
    text = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    examples = re.findall(r"^    (voisin [^\n]*)\n\n```json\n(.*?)^```$", text, flags=re.M | re.S)
    if not examples or len(examples) != text.count("```json"):
        faults.append(
            f"docs/json.md: expected a command before each of {text.count('```json')} examples, found {len(examples)}"
        )
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        music = work / "music"
        shutil.copytree(ROOT / "data/demo/library", music)
        shutil.copy(ROOT / "data/demo/held-out/sectoid-war-of-freedom.mp3", work / "new.mp3")
        (music / "bad.mp3").write_bytes(bytes(20_000))
        original = (music / "metal/muldjord-mutilated-mime.mp3").read_bytes()
        (music / "metal/copy.mp3").write_bytes(original)
        (music / "metal/cut.mp3").write_bytes(original[40_000:])
        environment = {**os.environ, "VOISIN_LIBRARY": str(work / "library")}
        for command, example in examples:
            words = [program, "--quiet", *shlex.split(command)[1:]]
            done = subprocess.run(
                words, capture_output=True, text=True, check=False, cwd=work, env=environment
            )
            try:
                answer = json.loads(done.stdout)
            except ValueError:
                faults.append(
                    f"docs/json.md: {command}: expected JSON, found exit code {done.returncode}: {done.stderr.strip()}"
                )
                continue
            if answer.get("items") == []:
                faults.append(f"docs/json.md: {command}: expected entries, found an empty list")
            compare(command, shape(json.loads(example)), shape(answer))
    finally:
        shutil.rmtree(work)
    return len(examples)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voisin", default=ROOT / "target/release/voisin", type=pathlib.Path)
    options = parser.parse_args()
    for name in DOCUMENTS:
        check_text(name)
    for path in sorted(ROOT.glob("crates/**/Cargo.toml")) + [ROOT / "index/Cargo.toml"]:
        path = path.with_name("README.md")
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if not 30 <= lines <= 80 or "\n## Limits\n" not in text:
            name = path.relative_to(ROOT)
            faults.append(f'{name}: {lines} lines, expected 30 to 80 with a section "Limits"')
    chart = subprocess.run(
        [sys.executable, ROOT / "scripts/pictures/chart.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if chart.returncode:
        faults.append(chart.stderr.strip())
    examples = check_json(options.voisin.resolve())
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"documents check: {len(DOCUMENTS)} documents, {examples} JSON answers")


if __name__ == "__main__":
    main()
