#!/usr/bin/env python3
"""Fetches more free music for training, out of packages of several Debian and Ubuntu suites.

    scripts/research/models/fetch_more.py models/corpus_more.tsv OUT --debian MIRROR [--ubuntu MIRROR]
    [--package NAME ...] [--keep FOLDER]

MIRROR is the address of any mirror of the distribution's archive, the part before `/dists/`.

The table names for each track the package, the suite and version it was taken from, the file inside
the package (`source`), where it goes below OUT/PACKAGE (`path`) and how it becomes a file that is
read directly (`made`):

    copy        kept as it is
    cut         the sound of the first five minutes, copied and not encoded again (longer pieces, and videos)
    encode      WAV or AIFF, encoded as Ogg Vorbis
    libopenmpt  a tracker module, rendered by FFmpeg with libopenmpt
    NAME.sf2    a MIDI file, rendered by FluidSynth with that SoundFont (or .sf3)

A file inside an archive is written `archive!member`; .zip, .pk3, .love and Doom's .wad files are
read. A package is looked up in the suite's index and checked against the index's SHA-256. A suite
moves on: if it has another version of a package than the table, this is reported and the files
are taken from there. Existing tracks are kept. Nothing is installed.

Needs Python 3.9, dpkg-deb, ffmpeg (with libopenmpt and libvorbis) and fluidsynth with the
SoundFonts named in the table (Debian: fluid-soundfont-gm, timgm6mb-soundfont,
musescore-general-soundfont: all free to render with).
"""

import argparse
import csv
import gzip
import hashlib
import io
import lzma
import pathlib
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile

# Ubuntu's suites hold packages that Debian no longer has; only `main` and `universe` are free
# software.
DEBIAN = {
    suite: [f"dists/{suite}/main/binary-{arch}/Packages.xz" for arch in ("all", "amd64")]
    for suite in ("bullseye", "bookworm", "trixie", "sid")
}
UBUNTU = {
    suite: [f"dists/{suite}/{part}/binary-amd64/Packages.gz" for part in ("main", "universe")]
    for suite in ("xenial", "bionic", "focal", "noble")
}
ARCHIVES = (".zip", ".pk3", ".love")
FONTS = (pathlib.Path("/usr/share/sounds/sf2"), pathlib.Path("/usr/share/sounds/sf3"))
SECONDS = 300


def download(address):
    with urllib.request.urlopen(address, timeout=300) as answer:
        return answer.read()


def index(suite, mirrors):
    """Maps each package of a suite to (address, version, SHA-256)."""
    packages = {}
    base, paths = (mirrors[0], DEBIAN[suite]) if suite in DEBIAN else (mirrors[1], UBUNTU[suite])
    for path in paths:
        data = download(f"{base}/{path}")
        text = (lzma if path.endswith("xz") else gzip).decompress(data).decode(errors="replace")
        for block in text.split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|Filename|SHA256): (.*)$", block, re.M))
            if len(fields) == 4:
                packages[fields["Package"]] = (
                    f"{base}/{fields['Filename']}",
                    fields["Version"],
                    fields["SHA256"],
                )
    return packages


def lumps(data):
    """Yields (name, bytes) of the music in a Doom WAD file: directory entries whose content is a
    MIDI file.
    """
    kind, count, start = struct.unpack_from("<4sii", data)
    if kind not in (b"IWAD", b"PWAD"):
        return
    for number in range(count):
        offset, size, name = struct.unpack_from("<ii8s", data, start + 16 * number)
        if data[offset : offset + 4] == b"MThd":
            yield name.rstrip(b"\0").decode("ascii", "replace"), data[offset : offset + size]


def members(deb, wanted=lambda name: True):
    """Yields (source, bytes) of each wanted file of a package, those in archives included."""
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            name = member.name[2:] if member.name.startswith("./") else member.name
            if not member.isfile() or not wanted(name):
                continue
            data = archive.extractfile(member).read()
            yield name, data
            if name.lower().endswith(ARCHIVES) and zipfile.is_zipfile(io.BytesIO(data)):
                with zipfile.ZipFile(io.BytesIO(data)) as inner:
                    for entry in inner.namelist():
                        if not entry.endswith("/") and wanted(f"{name}!{entry}"):
                            yield f"{name}!{entry}", inner.read(entry)
            elif name.lower().endswith(".wad"):
                for entry, music in lumps(data):
                    yield f"{name}!{entry}", music
    if process.wait() != 0:
        raise OSError(f"{deb}: dpkg-deb failed")


