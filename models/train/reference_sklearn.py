"""Write the reference values that `crates/infer` is held to: small scikit-learn models and their predictions.

    python reference_sklearn.py ../../crates/infer/tests/reference/sklearn

The Rust tests need no Python: they generate the same inputs (see `inputs`), predict, and compare the digests of all
predictions' bits. What scikit-learn takes NumPy's `exp` for depends on the processor, so those numbers are kept in the clear and
compared to a tolerance.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import sklearn
from sklearn import ensemble, tree
from sklearn.base import is_classifier

import export_sklearn
from reference_xgboost import splitmix64

ROWS = 20_000
IN_THE_CLEAR = 200
IN_THE_CLEAR_IF_INEXACT = 1_500
CUTS_PER_FEATURE = 12
COLUMNS = 6


def inputs(seed: int, rows: int, cuts: list[list[int]], missing: bool) -> np.ndarray:
    """Rows of f64, one column for each of `cuts`; the same as `inputs` in crates/infer/tests/sklearn/reference.rs.

    Cell (row, column) takes the value z number row * columns + column of SplitMix64. By z mod 16:

    - 0, 1: missing (NaN), if the model takes that; else 1.5
    - 2: one of the model's own thresholds for the column, number (z >> 8) mod their count, if there are any
    - 3: the same, with the lowest bit flipped: a neighbouring f64
    - 4: the same, rounded to f32
    - 5: 0, or -0 if z >> 8 is odd
    - 6, 7: a quarter: ((z >> 8) mod 33) / 4 - 4
    - else: (z >> 11) / 2^50 - 4: evenly from -4 to 4
    """
    columns = len(cuts)
    z = splitmix64(seed, rows * columns).reshape(rows, columns)
    kind = z & np.uint64(15)
    high = z >> np.uint64(8)
    x = (z >> np.uint64(11)).astype(np.float64) * 2.0**-50 - 4.0
    x = np.where((kind == 6) | (kind == 7), (high % np.uint64(33)).astype(np.float64) / 4 - 4, x)
    x = np.where(kind == 5, np.where(high & np.uint64(1), -0.0, 0.0), x)
    for column in range(columns):
        if cuts[column]:
            bits = np.array(cuts[column], dtype=np.uint64)[high[:, column] % np.uint64(len(cuts[column]))]
            exact = bits.view(np.float64)
            x[:, column] = np.where(kind[:, column] == 2, exact, x[:, column])
            x[:, column] = np.where(kind[:, column] == 3, (bits ^ np.uint64(1)).view(np.float64), x[:, column])
            x[:, column] = np.where(kind[:, column] == 4, exact.astype(np.float32).astype(np.float64), x[:, column])
    return np.where(kind <= 1, np.nan if missing else 1.5, x)


def thresholds(document: dict) -> list[list[int]]:
    """The bits of some thresholds of each column, in the order of the trees."""
    cuts: list[list[int]] = [[] for _ in range(document["features"])]
    for each in document["trees"]:
        for feature, value in zip(each["feature"], each["threshold"]):
            bits = int(np.float64(value).view(np.uint64))
            if feature >= 0 and abs(value) < 1e9 and bits not in cuts[feature] and len(cuts[feature]) < CUTS_PER_FEATURE:
                cuts[feature].append(bits)
    return cuts


def training_data(seed: int, gaps: bool):
    """Some 500 rows, half of the columns on a grid of quarters, a tenth missing if the estimator takes that; and a signal."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(500, COLUMNS)) * 1.5
    x[:, ::2] = np.round(x[:, ::2] * 4) / 4
    signal = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] / 3 + (x[:, 3] > 0) + random.normal(size=len(x)) / 4
    if gaps:
        x[random.random(x.shape) < 0.1] = np.nan
    return x, signal


