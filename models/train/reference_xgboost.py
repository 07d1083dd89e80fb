"""Write the reference values that `crates/infer` is held to, bit for bit: small XGBoost models and their predictions.

    python reference_xgboost.py ../../crates/infer/tests/reference

Run it once with the XGBoost of requirements.txt, and once with an old one (`pip install xgboost==1.6.2 'numpy<2' 'scipy<1.12'`):
each writes its models into a folder of its version, with `reference.json` beside them. The Rust tests need no Python: they
generate the same inputs (see `inputs`), predict, and compare the digest of all predictions' bits.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import xgboost

ROWS = 70_000
IN_THE_CLEAR = 200
CUTS_PER_FEATURE = 12
OLD = xgboost.__version__.startswith("1.")


def splitmix64(seed: int, count: int) -> np.ndarray:
    """The first `count` values of SplitMix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def inputs(seed: int, rows: int, cuts: list[list[int]], categories: list[int]) -> np.ndarray:
    """Rows of f32, one column for each of `cuts`; the same as `inputs` in crates/infer/tests/xgboost/reference.rs.

    Cell (row, column) takes the value z number row * columns + column of SplitMix64. By z mod 16:

    - 0, 1: missing (NaN)
    - otherwise, if the column has categories: (z >> 8) mod (categories + 2), so that some were never seen
    - 2: one of the model's own thresholds for the column, number (z >> 8) mod their count, if there are any
    - 3: the same, with the lowest bit flipped: a neighbouring float
    - 4: 0, or -0 if z >> 8 is odd
    - 5, 6: a quarter: ((z >> 8) mod 33) / 4 - 4
    - else: (z >> 40) / 2^21 - 4, in f32: evenly from -4 to 4
    """
    columns = len(cuts)
    z = splitmix64(seed, rows * columns).reshape(rows, columns)
    kind = z & np.uint64(15)
    high = z >> np.uint64(8)
    x = (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-21) - np.float32(4)
    quarters = (high % np.uint64(33)).astype(np.float32) / np.float32(4) - np.float32(4)
    x = np.where((kind == 5) | (kind == 6), quarters, x)
    x = np.where(kind == 4, np.where(high & np.uint64(1), np.float32(-0.0), np.float32(0.0)), x)
    for column in range(columns):
        if categories[column]:
            x[:, column] = (high[:, column] % np.uint64(categories[column] + 2)).astype(np.float32)
        elif cuts[column]:
            bits = np.array(cuts[column], dtype=np.uint32)[high[:, column] % np.uint64(len(cuts[column]))]
            exact = bits.view(np.float32)
            beside = (bits ^ np.uint32(1)).view(np.float32)
            x[:, column] = np.where(kind[:, column] == 2, exact, x[:, column])
            x[:, column] = np.where(kind[:, column] == 3, beside, x[:, column])
    return np.where(kind <= 1, np.float32(np.nan), x).astype(np.float32)


def thresholds(booster: xgboost.Booster, columns: int, path: pathlib.Path) -> list[list[int]]:
    """The bits of some thresholds of each column, in the order of the trees."""
    booster.save_model(path)
    model = json.loads(path.read_text())["learner"]["gradient_booster"]
    path.unlink()
    cuts: list[list[int]] = [[] for _ in range(columns)]
    if model["name"] == "gblinear":
        return cuts
    for tree in model.get("gbtree", model)["model"]["trees"]:
        for left, column, value, kind in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], tree["split_type"]
        ):
            bits = int(np.float32(value).view(np.uint32))
            if left != -1 and kind == 0 and bits not in cuts[column] and len(cuts[column]) < CUTS_PER_FEATURE:
                cuts[column].append(bits)
    return cuts


