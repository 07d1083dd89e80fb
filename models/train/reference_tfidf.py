"""Write the reference values that `crates/infer` is held to: small text classifiers, and their features and answers.

    python reference_tfidf.py ../../crates/infer/tests/reference/tfidf

Texts, features and decisions are kept in the clear in reference.json; unicode.json has what this Python makes of every code point.
"""

import hashlib
import json
import pathlib
import random
import sys
import unicodedata

import numpy as np
import sklearn
from sklearn import linear_model, naive_bayes, svm
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import make_pipeline

import export_tfidf

SPACES = [chr(code) for code in range(0x110000) if chr(code).isspace()]
# Their category has changed since Unicode 14: U+0295 is no lower-case letter any more, U+1171E a spacing mark now.
CHANGED = {0x295, 0x1171E}
WORDS = (
    "영화 정말 재미있어요 최고 지루하다 시간 낭비 배우 연기 감동 별로 ㅋㅋㅋ ㅠㅠ great film not bad boring the and a of it is x1 2nd état naïve "
    "ΟΔΟΣ ΣΑΣ straße İstanbul DŽ ﬁn 映画 すごい 面白い фильм отличный 👍 😀 👩‍👩‍👧 !! ... _id_ ½ Ⅷ ٣"
).split()
EDGE_CASES = [
    "",
    " ",
    "\n",
    "  ",
    "".join(SPACES),
    *(f"a{space}b" for space in SPACES),
    *(f"a{space}{space}b" for space in ("\t", "\x1c", "\x85", "\u2028", "\u3000")),
    " film ",
    "\ufeff영화\u200b정말\u00ad재미",
    "\x00\x01\x07\x1b\x7f film\x00",
    "가",
    unicodedata.normalize("NFD", "가각힣 état naïve"),
    unicodedata.normalize("NFC", "가각힣 état naïve"),
    "e\u0301 e\u0301\u0301\u0301 \u0301film \u0300",
    "क्षि हिन्दी नमस्ते ก็ดี",
    "ΟΔΟΣ ΣΣ Σ ΑΣ ΑΣ. ΑΣΑ Α\u0301Σ\u0301 Σ\u00ad \u00adΣ 1Σ",
    "İıIi DŽDždž ẞß ŉ K Å Ω ﬃ",
    "😀😀👍🏽👩‍👩‍👧🇰🇷\U0001f9ff\U0010ffff\ufffe",
    "𝒜𝓑 𐐀𐐨 𞤀𞤢",
    "_ __ _a a_ 1 12 ½ ½½ Ⅷ ٣٤ ²³ ㉠㉡ 一二",
    "not-a-word don't U.S.A. a.b.c",
    "the and of it is a",
    "the film and the boring film of it",
    "ㅋ" * 300,
    "영화 " * 400,
]


