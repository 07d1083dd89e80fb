"""Train the moons model: a scikit-learn random forest that tells two interleaved half circles apart.

    python train_moons.py --out ../moons/1

writes model.json and prints what model.toml and the sample say of it.
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import pandas as pd
import sklearn
from sklearn.datasets import make_moons
from sklearn.ensemble import RandomForestClassifier

import export_sklearn

FEATURES = ["data1", "data2"]
# The held-out points come from another draw of the same distribution.
HELD_OUT, HELD_OUT_SEED = 10_000, 4


def frame(points) -> pd.DataFrame:
    return pd.DataFrame(points, columns=FEATURES)


def rows(points) -> list[dict]:
    return [dict(zip(FEATURES, point)) for point in points]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the bundle's folder, which gets model.json")
    arguments = parser.parse_args()

    points, classes = make_moons(n_samples=100, noise=0.25, random_state=3)
    # One job, so that probabilities are summed in the order of the trees.
    model = RandomForestClassifier(n_estimators=5, random_state=0, n_jobs=1).fit(frame(points), classes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "model.json"
    export_sklearn.export(model, path)

    test_points, test_classes = make_moons(n_samples=HELD_OUT, noise=0.25, random_state=HELD_OUT_SEED)

    def answers(asked, probabilities=False):
        labels = model.predict(frame(asked))
        shares = model.predict_proba(frame(asked))
        answer = [{"prediction": str(label)} for label in labels]
        if probabilities:
            for row, share in zip(answer, shares):
                row["probabilities"] = {str(label): float(p) for label, p in zip(model.classes_, share)}
        return answer

    single = [[0.5, -0.2]]
    several = [[-1.0, 0.5], [0.4, 0.35], [1.75, 0.1], [0.0, np.nan], [np.nan, -0.3]]
    # A point on a split's own threshold, and its neighbour as an f64 that scikit-learn rounds back onto it.
    root = model.estimators_[0].tree_
    edge = float(np.float32(root.threshold[0]))
    for column in range(2):
        if root.feature[0] == column:
            several.append([edge if at == column else 0.25 for at in range(2)])
            several.append([float(np.nextafter(edge, 9.0)) if at == column else 0.25 for at in range(2)])

    def text(asked):
        return json.dumps([{k: None if np.isnan(v) else v for k, v in row.items()} for row in rows(asked)])

    print(
        json.dumps(
            {
                "scikit-learn": sklearn.__version__,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
                "accuracy": {
                    "train": float(model.score(frame(points), classes)),
                    "test": float(model.score(frame(test_points), test_classes)),
                },
                "golden": [
                    {"input": json.dumps(rows(single)[0]), "output": json.dumps(answers(single)[0])},
                    {"input": text(several), "output": json.dumps(answers(several))},
                    {"input": text(several), "output": json.dumps(answers(several, True)), "params": {"probabilities": True}},
                ],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
