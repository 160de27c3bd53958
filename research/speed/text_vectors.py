#!/usr/bin/env python3
"""Embeddings of texts for the index benchmarks: text_vectors.py OUT FOLDER... [--vectors 100000]
[--queries 1000] [--dimension 256] [--seed 1]

Paragraphs of at least twelve words, each once, of the Markdown files and the documentation comments
of Rust sources below the folders (`~/.cargo/registry/src`, say) become vectors by latent semantic
analysis (Deerwester et al., 1990): words and pairs of words weighted by TF-IDF, then a truncated
SVD, then unit length. Queries are paragraphs of files that are not in the base. Writes
OUT/base.npy, OUT/queries.npy (float32) and OUT/truth.npy (int32, the 100 exact neighbours by dot
product), as research/speed/bench_index_rivals.py reads them. Needs numpy and scikit-learn.
"""

import argparse
import pathlib
import re

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("out", type=pathlib.Path)
p.add_argument("folders", type=pathlib.Path, nargs="+")
p.add_argument("--vectors", type=int, default=100_000)
p.add_argument("--queries", type=int, default=1000)
p.add_argument("--dimension", type=int, default=256)
p.add_argument("--seed", type=int, default=1)
a = p.parse_args()


def paragraphs(path):
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".rs":
        lines = (re.match(r"\s*//[/!] ?(.*)", line) for line in text.split("\n"))
        text = "\n".join(line[1] if line else "" for line in lines)
    for paragraph in re.split(r"\n\s*\n", text):
        if len(re.findall(r"[A-Za-z]{2,}", paragraph)) >= 12:
            yield " ".join(paragraph.split())


files = sorted(
    path for folder in a.folders for ending in ("md", "rs") for path in folder.rglob(f"*.{ending}")
)
np.random.default_rng(a.seed).shuffle(files)
seen, queries, base = set(), [], []
for path in files:
    new = [text for text in dict.fromkeys(paragraphs(path)) if text not in seen]
    seen.update(new)
    (queries if len(queries) < a.queries else base).extend(new)
    if len(base) >= a.vectors:
        break
if len(base) < a.vectors:
    raise SystemExit(
        f"expected paragraphs for {a.vectors} vectors, found {len(base)}: name more folders"
    )
queries, base = queries[: a.queries], base[: a.vectors]
words = TfidfVectorizer(
    sublinear_tf=True, min_df=5, max_df=0.2, ngram_range=(1, 2), dtype=np.float32
)
svd = TruncatedSVD(a.dimension, random_state=a.seed)
vectors = svd.fit_transform(words.fit_transform(base)).astype(np.float32)
asked = svd.transform(words.transform(queries)).astype(np.float32)
lengths = [np.linalg.norm(some, axis=1, keepdims=True) for some in (vectors, asked)]
# Without a word that others have, a text has no direction.
vectors, asked = (
    (some / np.maximum(length, 1e-6))[length[:, 0] > 1e-6]
    for some, length in zip((vectors, asked), lengths, strict=False)
)
truth = np.argsort(-asked @ vectors.T, axis=1, kind="stable")[:, :100].astype(np.int32)
a.out.mkdir(parents=True, exist_ok=True)
for name, value in (("base", vectors), ("queries", asked), ("truth", truth)):
    np.save(a.out / f"{name}.npy", value)
near = np.take_along_axis(asked @ vectors.T, truth[:, :1], axis=1)
print(
    f"{len(vectors)} paragraphs, {len(words.vocabulary_)} words and pairs; nearest cosine, median {np.median(near):.3f}"
)