def sentences(seed: int, count: int) -> list[str]:
    """Random words, with odd spaces between some, in odd case some of them."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        text = ""
        for _ in range(draw.randint(1, 12)):
            word = draw.choice(WORDS)
            text += draw.choice([word, word, word, word.upper(), word.title(), word[::-1]])
            text += draw.choice([" "] * 8 + ["", "  ", ", ", draw.choice(SPACES), draw.choice(SPACES) * 2])
        texts.append(text)
    return texts


# Name, the steps, how many classes.
MODELS = [
    ("char", [TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, max_features=500), linear_model.LogisticRegression(C=4)], 2),
    ("char_classes", [TfidfVectorizer(analyzer="char", ngram_range=(2, 3), smooth_idf=False, max_features=300), linear_model.LogisticRegression()], 3),
    ("char_case", [TfidfVectorizer(analyzer="char", ngram_range=(1, 1), lowercase=False, norm="l1"), svm.LinearSVC()], 4),
    ("char_wb", [TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), max_features=400), linear_model.SGDClassifier(loss="log_loss", random_state=1)], 3),
    ("char_wb_long", [TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 6), norm=None, max_features=300), linear_model.SGDClassifier(loss="modified_huber", random_state=2)], 3),
    ("word", [TfidfVectorizer(max_features=200, dtype=np.float32), linear_model.LogisticRegression(solver="liblinear")], 2),
    ("word_stop", [TfidfVectorizer(ngram_range=(1, 3), stop_words="english", sublinear_tf=True, max_features=300), linear_model.RidgeClassifier()], 2),
    ("word_single", [TfidfVectorizer(ngram_range=(2, 2), token_pattern=r"(?u)\b\w+\b", use_idf=False, max_features=300), linear_model.SGDClassifier(loss="modified_huber", random_state=3)], 2),
    ("counts", [CountVectorizer(max_features=200), naive_bayes.MultinomialNB()], 3),
    ("binary_counts", [CountVectorizer(analyzer="char_wb", ngram_range=(2, 2), binary=True, max_features=200), naive_bayes.ComplementNB()], 2),
    ("transformed", [CountVectorizer(analyzer="char", max_features=100), TfidfTransformer(), linear_model.Perceptron(random_state=4)], 2),
]


def refusals() -> None:
    """What cannot be expressed is refused; a reason that is no longer true would be noticed here."""
    texts, labels = ["good film", "bad film"], ["a", "b"]
    good = linear_model.LogisticRegression()
    for vectorizer, classifier, reason in [
        (TfidfVectorizer(strip_accents="unicode"), good, "strip_accents='unicode'"),
        (TfidfVectorizer(token_pattern=r"\w+"), good, r"the token_pattern \w+"),
        (TfidfVectorizer(tokenizer=str.split, token_pattern=None), good, "a tokenizer of one's own: it is code"),
        (TfidfVectorizer(preprocessor=str.lower), good, "a preprocessor of one's own: it is code"),
        (TfidfVectorizer(), naive_bayes.BernoulliNB(), "TfidfVectorizer, BernoulliNB: it must be"),
        (TfidfVectorizer(vocabulary=["good", ""]), good, "a vocabulary with an empty term"),
    ]:
        pipeline = make_pipeline(vectorizer, classifier).fit(texts, labels)
        try:
            export_tfidf.document(pipeline)
        except export_tfidf.NotExportable as error:
            assert str(error).startswith(reason), error
        else:
            raise AssertionError(f"{reason} was exported")


def classified(name: str, steps: list, classes: int, texts: list[str], out: pathlib.Path) -> dict:
    training = sentences(1, 400)
    # A signal to learn: of the words, some are good and some bad.
    worth = [sum((WORDS.index(word) % 5 - 2 for word in text.split() if word in WORDS), 0) for text in training]
    labels = np.array([f"label {at}" for at in np.searchsorted(np.quantile(worth, np.arange(1, classes) / classes), worth)])
    pipeline = make_pipeline(*steps).fit(training, labels)
    export_tfidf.export(pipeline, out / f"{name}.tfidf")
    features = pipeline[:-1].transform(texts).tocsr().astype(np.float64)
    features.sort_indices()
    model = pipeline[-1]
    if hasattr(model, "decision_function"):
        decisions = model.decision_function(features).reshape(len(texts), -1)
    else:
        # Bayes: two classes are decided by the difference.
        decisions = model.predict_joint_log_proba(features)
        decisions = decisions[:, 1:] - decisions[:, :1] if classes == 2 else decisions
    probabilities = model.predict_proba(features).tolist() if hasattr(model, "predict_proba") else None
    return {
        "file": f"{name}.tfidf",
        "places": [row.indices.tolist() for row in features],
        "values": [[float(f"{value:.10g}") for value in row.data] for row in features],
        "decisions": decisions.tolist(),
        "probabilities": probabilities,
        "labels": model.predict(features).tolist(),
    }


def code_points() -> dict:
    """Of every code point that is assigned: space or not, word or not, and its lower case in several places."""
    assigned = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Cs") and code not in CHANGED]
    ranges, digest = [], hashlib.sha256()
    for code in assigned:
        if ranges and ranges[-1][1] == code:
            ranges[-1][1] += 1
        else:
            ranges.append([code, code + 1])
        c = chr(code)
        lower = f"{c} A{c}Σ AΣ{c}A AΣ{c}".lower()
        digest.update(f"{code:x} {int(c.isspace())} {int(c.isalnum() or c == '_')} {lower}\n".encode())
    return {"unicode": unicodedata.unidata_version, "assigned": ranges, "sha256": digest.hexdigest()}


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    refusals()
    texts = EDGE_CASES + sentences(2, 40)
    # Half a surrogate pair is no text that Rust or JSON in UTF-8 could hold.
    assert all(text.encode() for text in texts if text)
    models = [classified(*model, texts, out) for model in MODELS]
    reference = {"scikit_learn": sklearn.__version__, "texts": texts, "models": models}
    (out / "reference.json").write_text(json.dumps(reference, ensure_ascii=False) + "\n")
    (out / "unicode.json").write_text(json.dumps(code_points()) + "\n")
    print(len(texts), "texts,", sum(len(row) for model in models for row in model["places"]), "features")


if __name__ == "__main__":
    main()
