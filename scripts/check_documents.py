#!/usr/bin/env python3
"""Checks that the documents match the program: scripts/check_documents.py

- every relative link leads to a file, and every `scripts/NAME` in the text
  exists;
- no line is longer than 100 columns;
- blocks of Python and TOML can be parsed;
- the README's chart is that of BENCHMARKS.md (scripts/pictures/chart.py).
"""

import ast
import pathlib
import re
import subprocess
import sys
import textwrap

import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *(
        "README.md",
        "BENCHMARKS.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "models/README.md",
    ),
    *sorted(
        str(path.relative_to(ROOT))
        for part in ("docs/*.md", "scripts/research/*.md", "index/*.md")
        for path in ROOT.glob(part)
    ),
]
WIDTH = 100
# A table that cannot be narrower, since it maps hnswlib's calls.
WIDE_TABLES = {"index/README.md"}
PARSERS = {"python": ast.parse, "toml": tomllib.loads}

faults = []


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def check_text(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > WIDTH and not (name in WIDE_TABLES and line.startswith("|")):
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
    for script in re.findall(r"\b(?:scripts(?:/research(?:/\w+)?)?)/[\w.-]*\w(?![\w*…])", text):
        if not (ROOT / script).exists():
            faults.append(f"{name}: names {script}, which does not exist")


def main():
    for name in DOCUMENTS:
        check_text(name)
    chart = subprocess.run(
        [sys.executable, ROOT / "scripts/pictures/chart.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if chart.returncode:
        faults.append(chart.stderr.strip())
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"documents check: {len(DOCUMENTS)} documents")


if __name__ == "__main__":
    main()
