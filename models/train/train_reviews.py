"""Train the fast reviews model: TF-IDF over n-grams of characters and a logistic regression.

    python train_reviews.py --data reviews --out ../reviews/1

writes fast.tfidf and prints what model.toml says of it. `reviews` has train.tsv.xz and test.tsv.xz of the Naver sentiment movie corpus
(id, document, label; a first line of names). `--hold-out` trains on nine tenths of train.tsv.xz, writes nothing, and prints the accuracy on the
rest for several sizes of the vocabulary: that is how the size was chosen.
"""

import argparse
import hashlib
import json
import lzma
import pathlib

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

import export_tfidf

LABELS = np.array(["negative", "positive"])
TERMS = 100_000
# Terms that are looked at; the most frequent ones.
CANDIDATES = 300_000
C = 2


def read(path):
    texts, labels = [], []
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        next(lines)
        for line in lines:
            _, text, label = line.rstrip("\r\n").split("\t")
            texts.append(text)
            labels.append(LABELS[int(label)])
    return texts, np.array(labels)


def vectorizer(**more):
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, **more)


def classifier():
    return LogisticRegression(C=C, solver="liblinear")


def by_use(features, weights) -> np.ndarray:
    """Terms, the most used first: by the size of what they contribute to decisions, as root mean square over the texts."""
    squares = np.bincount(features.indices, weights=features.data.astype(np.float64) ** 2, minlength=features.shape[1])
    return np.argsort(-np.abs(weights) * np.sqrt(squares), kind="stable")


def candidates(texts, labels):
    """All candidates' features, and their order."""
    # f32 is enough to choose by.
    vectors = vectorizer(min_df=2, max_features=CANDIDATES, dtype=np.float32)
    features = vectors.fit_transform(texts)
    return vectors, features, by_use(features, classifier().fit(features, labels).coef_[0])


def hold_out(texts, labels) -> None:
    held = np.random.default_rng(1).permutation(len(texts)) < len(texts) // 10
    vectors, features, order = candidates([text for text, out in zip(texts, held) if not out], labels[~held])
    others = vectors.transform([text for text, out in zip(texts, held) if out])
    for size in (25_000, 50_000, 100_000, 150_000, len(order)):
        kept = np.sort(order[:size])
        model = classifier().fit(normalize(features[:, kept]), labels[~held])
        print(size, "terms:", model.score(normalize(others[:, kept]), labels[held]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the folder of train.tsv.xz and test.tsv.xz")
    parser.add_argument("--out", type=pathlib.Path, help="the bundle's folder, which gets fast.tfidf")
    parser.add_argument("--hold-out", action="store_true", help="compare sizes of the vocabulary instead")
    arguments = parser.parse_args()
    texts, labels = read(arguments.data / "train.tsv.xz")
    if arguments.hold_out:
        return hold_out(texts, labels)
    if arguments.out is None:
        parser.error("--out says where fast.tfidf goes")

    vectors, _, order = candidates(texts, labels)
    kept = sorted(vectors.get_feature_names_out()[order[:TERMS]])
    vectors = vectorizer(vocabulary=kept)
    features = vectors.fit_transform(texts)
    model = classifier().fit(features, labels)
    # In f32 numbers take half the room, in scikit-learn's model as in the file, so that both give the same answers.
    vectors.idf_ = vectors.idf_.astype(np.float32).astype(np.float64)
    model.coef_ = model.coef_.astype(np.float32).astype(np.float64)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "fast.tfidf"
    export_tfidf.export(vectors, model, path)

    test_texts, test_labels = read(arguments.data / "test.tsv.xz")

    def answers(asked):
        shares = model.predict_proba(vectors.transform(asked))
        return [dict(zip(model.classes_, map(float, row))) for row in shares]

    golden = ["정말 재미있게 봤어요. 배우들 연기도 최고!", "시간이 아깝다... 지루하고 뻔한 이야기", "", "그냥 그래요", "ㅋㅋㅋㅋ👍👍👍", "Best   film\tEVER!!"]
    print(
        json.dumps(
            {
                "scikit-learn": sklearn.__version__,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
                "train": [len(texts), model.score(features, labels)],
                "test": [len(test_texts), model.score(vectors.transform(test_texts), test_labels)],
                "golden": dict(zip(golden, answers(golden))),
            },
            indent=2,
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
