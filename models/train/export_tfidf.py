"""Export scikit-learn's text features and a linear classifier as the file that Millpond reads: `millpond models add model.tfidf`.

    import export_tfidf
    export_tfidf.export(vectorizer, classifier, "model.tfidf")
    export_tfidf.export(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels), "model.tfidf")

or, for a pipeline that lies in a pickle whose origin you trust (unpickling runs whatever code is in it):

    python export_tfidf.py pipeline.pkl model.tfidf

The form is described in README.md beside this file. Covered are CountVectorizer (with or without a TfidfTransformer) and TfidfVectorizer
with the analyzers char, char_wb and word, before LogisticRegression, LinearSVC, SGDClassifier, RidgeClassifier, Perceptron, MultinomialNB or
ComplementNB. Everything else is refused by name.
"""

import argparse
import json
import pathlib
import pickle
import struct
import sys

import numpy as np
import scipy.sparse
import sklearn
from sklearn import linear_model, naive_bayes, svm
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import Pipeline

LINEAR = (
    linear_model.LogisticRegression,
    linear_model.SGDClassifier,
    linear_model.RidgeClassifier,
    linear_model.Perceptron,
    svm.LinearSVC,
)
BAYES = (naive_bayes.MultinomialNB, naive_bayes.ComplementNB)
# Token patterns, and how many characters each asks of a word.
TOKEN_PATTERNS = {r"(?u)\b\w\w+\b": 2, r"\b\w\w+\b": 2, r"(?u)\b\w+\b": 1, r"\b\w+\b": 1}


class NotExportable(ValueError):
    """The model has something that the form cannot express."""


def export(*parts_and_path) -> None:
    """Write fitted parts, or a pipeline of them: a vectorizer, perhaps a TfidfTransformer, a classifier."""
    *parts, path = parts_and_path
    pathlib.Path(path).write_bytes(document(*parts))


def document(*parts) -> bytes:
    """The file's bytes."""
    steps = [step for part in parts for step in ([s for _, s in part.steps] if isinstance(part, Pipeline) else [part])]
    steps = [step for step in steps if step not in (None, "passthrough")]
    kinds = [type(step) for step in steps]
    if len(steps) < 2 or kinds[0] not in (CountVectorizer, TfidfVectorizer) or kinds[-1] not in LINEAR + BAYES:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise NotExportable(f"{names}: it must be a CountVectorizer or TfidfVectorizer, then a linear classifier")
    vectorizer, *between, classifier = steps
    weighting = vectorizer if kinds[0] is TfidfVectorizer else None
    for step in between:
        if type(step) is not TfidfTransformer or weighting is not None:
            raise NotExportable(f"a {type(step).__name__} between vectorizer and classifier")
        weighting = step
    terms = vocabulary(vectorizer)
    idf = None
    if weighting is not None and weighting.use_idf:
        idf = np.asarray(weighting.idf_)
    weights, intercept, link = linear(classifier)
    if weights.shape[1] != len(terms):
        raise NotExportable(f"a classifier of {weights.shape[1]} features after a vectorizer of {len(terms)} terms")
    labels = [str(label) for label in classifier.classes_]
    if len(set(labels)) < max(2, len(labels)):
        raise NotExportable(f"a classifier with the classes {', '.join(labels)}")
    settings = {
        "scikit_learn": sklearn.__version__,
        "vectorizer": analyzer(vectorizer),
        "binary": bool(vectorizer.binary),
        "sublinear_tf": bool(weighting is not None and weighting.sublinear_tf),
        "norm": None if weighting is None else weighting.norm,
        "estimator": type(classifier).__name__,
        "link": link,
        "labels": labels,
    }
    encoded = [term.encode() for term in terms]
    lengths = np.array([len(term) for term in encoded], dtype=np.uint32)
    tensors = {
        "terms": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "lengths": lengths.astype(np.uint8 if lengths.max() < 256 else np.uint32),
        "weights": narrow(weights),
        "intercept": narrow(intercept),
    }
    if idf is not None:
        tensors["idf"] = narrow(idf)
    metadata = {"format": "tfidf-linear", "version": "1", "settings": json.dumps(settings, ensure_ascii=False)}
    return safetensors(metadata, tensors)


