"""Write the reference values that `crates/infer` is held to, bit for bit: small LightGBM models and their predictions.

    python reference_lightgbm.py ../../crates/infer/tests/reference/lightgbm

The Rust tests need no Python: they generate the same inputs (see `inputs`), predict, and compare the digests of all predictions' bits.
"""

import hashlib
import json
import pathlib
import re
import sys

import lightgbm
import numpy as np

from reference_xgboost import splitmix64

ROWS = 20_000
IN_THE_CLEAR = 200
CUTS_PER_FEATURE = 12
COLUMNS = 6
# What LightGBM takes for zero, and its neighbours.
NEAR_ZERO = np.array([0.0, -0.0, np.float32(1e-35), -np.float32(1e-35), 1e-36, -1e-36, 1.0000001e-35, -1.0000001e-35])


def inputs(seed: int, rows: int, cuts: list[list[int]], categories: list[int]) -> np.ndarray:
    """Rows of f64, one column for each of `cuts`; the same as `inputs` in crates/infer/tests/lightgbm/reference.rs.

    Cell (row, column) takes the value z number row * columns + column of SplitMix64. By z mod 16:

    - 0, 1: missing (NaN)
    - otherwise, if the column has categories: (z >> 8) mod (categories + 3) - 1, so that some were never seen, and less 0.5 if z >> 60 is 0
    - 2: one of the model's own thresholds for the column, number (z >> 8) mod their count, if there are any
    - 3: the same, with the lowest bit flipped: a neighbouring f64
    - 4, 5: number (z >> 8) mod 8 of `NEAR_ZERO`
    - 6, 7: a quarter: ((z >> 8) mod 33) / 4 - 4
    - else: (z >> 11) / 2^50 - 4: evenly from -4 to 4
    """
    columns = len(cuts)
    z = splitmix64(seed, rows * columns).reshape(rows, columns)
    kind = z & np.uint64(15)
    high = z >> np.uint64(8)
    x = (z >> np.uint64(11)).astype(np.float64) * 2.0**-50 - 4.0
    x = np.where((kind == 6) | (kind == 7), (high % np.uint64(33)).astype(np.float64) / 4 - 4, x)
    x = np.where((kind == 4) | (kind == 5), NEAR_ZERO[high % np.uint64(8)], x)
    for column in range(columns):
        if categories[column]:
            x[:, column] = (high[:, column] % np.uint64(categories[column] + 3)).astype(np.float64) - 1
            x[:, column] -= np.where(z[:, column] >> np.uint64(60) == 0, 0.5, 0.0)
        elif cuts[column]:
            bits = np.array(cuts[column], dtype=np.uint64)[high[:, column] % np.uint64(len(cuts[column]))]
            x[:, column] = np.where(kind[:, column] == 2, bits.view(np.float64), x[:, column])
            x[:, column] = np.where(kind[:, column] == 3, (bits ^ np.uint64(1)).view(np.float64), x[:, column])
    return np.where(kind <= 1, np.nan, x)


def thresholds(text: str, columns: int) -> list[list[int]]:
    """The bits of some thresholds of each column, in the order of the trees."""
    cuts: list[list[int]] = [[] for _ in range(columns)]
    for tree in re.split(r"\nTree=\d+\n", text)[1:]:
        line = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)
        if "split_feature" not in line:
            continue
        for feature, value, kind in zip(line["split_feature"].split(), line["threshold"].split(), line["decision_type"].split()):
            bits = int(np.float64(value).view(np.uint64))
            column = cuts[int(feature)]
            if not int(kind) & 1 and bits not in column and len(column) < CUTS_PER_FEATURE:
                column.append(bits)
    return cuts


