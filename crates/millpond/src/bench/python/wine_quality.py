"""The wine-quality system as a Lambda handler: pandas makes a frame of the rows, XGBoost answers."""

import json
import sys

import pandas
import xgboost

import runtime

model = xgboost.Booster(model_file=f"{sys.argv[1]}/wine-quality/1/model.ubj")


def handler(event):
    with open(event["path"]) as file:
        wines = pandas.DataFrame(json.load(file))[model.feature_names]
    return model.predict(xgboost.DMatrix(wines)).astype(float).tolist()


runtime.run(handler)