def analyzer(vectorizer) -> dict:
    """How texts are cut into n-grams."""
    kind = vectorizer.analyzer
    if kind not in ("char", "char_wb", "word"):
        raise NotExportable(f"the analyzer {kind}")
    refused = ["preprocessor"] + (["tokenizer"] if kind == "word" else [])
    for name in refused:
        if getattr(vectorizer, name) is not None:
            raise NotExportable(f"a {name} of one's own: it is code")
    if vectorizer.strip_accents is not None:
        raise NotExportable(f"strip_accents={vectorizer.strip_accents!r}")
    if kind == "word" and vectorizer.token_pattern not in TOKEN_PATTERNS:
        raise NotExportable(f"the token_pattern {vectorizer.token_pattern}")
    return {
        "analyzer": kind,
        "ngram_range": [int(n) for n in vectorizer.ngram_range],
        "lowercase": bool(vectorizer.lowercase),
        "min_word": TOKEN_PATTERNS[vectorizer.token_pattern] if kind == "word" else 2,
        "stop_words": sorted(vectorizer.get_stop_words() or ()) if kind == "word" else [],
    }


def vocabulary(vectorizer) -> list[str]:
    """The terms, each at the place of its feature."""
    places = vectorizer.vocabulary_
    terms = sorted(places, key=places.get)
    if [places[term] for term in terms] != list(range(len(terms))):
        raise NotExportable("a vocabulary whose places are not 0, 1, 2 and so on")
    if any(not term or "\ud800" <= character <= "\udfff" for term in terms for character in term or " "):
        raise NotExportable("a vocabulary with an empty term or half a surrogate pair")
    return terms


def linear(classifier):
    """Weights (one row for two classes, else one a class), intercepts, and how decisions become probabilities."""
    kind = type(classifier)
    if kind in BAYES:
        weights, intercept = classifier.feature_log_prob_, classifier.class_log_prior_
        if kind is naive_bayes.ComplementNB and len(classifier.classes_) > 1:
            intercept = np.zeros(len(classifier.classes_))
        if len(weights) == 2:
            return weights[1:] - weights[:1], intercept[1:] - intercept[:1], "logistic"
        return weights, intercept, "softmax"
    weights = classifier.coef_.toarray() if scipy.sparse.issparse(classifier.coef_) else np.atleast_2d(classifier.coef_)
    intercept = np.broadcast_to(np.atleast_1d(classifier.intercept_), (len(weights),))
    if len(weights) != (1 if len(classifier.classes_) == 2 else len(classifier.classes_)):
        raise NotExportable(f"a {kind.__name__} with {len(weights)} outputs for {len(classifier.classes_)} classes")
    link = "none"
    if kind is linear_model.LogisticRegression:
        link = "logistic" if len(weights) == 1 or one_versus_rest(classifier) else "softmax"
    elif kind is linear_model.SGDClassifier and classifier.loss in ("log_loss", "modified_huber"):
        link = {"log_loss": "logistic", "modified_huber": "modified_huber"}[classifier.loss]
    return weights, intercept, link


def one_versus_rest(classifier) -> bool:
    """Whether a LogisticRegression of an older scikit-learn was fitted with one classifier a class."""
    multi_class = getattr(classifier, "multi_class", None)
    return multi_class == "ovr" or (multi_class in ("auto", "deprecated") and classifier.solver == "liblinear")


def narrow(numbers) -> np.ndarray:
    """As f32 where that loses nothing, else as f64."""
    numbers = np.ascontiguousarray(numbers, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise NotExportable("a weight that is not finite")
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    return single if (single == numbers).all() else numbers


def safetensors(metadata: dict, tensors: dict) -> bytes:
    """The container (https://huggingface.co/docs/safetensors), wide numbers first so that all are aligned."""
    names = {"uint8": "U8", "uint32": "U32", "float32": "F32", "float64": "F64"}
    header, offset = {"__metadata__": metadata}, 0
    ordered = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    for name in ordered:
        end = offset + tensors[name].nbytes
        header[name] = {"dtype": names[str(tensors[name].dtype)], "shape": tensors[name].shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors[name].tobytes() for name in ordered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=pathlib.Path, help="a pickle (or joblib file) that you trust, with a fitted pipeline")
    parser.add_argument("file", type=pathlib.Path, help="the file to write")
    arguments = parser.parse_args()
    try:
        pipeline = pickle.loads(arguments.pipeline.read_bytes())
    except (pickle.UnpicklingError, ValueError, KeyError):
        import joblib

        pipeline = joblib.load(arguments.pipeline)
    try:
        export(pipeline, arguments.file)
    except NotExportable as reason:
        sys.exit(f"cannot be exported: {reason}")


if __name__ == "__main__":
    main()
