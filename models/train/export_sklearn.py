"""Export scikit-learn trees as the JSON that Millpond reads: `millpond models add model.json`.

    import export_sklearn
    export_sklearn.export(model, "model.json")

or, for a model that lies in a pickle whose origin you trust (unpickling runs whatever code is in it):

    python export_sklearn.py model.pkl model.json

The form is described in README.md beside this file. Covered are DecisionTree, ExtraTree, RandomForest, ExtraTrees, GradientBoosting
and HistGradientBoosting, classifiers and regressors, by scikit-learn 1.3 or newer. Everything else is refused by name.
"""

import argparse
import json
import pathlib
import pickle
import sys

import numpy as np
import sklearn
from sklearn import ensemble, tree
from sklearn.base import is_classifier

SINGLE_TREES = (
    tree.DecisionTreeClassifier,
    tree.DecisionTreeRegressor,
    tree.ExtraTreeClassifier,
    tree.ExtraTreeRegressor,
)
FORESTS = (
    ensemble.RandomForestClassifier,
    ensemble.RandomForestRegressor,
    ensemble.ExtraTreesClassifier,
    ensemble.ExtraTreesRegressor,
)
BOOSTING = (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor)
HISTOGRAM_BOOSTING = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)

LARGEST = sys.float_info.max


class NotExportable(ValueError):
    """The model has something that the form cannot express."""


def export(model, path) -> None:
    """Write a fitted estimator as JSON."""
    pathlib.Path(path).write_text(json.dumps(document(model), allow_nan=False) + "\n", encoding="utf-8")


def document(model) -> dict:
    """A fitted estimator as the document that the JSON is."""
    if tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 3):
        raise NotExportable(f"scikit-learn {sklearn.__version__}: trees before 1.3 lack what is needed")
    kind = type(model)
    if kind in HISTOGRAM_BOOSTING:
        base, link, trees = histogram_boosting(model)
    elif kind in BOOSTING:
        base, link, trees = boosting(model)
    elif kind in SINGLE_TREES or kind in FORESTS:
        if model.n_outputs_ > 1:
            raise NotExportable(f"a {kind.__name__} with {model.n_outputs_} outputs: train one model for each")
        base, link = [], "identity"
        trees = [plain_tree(each.tree_) for each in (model.estimators_ if kind in FORESTS else [model])]
    else:
        raise NotExportable(f"a {kind.__name__} is not one of the estimators that can be exported")
    labels = None
    if is_classifier(model):
        labels = [str(label) for label in model.classes_]
        if len(labels) < 2:
            raise NotExportable("a classifier with one class")
    names = getattr(model, "feature_names_in_", None)
    return {
        # First, so that the file can be recognised by its first bytes.
        "format": "sklearn-trees",
        "version": 1,
        "scikit_learn": sklearn.__version__,
        "estimator": kind.__name__,
        "features": int(model.n_features_in_),
        "feature_names": None if names is None else [str(name) for name in names],
        "missing": takes_missing(model),
        "labels": labels,
        "link": link,
        "base": base,
        "trees": trees,
    }


def takes_missing(model) -> bool:
    """Whether `predict` takes NaN: that depends on estimator, criterion and version, so it is tried out."""
    import warnings

    with warnings.catch_warnings():
        # About missing feature names.
        warnings.simplefilter("ignore")
        try:
            model.predict(np.full((1, model.n_features_in_), np.nan))
        except ValueError:
            return False
    return True


def threshold(value: float) -> float:
    """A threshold that JSON can express: no number of an input is above the largest."""
    if np.isnan(value) or value == -np.inf:
        raise NotExportable(f"a threshold of {value}")
    return min(float(value), LARGEST)


def document_tree(output: int, leaf, feature, thresholds, missing_left, left, right, value) -> dict:
    """A tree as parallel arrays, one entry a node; `value` has an entry, or one for each class, for each leaf."""
    return {
        "output": output,
        "feature": [-1 if is_leaf else int(index) for is_leaf, index in zip(leaf, feature)],
        "threshold": [0 if is_leaf else threshold(bound) for is_leaf, bound in zip(leaf, thresholds)],
        "missing_left": [0 if is_leaf else int(goes_left) for is_leaf, goes_left in zip(leaf, missing_left)],
        "left": [0 if is_leaf else int(child) for is_leaf, child in zip(leaf, left)],
        "right": [0 if is_leaf else int(child) for is_leaf, child in zip(leaf, right)],
        "value": [float(number) for number in np.asarray(value, dtype=np.float64)[leaf].ravel()],
    }


def plain_tree(fitted, output: int = 0, scale: float | None = None) -> dict:
    """What `estimator.tree_` is, its leaves multiplied by `scale`."""
    leaf = fitted.children_left == -1
    missing_left = fitted.__getstate__()["nodes"]["missing_go_to_left"]
    # Nodes × outputs × classes (1 for regression), where there is one output.
    value = fitted.value[:, 0, :]
    if scale is not None:
        value = scale * value
    return document_tree(
        output, leaf, fitted.feature, fitted.threshold, missing_left, fitted.children_left, fitted.children_right, value
    )


def boosting(model):
    if model.init_ != "zero" and type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NotExportable(f"a {type(model).__name__} that starts from a {type(model.init_).__name__} (its parameter init)")
    if getattr(model.init_, "strategy", None) == "stratified":
        raise NotExportable(f"a {type(model).__name__} that starts at random (its parameter init)")
    # The start is the same whatever the row.
    base = [float(score) for score in model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]]
    stages = [
        plain_tree(stage.tree_, output, model.learning_rate)
        for round_ in model.estimators_
        for output, stage in enumerate(round_)
    ]
    if not is_classifier(model):
        return base, "identity", stages
    if len(base) > 1:
        return base, "softmax", stages
    return base, {"log_loss": "logit", "exponential": "half_logit"}[model.loss], stages


def histogram_boosting(model):
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise NotExportable(f"a {type(model).__name__} with categorical features: encode them as numbers before")
    base = [float(score) for score in np.asarray(model._baseline_prediction, dtype=np.float64).ravel()]
    trees = []
    for round_ in model._predictors:
        for output, predictor in enumerate(round_):
            nodes = predictor.nodes
            trees.append(
                document_tree(
                    output,
                    nodes["is_leaf"].astype(bool),
                    nodes["feature_idx"],
                    nodes["num_threshold"],
                    nodes["missing_go_to_left"],
                    nodes["left"],
                    nodes["right"],
                    nodes["value"],
                )
            )
    if is_classifier(model):
        return base, "softmax" if len(base) > 1 else "logit", trees
    links = {"IdentityLink": "identity", "LogLink": "log"}
    link = type(model._loss.link).__name__
    if link not in links:
        raise NotExportable(f"a {type(model).__name__} with the loss {model.loss}")
    return base, links[link], trees


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="a pickle (or joblib file) that you trust, with a fitted estimator")
    parser.add_argument("json", type=pathlib.Path, help="the file to write")
    arguments = parser.parse_args()
    try:
        model = pickle.loads(arguments.model.read_bytes())
    except (pickle.UnpicklingError, ValueError, KeyError):
        import joblib

        model = joblib.load(arguments.model)
    try:
        export(model, arguments.json)
    except NotExportable as reason:
        sys.exit(f"cannot be exported: {reason}")


if __name__ == "__main__":
    main()