def font(name):
    for folder in FONTS:
        if (folder / name).exists():
            return folder / name
    raise OSError(f"no SoundFont {name} in {' or '.join(map(str, FONTS))}")


def call(command):
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise OSError(f"{command[0]}: {' '.join(done.stderr.strip().splitlines()[-1:])}")


def save(target, data):
    """Writes a file under another name first, so that a run that is cut off leaves no half of one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_bytes(data)
    part.rename(target)


def make(data, source, made, target):
    """Writes one track; raises OSError with the reason if it cannot."""
    if made == "copy":
        save(target, data)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        raw = folder / ("source" + pathlib.PurePosixPath(source).suffix.lower())
        raw.write_bytes(data)
        part = folder / ("part" + target.suffix)
        codec = (
            ["-c:a", "copy"]
            if made == "cut"
            else ["-c:a", "libvorbis", "-q:a", "5", "-ar", "44100"]
        )
        given = ["-f", "libopenmpt"] if made == "libopenmpt" else []
        if made.endswith((".sf2", ".sf3")):
            wave = folder / "midi.wav"
            call(
                [
                    "fluidsynth",
                    "-ni",
                    "-q",
                    "-g",
                    "0.7",
                    "-r",
                    "44100",
                    "-T",
                    "wav",
                    "-F",
                    str(wave),
                    str(font(made)),
                    str(raw),
                ]
            )
            raw = wave
        call(
            [
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                *given,
                "-t",
                str(SECONDS),
                "-i",
                str(raw),
                "-map",
                "0:a:0",
                "-vn",
                *codec,
                str(part),
            ]
        )
        save(target, part.read_bytes())


def fetch(package, rows, out, packages, keep):
    """Makes all tracks of one package; returns the complaints."""
    left = {}
    for row in rows:
        if not (out / package / row["path"]).exists():
            left.setdefault(row["source"], []).append(row)
    if not left and (out / package / "copyright").exists():
        return []
    if package not in packages:
        return [f"{package}: no longer in {rows[0]['suite']}"]
    address, version, digest = packages[package]
    complaints = []
    if version != rows[0]["version"]:
        complaints.append(
            f"{package}: {rows[0]['suite']} has version {version}, the table was made from {rows[0]['version']}"
        )
    notice = f"usr/share/doc/{package}/copyright"
    with tempfile.TemporaryDirectory() as folder:
        deb = (keep or pathlib.Path(folder)) / address.rsplit("/", 1)[1]
        if not deb.exists():
            deb.write_bytes(download(address))
        if hashlib.sha256(deb.read_bytes()).hexdigest() != digest:
            deb.unlink()
            return complaints + [
                f"{package}: {address} has not the SHA-256 that the index states; run again"
            ]
        # An archive is read for the sake of its members; members that nobody wants may be packed in
        # any way.
        wanted = {notice, *left, *(source.split("!")[0] for source in left)}
        for source, data in members(deb, wanted.__contains__):
            if source == notice:
                save(out / package / "copyright", data)
            for row in left.pop(source, []):
                try:
                    make(data, source, row["made"], out / package / row["path"])
                except OSError as error:
                    complaints.append(f"{package}: {source}: {error}")
    return complaints + [f"{package}: not in the package: {source}" for source in left]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument(
        "--debian", required=True, metavar="MIRROR", help="address of a mirror of Debian"
    )
    parser.add_argument(
        "--ubuntu",
        metavar="MIRROR",
        help="address of a mirror of Ubuntu; without it, its packages are left out",
    )
    parser.add_argument(
        "--package", action="append", help="only this package; may be given several times"
    )
    parser.add_argument(
        "--keep",
        type=pathlib.Path,
        help="keep the packages in this folder, and use those that are in it",
    )
    options = parser.parse_args()
    groups = {}
    with open(options.table, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            if not options.package or row["package"] in options.package:
                groups.setdefault((row["suite"], row["package"]), []).append(row)
    indexes, failed = {}, 0
    for (suite, package), rows in groups.items():
        if suite in UBUNTU and not options.ubuntu:
            print(
                f"{package}: in Ubuntu's {suite} alone, and no --ubuntu is given: left out",
                file=sys.stderr,
                flush=True,
            )
            continue
        if suite not in indexes:
            indexes[suite] = index(
                suite, [options.debian.rstrip("/"), (options.ubuntu or "").rstrip("/")]
            )
        complaints = fetch(package, rows, options.out, indexes[suite], options.keep)
        for line in complaints:
            print(line, file=sys.stderr, flush=True)
        failed += len(complaints)
        there = sum((options.out / package / row["path"]).exists() for row in rows)
        print(f"{package}: {there} of {len(rows)} tracks", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
