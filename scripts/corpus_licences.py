#!/usr/bin/env python3
"""Writes models/corpus.tsv: licence and authors of every track of the training corpus.

    python scripts/corpus_licences.py MUSIC models/corpus.tsv

MUSIC is what scripts/fetch_corpus.py unpacked: one folder per Debian package with the package's `copyright` file in it.
That file says per path (or per pattern) who made a file and under which licence, in Debian's machine-readable format 1.0
(DEP-5); packages whose file is free text are marked `see copyright`, with the licences whose names occur in it. The last
paragraph that matches a path counts, as the format says. Python 3.9, nothing else.
"""

import argparse
import csv
import pathlib
import re

AUDIO = {".ogg", ".oga", ".mp3", ".flac", ".opus", ".wav", ".m4a", ".mod", ".xm", ".it", ".s3m"}
KNOWN = [
    ("CC0-1.0", r"CC0|Creative Commons Zero"),
    ("CC-BY-SA-4.0", r"CC[- ]BY[- ]SA[- ]4|Attribution-ShareAlike 4"),
    ("CC-BY-SA-3.0", r"CC[- ]BY[- ]SA[- ]3|Attribution[- ]Share ?Alike 3"),
    ("CC-BY-4.0", r"CC[- ]BY[- ]4|Attribution 4"),
    ("CC-BY-3.0", r"CC[- ]BY[- ]3|Attribution 3"),
    ("GPL-3", r"GPL-3|General Public License[^.]{0,60}version 3"),
    ("GPL-2", r"GPL-2|General Public License[^.]{0,60}version 2"),
    ("public-domain", r"public[- ]domain"),
    ("Artistic", r"Artistic License"),
    ("Expat", r"Permission is hereby granted, free of charge, to any person obtaining"),
]
NON_COMMERCIAL = re.compile(r"non-?commercial|CC[- ]BY[- ]NC", re.IGNORECASE)


def paragraphs(text):
    """Yields {field: value} of each paragraph of a machine-readable file."""
    for block in re.split(r"\n\s*\n", text):
        fields, name = {}, None
        for line in block.splitlines():
            match = re.match(r"([A-Za-z][A-Za-z0-9-]*):\s*(.*)", line)
            if match and not line[0].isspace():
                name = match[1].lower()
                fields[name] = match[2].strip()
            elif name and line.strip():
                fields[name] += "\n" + line.strip()
        if fields:
            yield fields


def pattern(glob):
    """DEP-5 patterns: `*` matches slashes too."""
    escaped = re.escape(glob).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped + r"\Z")


def applies(glob, inside):
    """Whether a pattern means this file. Patterns are of the source package, where a file may lie in another folder: so
    the last folders and the name (two parts or more, or a name without wildcards) may match the file's own last ones."""
    if pattern(glob).match(inside):
        return True
    parts, own = glob.split("/"), inside.split("/")
    ends = ["/".join(own[i:]) for i in range(len(own))]
    for start in range(len(parts)):
        tail = parts[start:]
        if any(c in tail[0] for c in "*?") or (len(tail) == 1 and len(tail[0]) < 5):
            continue
        expression = pattern("/".join(tail))
        if any(expression.match(end) for end in ends):
            return True
    return False


def people(text):
    """Names in a Copyright field, without years, addresses and signs."""
    names = []
    for line in text.splitlines():
        line = re.sub(r"<[^>]*>|\(c\)|©|copyright", " ", line, flags=re.IGNORECASE)
        line = re.sub(r"\b(19|20)\d\d\b[\s,–-]*", " ", line)
        line = " ".join(line.split()).strip(" ,-:")
        if line and line not in names:
            names.append(line)
    return "; ".join(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("music", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    options = parser.parse_args()
    rows, refused = [], []
    for package in sorted(path for path in options.music.iterdir() if path.is_dir()):
        notice = package / "copyright"
        text = notice.read_text(errors="replace") if notice.exists() else ""
        machine = text.lstrip().lower().startswith("format:")
        rules = []
        for fields in paragraphs(text) if machine else []:
            for glob in fields.get("files", "").split():
                licence = fields.get("license", "").splitlines()[0] if fields.get("license") else ""
                rules.append((glob, licence, people(fields.get("copyright", ""))))
        names = [name for name, expression in KNOWN if re.search(expression, text, re.IGNORECASE)]
        # Lines of a free text that say who holds rights; the packager is not among them.
        lines = [line for line in text.splitlines() if re.search(r"copyright \(c\)|©|\bauthors?\b.*[<@]", line, re.IGNORECASE)]
        named = people("\n".join(line for line in lines if "debian" not in line.lower()))[:300]
        for path in sorted(package.rglob("*")):
            if path.suffix.lower() not in AUDIO:
                continue
            inside = path.relative_to(package).as_posix()
            licence, authors, rule = "", "", ""
            for glob, terms, who in rules:
                if applies(glob, inside):
                    licence, authors, rule = terms, who, glob
            if not licence:
                licence = "see copyright (" + (", ".join(names) or "free, not named") + ")"
                rule = "" if machine else "free text"
                authors = named
            if NON_COMMERCIAL.search(licence):
                refused.append(f"{package.name}/{inside}: {licence}")
            rows.append([package.name, inside, licence, authors, rule])
    with options.output.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["package", "path", "licence", "authors", "rule"])
        writer.writerows(rows)
    print(f"{len(rows)} tracks, {sum(1 for row in rows if row[2].startswith('see'))} with the package's terms only")
    for line in refused:
        print("not free:", line)


if __name__ == "__main__":
    main()
