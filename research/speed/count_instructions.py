#!/usr/bin/env python3
"""Counts the instructions that `voisin add` runs on aarch64, by stage: QEMU's user emulation and a
plugin of 40 lines.

    rustup target add aarch64-unknown-linux-gnu cargo-zigbuild rustc --release --bin voisin --target
    aarch64-unknown-linux-gnu.2.28 -- -C strip=none research/speed/count_instructions.py PROGRAM
    FOLDER                  # with NEON and without research/speed/count_instructions.py PROGRAM
    FOLDER --functions      # the functions, most instructions first

Counts are per track: those of the first file of FOLDER alone, which include the program's start,
are subtracted from those of all files. A function belongs to the stage of its name, with the
functions inlined into it. These are instructions, not time: a division counts as much as a move,
and memory access is not counted. Needs Debian's gcc, binutils, qemu-user (7.2 or newer) and
libc6-arm64-cross.
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

# QEMU's plugin interface, version 1. Each block of code that is translated adds its length to its
# function's counter whenever it runs; counters of several threads are not added up atomically, so
# one thread does the work.
PLUGIN = r"""
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*translated)(uint64_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *counter, uint64_t step);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*ended)(uint64_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);

int qemu_plugin_version = 1;

enum { ADD_U64 = 0, BUCKETS = 1 << 16 };
static struct function { const char *name; uint64_t count; struct function *next; } *functions[BUCKETS];

static void translated(uint64_t id, struct qemu_plugin_tb *block) {
    const char *name = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(block, 0));
    if (!name)
        name = "";
    uint64_t hash = 5381;
    for (const char *at = name; *at; at++)
        hash = hash * 33 + (unsigned char)*at;
    struct function **slot = &functions[hash % BUCKETS];
    while (*slot && strcmp((*slot)->name, name))
        slot = &(*slot)->next;
    if (!*slot) {
        *slot = calloc(1, sizeof **slot);
        (*slot)->name = strdup(name);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &(*slot)->count, qemu_plugin_tb_n_insns(block));
}

static void ended(uint64_t id, void *path) {
    FILE *out = fopen(path, "w");
    for (int i = 0; out && i < BUCKETS; i++)
        for (struct function *one = functions[i]; one; one = one->next)
            fprintf(out, "%" PRIu64 "\t%s\n", one->count, one->name);
    if (out)
        fclose(out);
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
    if (argc != 1)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, strchr(argv[0], '=') + 1);
    return 0;
}
"""

# How the name of a function of each stage begins; the first that fits counts.
STAGES = {
    "decoding": "symphonia|opus_pure|voisin_audio::decoder",
    "voisin-3's network": "voisin_networks::conv",
    "MusiCNN": "voisin_networks::(musicnn|rows)",
    "Fourier transforms (resampling, mel, tempo, key)": "rustfft|realfft|num_complex",
    "mel bands": "voisin_features::(front_end|stft|mel|compress)|voisin_networks::simd",
    "tempo, key, loudness": "voisin_features|ebur128|voisin_audio::loudness",
    "reading, resampling": "voisin_audio|rubato|audioadapter",
    "digests": "blake3|sha2",
    "C library (copies, logarithms), code without a name": "$",
    "other": "",
}


def count(isa, folder):
    """Instructions of each function of one `voisin add` into a new library."""
    counts, library = work / "counts.tsv", work / "library"
    shutil.rmtree(library, ignore_errors=True)
    command = [
        "qemu-aarch64",
        "-L",
        "/usr/aarch64-linux-gnu",
        "-plugin",
        f"{work / 'count.so'},out={counts}",
        args.program,
        "--library",
        library,
        "--model",
        args.model,
        "--threads",
        "1",
        "--device",
        "cpu",
        "add",
        folder,
    ]
    subprocess.run(
        command, check=True, env=os.environ | {"VOISIN_ISA": isa}, stdout=subprocess.DEVNULL
    )
    rows = [line.split("\t") for line in counts.read_text().splitlines()]
    names = subprocess.run(
        ["c++filt"],
        input="\n".join(name for _, name in rows),
        capture_output=True,
        text=True,
        check=True,
    )
    functions = collections.Counter()
    for (number, _), name in zip(rows, names.stdout.split("\n"), strict=True):
        functions[re.sub(r"::h[0-9a-f]{16}$", "", name)] += int(number)
    return functions


parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("program", type=pathlib.Path)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--model", default="voisin-equal")
parser.add_argument("--functions", action="store_true")
args = parser.parse_args()

with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    (work / "count.c").write_text(PLUGIN)
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", work / "count.so", work / "count.c"],
        check=True,
    )
    files = sorted(path.resolve() for path in args.folder.iterdir() if path.is_file())
    if len(files) < 2:
        parser.error(f"two files or more are expected in {args.folder}; found {len(files)}")
    first = work / "first"
    first.mkdir()
    (first / files[0].name).symlink_to(files[0])
    for isa in ("neon", "portable"):
        functions = count(isa, args.folder)
        functions.subtract(count(isa, first))
        stages = functions
        if not args.functions:
            stages = collections.Counter()
            for name, number in functions.items():
                stages[
                    next(
                        stage
                        for stage, begins in STAGES.items()
                        if re.match(f"[<&]*({begins})", name)
                    )
                ] += number
        tracks, total = len(files) - 1, sum(functions.values())
        print(f"{isa}: {total / tracks / 1e6:.0f} million instructions a track")
        for name, number in stages.most_common(60):
            print(f"  {number / tracks / 1e6:9.1f} {number / total:6.1%}  {name}")
