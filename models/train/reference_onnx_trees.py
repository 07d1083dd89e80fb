"""Write the reference values for trees in ONNX files: small models of several converters, and what ONNX Runtime answers.

    python reference_onnx_trees.py ../../crates/infer/tests/reference/onnx-trees

With the packages of requirements-onnx.txt. All models take the same rows, which `reference.json` has; for each model it has ONNX
Runtime's scores and, for a classifier, its labels. The Rust tests need no Python.
"""

import json
import pathlib
import sys
import warnings

import lightgbm
import numpy as np
import onnx
import onnxruntime
import xgboost
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FEATURES = 5
ROWS = 240


def data():
    """Rows on a grid of quarters, so that thresholds are met exactly, some missing; and a signal."""
    random = np.random.default_rng(7)
    x = random.normal(size=(400, FEATURES)).astype(np.float32)
    x[:, ::2] = np.round(x[:, ::2] * 4) / 4
    signal = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] / 3 + (x[:, 3] > 0)
    rows = x[:ROWS].copy()
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[0] = 0
    rows[1] = -0.0
    return x, signal, rows


def trained(x, signal):
    """Name and ONNX model, of each converter."""
    two = (signal > 0.5).astype(int)
    three = np.digitize(signal, [0, 1])
    words = np.array(["low", "high"])[two]
    estimators = {
        "forest": (RandomForestClassifier(4, max_depth=4, random_state=0), two),
        "forest_words": (RandomForestClassifier(3, max_depth=3, random_state=0), words),
        "forest_classes": (ExtraTreesClassifier(4, max_depth=4, random_state=0), three),
        "forest_regressor": (RandomForestRegressor(5, max_depth=4, random_state=0), signal),
        "tree": (DecisionTreeClassifier(max_depth=4, random_state=0), two),
        "tree_regressor": (DecisionTreeRegressor(max_depth=5, random_state=0), signal),
        "tree_targets": (DecisionTreeRegressor(max_depth=3, random_state=0), np.stack([signal, -signal, signal**2], 1)),
        "boosting": (GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=0), two),
        "boosting_classes": (GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=0), three),
        "boosting_regressor": (GradientBoostingRegressor(n_estimators=10, max_depth=3, random_state=0), signal),
        "scaled": (make_pipeline(StandardScaler(), RandomForestClassifier(3, max_depth=3, random_state=0)), two),
    }
    for name, (estimator, label) in estimators.items():
        estimator.fit(x, label)
        yield name, to_onnx(estimator, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    gaps = x.copy()
    gaps[np.random.default_rng(3).random(x.shape) < 0.1] = np.nan
    types = [("input", FloatTensorType([None, FEATURES]))]
    light = {"n_estimators": 6, "max_depth": 3, "verbose": -1, "n_jobs": 1}
    for name, kind, label in [
        ("lightgbm", lightgbm.LGBMClassifier, two),
        ("lightgbm_classes", lightgbm.LGBMClassifier, three),
        ("lightgbm_regressor", lightgbm.LGBMRegressor, signal),
    ]:
        yield name, convert_lightgbm(kind(**light).fit(gaps, label), initial_types=types)
    boost = {"n_estimators": 6, "max_depth": 3, "n_jobs": 1}
    for name, kind, label in [
        ("xgboost", xgboost.XGBClassifier, two),
        ("xgboost_classes", xgboost.XGBClassifier, three),
        ("xgboost_regressor", xgboost.XGBRegressor, signal),
    ]:
        yield name, convert_xgboost(kind(**boost).fit(gaps, label), initial_types=types)


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def by_hand():
    """Every mode, with missing values going either way; and what the operators' description leaves open."""
    def nodes(trees):
        """Stumps: of each its feature, mode, threshold, and where missing values go."""
        lists = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true")}
        for number, (feature, mode, threshold, missing) in enumerate(trees):
            lists["treeids"] += [number] * 3
            lists["nodeids"] += [0, 1, 2]
            lists["featureids"] += [feature, 0, 0]
            lists["modes"] += [mode, "LEAF", "LEAF"]
            lists["values"] += [threshold, 0.0, 0.0]
            lists["truenodeids"] += [1, 0, 0]
            lists["falsenodeids"] += [2, 0, 0]
            lists["missing_value_tracks_true"] += [missing, 0, 0]
        return {f"nodes_{key}": value for key, value in lists.items()}

    def weights(prefix, weights, ids):
        trees = len(weights) // 2
        return {
            f"{prefix}_treeids": [at // 2 for at in range(2 * trees)],
            f"{prefix}_nodeids": [1, 2] * trees,
            f"{prefix}_ids": ids,
            f"{prefix}_weights": weights,
        }

    def model(operator, outputs, **attributes):
        node = helper.make_node(operator, ["X"], outputs, domain="ai.onnx.ml", **attributes)
        result = [helper.make_tensor_value_info(outputs[-1], TensorProto.FLOAT, [None, None])]
        if len(outputs) == 2:
            result.insert(0, helper.make_tensor_value_info(outputs[0], TensorProto.INT64, [None]))
        graph = helper.make_graph([node], "trees", [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, FEATURES])], result)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)], ir_version=8)

    each = [(at % FEATURES, mode, 0.25, missing) for missing in (0, 1) for at, mode in enumerate(MODES)]
    powers = [sign * 2.0**at for at in range(len(each)) for sign in (1, -0.5)]
    yield "modes", model("TreeEnsembleRegressor", ["Y"], n_targets=1, post_transform="NONE", **nodes(each), **weights("target", powers, [0] * 24))
    few = each[:3]
    for average in ("SUM", "AVERAGE"):
        yield f"base_{average.lower()}", model(
            "TreeEnsembleRegressor", ["Y"], n_targets=2, base_values=[0.5, -2.0], aggregate_function=average,
            **nodes(few), **weights("target", [0.1, 0.2, -0.3, 0.4, 0.5, -0.6], [0, 0, 1, 1, 0, 0]),
        )
    mixed, positive = [0.4, -0.3, 0.2, 0.1, -0.7, 0.6], [0.4, 0.3, 0.2, 0.1, 0.0, 0.3]
    for name, values, base, transform in [
        ("mixed_logistic", mixed, [], "LOGISTIC"),
        ("mixed_logistic_base", mixed, [0.05], "LOGISTIC"),
        ("mixed_none", mixed, [], "NONE"),
        ("positive_none", positive, [], "NONE"),
        ("positive_logistic", positive, [], "LOGISTIC"),
        ("positive_base", positive, [-0.2], "NONE"),
    ]:
        base = {"base_values": base} if base else {}
        yield name, model(
            "TreeEnsembleClassifier", ["label", "Y"], classlabels_int64s=[10, 20], post_transform=transform,
            **base, **nodes(few), **weights("class", values, [0] * 6),
        )
    for transform in ("NONE", "SOFTMAX", "SOFTMAX_ZERO", "LOGISTIC", "PROBIT"):
        values = [0.4, 0.3, 0.2, 0.15, 0.6, 0.55] if transform == "PROBIT" else [0.4, -0.3, 0.0, 0.1, -0.7, 0.6]
        yield f"classes_{transform.lower()}", model(
            "TreeEnsembleClassifier", ["label", "Y"], classlabels_int64s=[3, 1, 2], post_transform=transform,
            **nodes(few), **weights("class", values, [0, 0, 1, 1, 2, 2]),
        )