# Name, estimator, classes (0 for numbers, -1 for positive ones), whether it is trained with missing values.
MODELS = [
    ("decision_tree_classifier", tree.DecisionTreeClassifier(max_depth=9, random_state=1), 3, True),
    ("decision_tree_regressor", tree.DecisionTreeRegressor(max_depth=8, random_state=2), 0, True),
    ("decision_tree_absolute", tree.DecisionTreeRegressor(max_depth=5, criterion="absolute_error", random_state=2), 0, False),
    ("extra_tree_classifier", tree.ExtraTreeClassifier(max_depth=7, random_state=3), 2, False),
    ("extra_tree_regressor", tree.ExtraTreeRegressor(max_depth=7, random_state=4), 0, False),
    ("random_forest_classifier", ensemble.RandomForestClassifier(n_estimators=19, max_depth=5, random_state=5), 2, True),
    ("random_forest_classes", ensemble.RandomForestClassifier(n_estimators=10, max_depth=6, random_state=6), 5, False),
    ("random_forest_regressor", ensemble.RandomForestRegressor(n_estimators=17, max_depth=5, random_state=7), 0, True),
    ("extra_trees_classifier", ensemble.ExtraTreesClassifier(n_estimators=11, max_depth=6, random_state=8), 3, True),
    ("extra_trees_regressor", ensemble.ExtraTreesRegressor(n_estimators=13, max_depth=6, random_state=9), 0, True),
    ("gradient_boosting_classifier", ensemble.GradientBoostingClassifier(n_estimators=30, random_state=10), 2, False),
    ("gradient_boosting_exponential", ensemble.GradientBoostingClassifier(n_estimators=20, loss="exponential", random_state=11), 2, False),
    ("gradient_boosting_classes", ensemble.GradientBoostingClassifier(n_estimators=9, random_state=12), 4, False),
    ("gradient_boosting_regressor", ensemble.GradientBoostingRegressor(n_estimators=30, learning_rate=0.3, random_state=13), 0, False),
    ("gradient_boosting_huber", ensemble.GradientBoostingRegressor(n_estimators=15, loss="huber", init="zero", random_state=14), 0, False),
    ("hist_gradient_boosting_classifier", ensemble.HistGradientBoostingClassifier(max_iter=12, max_leaf_nodes=15, random_state=15), 2, True),
    ("hist_gradient_boosting_classes", ensemble.HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=12, random_state=16), 3, True),
    ("hist_gradient_boosting_regressor", ensemble.HistGradientBoostingRegressor(max_iter=12, max_leaf_nodes=20, random_state=17), 0, True),
    ("hist_gradient_boosting_poisson", ensemble.HistGradientBoostingRegressor(max_iter=8, max_leaf_nodes=15, loss="poisson", random_state=18), -1, False),
]


def digest(values: np.ndarray, kind: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, dtype=kind).tobytes()).hexdigest()


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for number, (name, model, classes, gaps) in enumerate(MODELS):
        seed = 2_000 + number
        x, signal = training_data(seed, gaps)
        label = np.exp(signal / 2) if classes < 0 else signal
        if classes > 0:
            label = np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal)
        model.fit(x, label)
        document = export_sklearn.document(model)
        export_sklearn.export(model, out / f"{name}.json")
        cuts = thresholds(document)
        rows = inputs(seed, ROWS, cuts, document["missing"])

        numbers = model.predict_proba(rows) if is_classifier(model) else model.predict(rows)
        exact = document["link"] not in ("log", "softmax")
        clear = IN_THE_CLEAR if exact else IN_THE_CLEAR_IF_INEXACT
        record = {
            "file": f"{name}.json",
            "seed": seed,
            "rows": ROWS,
            "missing": document["missing"],
            "cuts": ["".join(f"{bits:016x}" for bits in column) for column in cuts],
            "exact": exact,
            "numbers": numbers.size,
            "numbers_sha256": digest(numbers, "<f8"),
            "first": np.ascontiguousarray(numbers, dtype="<f8").reshape(-1)[:clear].tobytes().hex(),
        }
        if is_classifier(model):
            record["classes_sha256"] = digest(model.predict(rows), "<u4")
        if "boosting" in name:
            raw = model._raw_predict(rows if "hist" in name else rows.astype(np.float32))
            record["raw_sha256"] = digest(raw, "<f8")
        records.append(record)
    document = {"scikit_learn": sklearn.__version__, "numpy": np.__version__, "models": records}
    (out / "reference.json").write_text(json.dumps(document, indent=1) + "\n")
    print(sum(record["numbers"] for record in records), "predictions")


if __name__ == "__main__":
    main()
