#!/usr/bin/env python3
"""Fetches the free music that voisin's weights are trained on, out of Debian's packages.

    scripts/research/models/fetch_corpus.py TABLE OUT [--package NAME ...]

TABLE is a tab-separated list with the columns `package` and `path` (the file's path below the
unpacked package's games or share folder, as printed in the table). Each package is downloaded with
`apt-get download`, only the listed files and the package's `copyright` file are kept, and the
package is deleted again. Files inside .zip and .pk3 archives are reached through the archive.
Existing packages are skipped, so that an aborted run resumes.

Needs a Debian or Ubuntu system with `apt-get` and `dpkg-deb`; nothing is installed.
"""

import argparse
import csv
import io
import pathlib
import subprocess
import sys
import tarfile
import zipfile

ARCHIVES = (".zip", ".pk3")


def wanted_files(table):
    """Maps each package to the base names of its wanted files."""
    packages = {}
    with open(table, newline="", encoding="utf-8", errors="replace") as handle:
        for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE):
            packages.setdefault(row["package"], set()).add(row["path"])
    return packages


def matches(name, paths):
    """The table's path of an archive member whose path ends alike, or None."""
    parts = pathlib.PurePosixPath(name).parts
    for path in paths:
        tail = pathlib.PurePosixPath(path).parts
        # The table counts from the unpacked package; archives count from their own root.
        for skip in range(1, len(tail)):
            if len(tail) - skip >= 2 and parts[-(len(tail) - skip) :] == tail[skip:]:
                return path
        if len(tail) <= 2 and parts[-1] == tail[-1]:
            return path
    return None


def save(out, package, path, data):
    """Below a folder of the package's own, which is a track's group in training, whether the table
    names it or not.
    """
    target = out / (path if path.startswith(f"{package}/") else f"{package}/{path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def unpack(package, deb, paths, out):
    """Writes the wanted members of one package below OUT; returns how many were found."""
    left = set(paths)
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            if not member.isfile():
                continue
            name = member.name
            if name.endswith(f"/doc/{package}/copyright"):
                save(out, package, "copyright", archive.extractfile(member).read())
            elif name.lower().endswith(ARCHIVES):
                with zipfile.ZipFile(io.BytesIO(archive.extractfile(member).read())) as inner:
                    for entry in inner.namelist():
                        path = matches(entry, left)
                        if path:
                            save(out, package, path, inner.read(entry))
                            left.discard(path)
            else:
                path = matches(name, left)
                if path:
                    save(out, package, path, archive.extractfile(member).read())
                    left.discard(path)
    if process.wait() != 0:
        raise SystemExit(f"{deb}: dpkg-deb failed; delete the file and run again")
    return len(paths) - len(left), sorted(left)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument(
        "--package", action="append", help="only this package; may be given several times"
    )
    arguments = parser.parse_args()
    packages = wanted_files(arguments.table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for package in sorted(packages):
        if arguments.package and package not in arguments.package:
            continue
        done = arguments.out / package / ".complete"
        if done.exists():
            continue
        download = subprocess.run(
            ["apt-get", "download", "-q", package],
            cwd=arguments.out,
            capture_output=True,
            text=True,
        )
        debs = sorted(arguments.out.glob(f"{package}_*.deb"))
        if download.returncode != 0 or not debs:
            failed.append(package)
            print(f"{package}: not to be had: {download.stderr.strip()}", file=sys.stderr)
            continue
        found, missing = unpack(package, debs[-1], packages[package], arguments.out)
        for deb in debs:
            deb.unlink()
        for path in missing:
            print(f"{package}: not in the package: {path}", file=sys.stderr)
        if found:
            done.write_text(f"{found}\n")
        print(f"{package}: {found} of {len(packages[package])} files", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