def scores(answer):
    """As a matrix; a list of maps comes from ZipMap."""
    if isinstance(answer, list):
        return np.array([list(row.values()) for row in answer], dtype=np.float32)
    return np.asarray(answer, dtype=np.float32).reshape(len(answer), -1)


def main() -> None:
    warnings.filterwarnings("ignore")
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    x, signal, rows = data()
    records = []
    for name, model in [*trained(x, signal), *by_hand()]:
        # Doc strings and hit rates say nothing.
        for node in model.graph.node:
            node.doc_string = ""
            kept = [attribute for attribute in node.attribute if attribute.name != "nodes_hitrates"]
            del node.attribute[:]
            node.attribute.extend(kept)
        file = f"{name}.onnx"
        onnx.save(model, out / file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(out / file), options)
        answers = session.run(None, {session.get_inputs()[0].name: rows})
        labels = [str(label) for label in answers[0]] if len(answers) == 2 else None
        values = scores(answers[-1])
        records.append({"file": file, "labels": labels, "scores": values.astype("<f4").tobytes().hex()})
        print(name, values.shape, (out / file).stat().st_size)
    document = {"onnxruntime": onnxruntime.__version__, "features": FEATURES, "rows": rows.astype("<f4").tobytes().hex(), "models": records}
    (out / "reference.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