def training_data(seed: int, gaps: bool, categories: list[int]):
    """Some 500 rows, half of the columns on a grid of quarters, many of one column zero, perhaps a tenth missing; and a signal."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(500, COLUMNS)) * 1.5
    x[:, ::2] = np.round(x[:, ::2] * 4) / 4
    x[random.random(len(x)) < 0.4, 1] = 0
    for column, count in enumerate(categories):
        if count:
            x[:, column] = random.integers(0, count, len(x))
    signal = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] / 3 + (x[:, 3] > 0) + random.normal(size=len(x)) / 4
    if categories[4]:
        signal += np.sin(x[:, 4] * 2) + (x[:, 5] % 3 == 1)
    if gaps:
        x[random.random(x.shape) < 0.1] = np.nan
    return x, signal


# Name, parameters, rounds, whether it is trained with missing values.
MODELS = [
    ("regression", {"objective": "regression"}, 12, True),
    ("regression_no_missing", {"objective": "regression"}, 8, False),
    ("regression_zero_missing", {"objective": "regression", "zero_as_missing": True}, 10, True),
    ("regression_unused_missing", {"objective": "regression", "use_missing": False}, 8, True),
    ("regression_sqrt", {"objective": "regression", "reg_sqrt": True}, 8, True),
    ("regression_l1", {"objective": "regression_l1"}, 8, True),
    ("huber", {"objective": "huber"}, 6, False),
    ("quantile", {"objective": "quantile", "alpha": 0.8}, 6, True),
    ("poisson", {"objective": "poisson"}, 8, True),
    ("gamma", {"objective": "gamma"}, 6, True),
    ("tweedie", {"objective": "tweedie"}, 6, False),
    ("binary", {"objective": "binary", "sigmoid": 0.7}, 14, True),
    ("multiclass", {"objective": "multiclass", "num_class": 4}, 5, True),
    ("multiclassova", {"objective": "multiclassova", "num_class": 3}, 5, True),
    ("cross_entropy", {"objective": "cross_entropy"}, 6, True),
    ("lambdarank", {"objective": "lambdarank"}, 8, True),
    ("dart", {"objective": "binary", "boosting": "dart", "drop_rate": 0.4}, 10, True),
    ("forest", {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, 9, True),
    ("forest_binary", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, 7, True),
    ("categorical", {"objective": "binary", "min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 3}, 10, True),
    ("categorical_onehot", {"objective": "regression", "max_cat_to_onehot": 60}, 8, False),
    ("constant", {"objective": "regression", "min_data_in_leaf": 400}, 2, False),
    ("continued", {"objective": "regression"}, 5, False),
]


def labels(parameters: dict, signal: np.ndarray) -> np.ndarray:
    objective = parameters["objective"]
    if objective == "binary":
        return (signal > 0.4).astype(float)
    if objective.startswith("multiclass"):
        classes = parameters["num_class"]
        return np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal)
    if objective == "cross_entropy":
        return 1 / (1 + np.exp(-signal))
    if objective == "lambdarank":
        return np.clip(np.round(signal + 1), 0, 4)
    if objective in ("poisson", "gamma", "tweedie"):
        return np.exp(signal / 2)
    return signal


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for number, (name, parameters, rounds, gaps) in enumerate(MODELS):
        seed = 3_000 + number
        categories = [0, 0, 0, 0, 7, 70] if name.startswith("categorical") else [0] * COLUMNS
        x, signal = training_data(seed, gaps, categories)
        settings = {"num_leaves": 15, "learning_rate": 0.3, "verbose": -1, "num_threads": 1, "seed": number, "deterministic": True}
        data = lightgbm.Dataset(
            x,
            labels(parameters, signal),
            group=[50] * (len(x) // 50) if parameters["objective"] == "lambdarank" else None,
            categorical_feature=[column for column, count in enumerate(categories) if count],
            free_raw_data=False,
        )
        booster = lightgbm.train({**settings, **parameters}, data, rounds)
        if name == "continued":
            # The same features, now with gaps: missing values are then told in two ways in one model.
            x, signal = training_data(seed + 500, True, categories)
            booster = lightgbm.train({**settings, **parameters}, lightgbm.Dataset(x, signal), rounds, init_model=booster)
        path = out / f"{name}.txt"
        # What was trained with which settings is no part of what predicts.
        text = booster.model_to_string()
        text = re.sub(r"\nparameters:\n.*?end of parameters\n", "\n", text, flags=re.DOTALL)
        text = re.sub(r"\n(split_gain|leaf_weight|leaf_count|internal_value|internal_weight|internal_count)=[^\n]*", "", text)
        # LightGBM reads trees by their sizes, which no longer fit; without them it reads them one after another.
        text = re.sub(r"\ntree_sizes=[^\n]*", "", text)
        path.write_text(text)
        cuts = thresholds(text, COLUMNS)
        rows = inputs(seed, ROWS, cuts, categories)
        # Predict with what was saved, not with what was trained.
        booster = lightgbm.Booster(model_file=str(path))
        predictions = booster.predict(rows, num_threads=1)
        records.append(
            {
                "file": path.name,
                "seed": seed,
                "rows": ROWS,
                "categories": categories,
                "cuts": ["".join(f"{bits:016x}" for bits in column) for column in cuts],
                "predictions": predictions.size,
                "sha256": digest(predictions),
                "raw_sha256": digest(booster.predict(rows, raw_score=True, num_threads=1)),
                "first": np.ascontiguousarray(predictions, dtype="<f8").reshape(-1)[:IN_THE_CLEAR].tobytes().hex(),
            }
        )
    document = {"lightgbm": lightgbm.__version__, "models": records}
    (out / "reference.json").write_text(json.dumps(document, indent=1) + "\n")
    print(sum(record["predictions"] for record in records), "predictions")


if __name__ == "__main__":
    main()