def training_data(seed: int, columns: int, categories: list[int]):
    """Some 500 rows, half of the columns on a grid of quarters, a tenth missing; and a signal to learn."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(500, columns)).astype(np.float32) * np.float32(1.5)
    x[:, ::2] = np.round(x[:, ::2] * 4) / 4
    for column, count in enumerate(categories):
        if count:
            x[:, column] = random.integers(0, count, len(x))
    signal = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] / 3 + (x[:, 3] > 0) + random.normal(size=len(x)) / 4
    x[random.random(x.shape) < 0.1] = np.nan
    return x, np.nan_to_num(signal)


# Name, parameters, rounds. Labels are made to suit the objective.
MODELS = [
    ("squarederror", {"objective": "reg:squarederror", "max_depth": 4}, 20),
    ("squarederror_base", {"objective": "reg:squarederror", "max_depth": 1, "base_score": -3.25}, 40),
    ("squarederror_deep", {"objective": "reg:squarederror", "max_depth": 10}, 6),
    ("squarederror_leafwise", {"objective": "reg:squarederror", "tree_method": "hist", "grow_policy": "lossguide", "max_depth": 0, "max_leaves": 40}, 8),
    ("squarederror_forest", {"objective": "reg:squarederror", "max_depth": 5, "num_parallel_tree": 4, "subsample": 0.6}, 5),
    ("squarederror_exact", {"objective": "reg:squarederror", "max_depth": 6, "tree_method": "exact"}, 10),
    ("squaredlogerror", {"objective": "reg:squaredlogerror", "max_depth": 3}, 15),
    ("pseudohuber", {"objective": "reg:pseudohubererror", "max_depth": 4}, 10),
    ("logistic", {"objective": "reg:logistic", "max_depth": 4, "base_score": 0.3}, 20),
    ("binary", {"objective": "binary:logistic", "max_depth": 6}, 15),
    ("binary_base", {"objective": "binary:logistic", "max_depth": 2, "base_score": 0.9}, 30),
    ("logitraw", {"objective": "binary:logitraw", "max_depth": 3, "base_score": 0.2}, 15),
    ("hinge", {"objective": "binary:hinge", "max_depth": 3}, 15),
    ("poisson", {"objective": "count:poisson", "max_depth": 5}, 15),
    ("gamma", {"objective": "reg:gamma", "max_depth": 4}, 15),
    ("tweedie", {"objective": "reg:tweedie", "max_depth": 4, "tweedie_variance_power": 1.3, "base_score": 1.7}, 15),
    ("softmax", {"objective": "multi:softmax", "num_class": 4, "max_depth": 3}, 8),
    ("softprob", {"objective": "multi:softprob", "num_class": 3, "max_depth": 4}, 8),
    ("softprob_forest", {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "num_parallel_tree": 3, "subsample": 0.7, "base_score": 0.4}, 4),
    ("pairwise", {"objective": "rank:pairwise", "max_depth": 4}, 12),
    ("ndcg", {"objective": "rank:ndcg", "max_depth": 3}, 12),
    ("cox", {"objective": "survival:cox", "max_depth": 3}, 12),
    ("dart", {"objective": "reg:squarederror", "booster": "dart", "max_depth": 4, "rate_drop": 0.4}, 20),
    ("dart_softprob", {"objective": "multi:softprob", "num_class": 3, "booster": "dart", "max_depth": 3, "rate_drop": 0.3}, 8),
    ("early_stopped", {"objective": "binary:logistic", "max_depth": 4, "eta": 0.9}, 60),
    ("categorical", {"objective": "reg:squarederror", "max_depth": 5, "tree_method": "hist", "max_cat_to_onehot": 4}, 15),
] + ([] if OLD else [
    ("absoluteerror", {"objective": "reg:absoluteerror", "max_depth": 4}, 15),
    ("quantile", {"objective": "reg:quantileerror", "quantile_alpha": 0.8, "max_depth": 4}, 15),
    ("quantiles", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9], "max_depth": 3}, 8),
    ("targets", {"objective": "reg:squarederror", "max_depth": 4}, 8),
    ("map", {"objective": "rank:map", "max_depth": 3}, 12),
    ("vectors", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree", "tree_method": "hist", "max_depth": 4}, 8),
    ("vectors_softprob", {"objective": "multi:softprob", "num_class": 3, "multi_strategy": "multi_output_tree", "tree_method": "hist", "max_depth": 3}, 8),
    ("vectors_forest", {"objective": "multi:softmax", "num_class": 4, "multi_strategy": "multi_output_tree", "tree_method": "hist", "max_depth": 3, "num_parallel_tree": 2, "subsample": 0.7}, 4),
    ("aft", {"objective": "survival:aft", "max_depth": 4, "base_score": 1.7}, 12),
    ("linear", {"objective": "reg:squarederror", "booster": "gblinear", "lambda": 0.1}, 10),
    ("linear_logistic", {"objective": "binary:logistic", "booster": "gblinear", "updater": "coord_descent"}, 10),
    ("linear_softprob", {"objective": "multi:softprob", "num_class": 3, "booster": "gblinear"}, 10),
])

# What an old XGBoost adds is its format, so fewer models will do.
if OLD:
    # Splits on categories were experimental: 1.7 changed what they mean.
    LEFT_OUT = ("categorical", "squarederror_deep", "squarederror_leafwise", "squarederror_exact", "pseudohuber", "binary_base", "gamma", "ndcg")
    MODELS = [model for model in MODELS if model[0] not in LEFT_OUT]


def dataset(name: str, parameters: dict, x: np.ndarray, signal: np.ndarray, categories: list[int]) -> xgboost.DMatrix:
    objective = parameters["objective"]
    label = signal
    if objective in ("binary:logistic", "binary:logitraw", "binary:hinge", "rank:map"):
        label = (signal > 0.4).astype(float)
    elif objective == "reg:logistic":
        label = 1 / (1 + np.exp(-signal))
    elif objective.startswith("multi:"):
        classes = parameters["num_class"]
        label = np.searchsorted(np.quantile(signal, np.arange(1, classes) / classes), signal)
    elif objective.startswith("rank:"):
        label = np.clip(np.round(signal + 1), 0, 4)
    elif objective == "count:poisson":
        label = np.floor(np.exp(signal / 2))
    elif objective in ("reg:gamma", "reg:tweedie", "reg:squaredlogerror", "survival:cox"):
        label = np.exp(signal / 2)
    if name in ("targets", "vectors"):
        label = np.stack([signal, signal**2, -signal], axis=1)
    types = ["c" if count else "float" for count in categories]
    data = xgboost.DMatrix(x, label=label, feature_types=types, enable_categorical=True, nthread=1)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", np.exp(signal / 2))
        data.set_float_info("label_upper_bound", np.exp(signal / 2) + np.where(signal > 0.5, np.inf, 0.1))
    if objective.startswith("rank:"):
        data.set_group([50] * (len(x) // 50))
    return data


def main() -> None:
    out = pathlib.Path(sys.argv[1]) / xgboost.__version__
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for number, (name, parameters, rounds) in enumerate(MODELS):
        seed = 1_000 + number
        columns = 6 + number % 5
        categories = [0] * columns
        if name == "categorical":
            categories[1], categories[2], categories[5] = 3, 12, 40
        x, signal = training_data(seed, columns, categories)
        data = dataset(name, parameters, x, signal, categories)
        parameters = {"nthread": 1, "seed": number, "verbosity": 0, **parameters}
        if name == "early_stopped":
            half = np.arange(len(x)) % 2 == 0
            train, held_out = data.slice(np.flatnonzero(half)), data.slice(np.flatnonzero(~half))
            booster = xgboost.train(
                parameters, train, rounds, evals=[(held_out, "test")], early_stopping_rounds=5, verbose_eval=False
            )
            assert booster.best_iteration + 1 < booster.num_boosted_rounds()
        else:
            booster = xgboost.train(parameters, data, rounds)
        # Half of the models in each format; some in both, whose answers then have the same digest.
        formats = ["json", "ubj"] if name in ("softprob", "dart", "categorical") else ["json" if number % 2 else "ubj"]
        files = [f"{name}.{suffix}" for suffix in formats]
        for file in files:
            booster.save_model(out / file)
        cuts = thresholds(booster, columns, out / "thresholds.json")

        # Predict with what was saved, not with what was trained.
        booster = xgboost.Booster({"nthread": 1}, model_file=str(out / files[0]))
        rows = inputs(seed, ROWS, cuts, categories)
        types = ["c" if count else "float" for count in categories]
        matrix = xgboost.DMatrix(rows, feature_types=types, enable_categorical=True, nthread=1)
        span = {"iteration_range": (0, booster.best_iteration + 1)} if name == "early_stopped" else {}
        predictions = np.ascontiguousarray(booster.predict(matrix, **span), dtype="<f4")
        if not any(categories) and parameters.get("booster") != "gblinear":
            in_place = np.ascontiguousarray(booster.inplace_predict(rows, **span), dtype="<f4")
            if in_place.tobytes() != predictions.tobytes():
                different = np.count_nonzero(in_place.view(np.uint32) != predictions.view(np.uint32))
                print(f"{name}: inplace_predict differs in {different} of {predictions.size}, by {np.abs(in_place - predictions).max()}")
        records.append(
            {
                "files": files,
                "seed": seed,
                "rows": ROWS,
                "categories": categories,
                "cuts": ["".join(f"{bits:08x}" for bits in column) for column in cuts],
                "predictions": predictions.size,
                "sha256": hashlib.sha256(predictions.tobytes()).hexdigest(),
                "first": predictions.reshape(-1)[:IN_THE_CLEAR].tobytes().hex(),
            }
        )
    record = {"xgboost": xgboost.__version__, "models": records}
    (out / "reference.json").write_text(json.dumps(record, indent=1) + "\n")
    print(sum(record["predictions"] for record in records), "predictions")


if __name__ == "__main__":
    main()
