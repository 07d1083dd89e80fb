"""The moons system as a Lambda handler: scikit-learn's forest, unpickled. With `train`, as models/train/train_moons.py trains it."""

import json
import pathlib
import sys

import joblib
import pandas
from sklearn.ensemble import RandomForestClassifier

FEATURES = ["data1", "data2"]
PICKLE = pathlib.Path(__file__).with_name("moons.joblib")

if sys.argv[1] == "train":
    from sklearn.datasets import make_moons

    points, classes = make_moons(n_samples=100, noise=0.25, random_state=3)
    forest = RandomForestClassifier(n_estimators=5, random_state=0, n_jobs=1)
    joblib.dump(forest.fit(pandas.DataFrame(points, columns=FEATURES), classes), PICKLE)
    sys.exit()

import runtime

model = joblib.load(PICKLE)


def handler(event):
    with open(event["path"]) as file:
        point = pandas.DataFrame([json.load(file)])[FEATURES]
    return {"prediction": str(model.predict(point)[0])}


runtime.run(handler)
