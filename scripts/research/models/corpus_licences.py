#!/usr/bin/env python3
"""Writes models/corpus.tsv: licence and authors of every track of the training corpus.

    python scripts/research/models/corpus_licences.py MUSIC models/corpus.tsv
    python scripts/research/models/corpus_licences.py MORE --complete models/corpus_more.tsv

With --complete the table is the one that scripts/research/models/fetch_more.py reads, MORE is what it
fetched, and the columns `licence`, `authors` and `rule` of the table are filled in (the path that
counts is the one in the package, `source`).

MUSIC is the output of scripts/research/models/fetch_corpus.py: one folder per Debian package with the
package's `copyright` file in it. That file has the authors and the licence per path (or per
pattern), in Debian's machine-readable format 1.0 (DEP-5); packages whose file is free text are
marked `see copyright`, with the licences whose names occur in it. The last paragraph that matches a
path counts, by the format's definition. Needs only Python 3.9.
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
# Asked only where a file names none of the above.
OTHERS = [
    ("GPL", r"GNU General Public Licen[cs]e|\bGPL\b"),
    ("BSD", r"Redistribution and use in source and binary forms"),
    ("Zlib", r"must not be\s+misrepresented"),
    ("EFF-Open-Audio", r"EFF Open Audio License"),
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
    """Whether a pattern means this file. Patterns are of the source package, where a file may lie
    in another folder: so the last folders and the name (two parts or more, or a name without
    wildcards) may match the file's own last ones.
    """
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


def terms(package):
    """What a package's copyright file says: the rules (pattern, licence, authors) and what counts
    where none applies.
    """
    notice = package / "copyright"
    text = notice.read_text(errors="replace") if notice.exists() else ""
    machine = text.lstrip().lower().startswith("format:")
    rules = []
    for fields in paragraphs(text) if machine else []:
        for glob in fields.get("files", "").split():
            licence = fields.get("license", "").splitlines()[0] if fields.get("license") else ""
            rules.append((glob, licence, people(fields.get("copyright", ""))))
    names = [name for name, expression in KNOWN if re.search(expression, text, re.IGNORECASE)]
    names = names or [
        name for name, expression in OTHERS if re.search(expression, text, re.IGNORECASE)
    ]
    # Lines of a free text that say who holds rights; the packager is not among them.
    lines = [
        line
        for line in text.splitlines()
        if re.search(r"copyright \(c\)|©|\bauthors?\b.*[<@]", line, re.IGNORECASE)
    ]
    named = people("\n".join(line for line in lines if "debian" not in line.lower()))[:300]
    rest = (
        "see copyright (" + (", ".join(names) or "free, not named") + ")",
        named,
        "" if machine else "free text",
    )
    return rules, rest


def stated(rules, rest, inside):
    """(licence, authors, rule) of one file."""
    found = rest
    for glob, licence, who in rules:
        if licence and applies(glob, inside):
            found = (licence, who, glob)
    return found


def complete(music, table):
    """Fills in the licences of a table that names its tracks; returns its rows and those that are
    not free.
    """
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t")
        head, rows = list(reader.fieldnames), list(reader)
    head += [name for name in ("licence", "authors", "rule") if name not in head]
    known, refused = {}, []
    for row in rows:
        name = row["package"]
        if name not in known:
            known[name] = terms(music / name)
        inside = row["source"].replace("!", "/")
        row["licence"], row["authors"], row["rule"] = stated(*known[name], inside)
        if NON_COMMERCIAL.search(row["licence"]):
            refused.append(f"{name}/{inside}: {row['licence']}")
    return head, [[row[name] for name in head] for row in rows], refused


def every(music):
    """A row for each track below a folder of packages, and those that are not free."""
    rows, refused = [], []
    for package in sorted(path for path in music.iterdir() if path.is_dir()):
        rules, rest = terms(package)
        for path in sorted(package.rglob("*")):
            if path.suffix.lower() not in AUDIO:
                continue
            inside = path.relative_to(package).as_posix()
            licence, authors, rule = stated(rules, rest, inside)
            if NON_COMMERCIAL.search(licence):
                refused.append(f"{package.name}/{inside}: {licence}")
            rows.append([package.name, inside, licence, authors, rule])
    return ["package", "path", "licence", "authors", "rule"], rows, refused


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("music", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument(
        "--complete",
        action="store_true",
        help="OUTPUT is a table of scripts/research/models/fetch_more.py: fill in its licences",
    )
    options = parser.parse_args()
    head, rows, refused = (
        complete(options.music, options.output) if options.complete else every(options.music)
    )
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
    package_only = sum(row[head.index("licence")].startswith("see") for row in rows)
    print(f"{len(rows)} tracks, {package_only} with the package's terms only")
    for line in refused:
        print("not free:", line)


if __name__ == "__main__":
    main()
