"""Train the wine-quality model: XGBoost regression of a wine's quality on 11 measurements and its colour.

The hyper-parameters are those of the model that this one succeeds. A quarter of the rows, drawn with a fixed seed, is held out:
trained on nothing, and only used for the error that is printed.

    python train_wine.py --data wine.csv --out ../wine-quality/1
"""

import argparse
import hashlib
import json
import math
import pathlib

import numpy as np
import pandas as pd
import xgboost
from sklearn.model_selection import train_test_split

FEATURES = [
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
    "color_red",
    "color_white",
]

HYPER_PARAMETERS = {
    "objective": "reg:squarederror",
    "n_estimators": 427,
    "max_depth": 4,
    "learning_rate": 0.14805276225628836,
    "gamma": 0.8308284589258269,
    "min_child_weight": 19,
    "subsample": 0.8057534921563381,
    "colsample_bytree": 0.49563261913456746,
    "random_state": 2,
    # One thread, so that the same sums are taken in the same order wherever this runs.
    "n_jobs": 1,
}

HELD_OUT = 0.25
SPLIT_SEED = 2


def load(path: pathlib.Path) -> tuple[pd.DataFrame, pd.Series]:
    """The features in the order above, one row a wine, and the quality as the tasters gave it (3 to 9)."""
    table = pd.read_csv(path)
    features = table.drop(columns=["quality", "color"])
    for color in ("red", "white"):
        features[f"color_{color}"] = (table["color"] == color).astype(int)
    return features[FEATURES], table["quality"]


def rmse(model: xgboost.XGBRegressor, features: pd.DataFrame, quality: pd.Series) -> float:
    errors = model.predict(features).astype(np.float64) - quality.to_numpy(dtype=np.float64)
    return math.sqrt(np.mean(errors**2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="wine.csv of the UCI Wine Quality data set")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the bundle's folder, which gets model.ubj")
    arguments = parser.parse_args()

    features, quality = load(arguments.data)
    train_x, test_x, train_y, test_y = train_test_split(
        features, quality, test_size=HELD_OUT, random_state=SPLIT_SEED, stratify=features["color_red"]
    )
    model = xgboost.XGBRegressor(**HYPER_PARAMETERS).fit(train_x, train_y)

    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "model.ubj"
    model.save_model(path)

    # Held-out wines, the last with a gap: what `models check` must answer to the last bit.
    golden = test_x.iloc[[0, 1, 2]].astype(object).copy()
    golden.iloc[2, FEATURES.index("citric acid")] = None
    answers = model.predict(golden.astype(float))
    print(
        json.dumps(
            {
                "xgboost": xgboost.__version__,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
                "rows": {"train": len(train_x), "test": len(test_x)},
                "rmse": {"train": rmse(model, train_x, train_y), "test": rmse(model, test_x, test_y)},
                "rmse_of_the_mean": math.sqrt(np.mean((test_y.to_numpy(dtype=np.float64) - train_y.mean()) ** 2)),
                "golden": {
                    "input": json.loads(golden.to_json(orient="records", double_precision=15)),
                    "output": [float(answer) for answer in answers],
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
