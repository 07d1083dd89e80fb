"""Measure a text classifier's file in scikit-learn and in Millpond, side by side in one run.

    cargo build --release -p infer --example bench_texts
    python bench_tfidf.py ../reviews/1/fast.tfidf --data reviews --bench ../../target/release/examples/bench_texts

scikit-learn gets the file's own vocabulary and weights, so that both compute the same. One thread each; microseconds for a text: the
median of single texts, and the best of some runs over 10,000 together (which waits the least for other programs).
"""

import argparse
import json
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from train_reviews import read


def read_file(path):
    """Vectorizer and classifier of a file of two classes, as export_tfidf.py wrote it."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    settings = json.loads(header["__metadata__"]["settings"])
    types = {"U8": "u1", "U32": "<u4", "F32": "<f4", "F64": "<f8"}

    def tensor(name):
        start, end = header[name]["data_offsets"]
        return np.frombuffer(data[8 + length + start : 8 + length + end], dtype=types[header[name]["dtype"]])

    ends = np.cumsum(tensor("lengths").astype(np.int64))
    text = tensor("terms").tobytes()
    terms = [text[start:end].decode() for start, end in zip([0, *ends[:-1]], ends)]
    options = settings["vectorizer"]
    vectors = TfidfVectorizer(
        analyzer=options["analyzer"],
        ngram_range=tuple(options["ngram_range"]),
        lowercase=options["lowercase"],
        sublinear_tf=settings["sublinear_tf"],
        norm=settings["norm"],
        vocabulary=terms,
    )
    vectors.fit(["a"])
    vectors.idf_ = tensor("idf").astype(np.float64)
    model = LogisticRegression()
    model.classes_ = np.array(settings["labels"])
    model.coef_ = tensor("weights").astype(np.float64).reshape(1, -1)
    model.intercept_ = tensor("intercept").astype(np.float64)
    return vectors, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the folder of test.tsv.xz")
    parser.add_argument("--bench", type=pathlib.Path, required=True, help="the program bench_texts")
    arguments = parser.parse_args()
    texts = read(arguments.data / "test.tsv.xz")[0][:10_000]
    start = time.perf_counter()
    vectors, model = read_file(arguments.file)
    times = {"load": (time.perf_counter() - start) * 1e6}

    def ask(asked):
        return model.predict_proba(vectors.transform(asked))[:, 1]

    def took(asked):
        start = time.perf_counter()
        ask(asked)
        return (time.perf_counter() - start) * 1e6

    times["one"] = statistics.median(took([text]) for text in texts[:2_000])
    times["batch"] = min(took(texts) for _ in range(5)) / len(texts)
    expected = float(ask(texts).sum())
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "texts.json"
        path.write_text(json.dumps(texts))
        ours = json.loads(subprocess.run([arguments.bench, arguments.file, path], check=True, capture_output=True).stdout)
    assert abs(ours["sum"] - expected) < 1e-3, (ours["sum"], expected)
    for name in ("one", "batch"):
        print(f"{name}: scikit-learn {times[name]:.1f} µs, Millpond {ours[name]:.2f} µs, {times[name] / ours[name]:.0f} times")
    print(f"load: scikit-learn's from the same file {times['load'] / 1e3:.0f} ms, Millpond {ours['load'] / 1e3:.1f} ms")


if __name__ == "__main__":
    main()
