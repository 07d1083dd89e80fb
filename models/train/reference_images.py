"""Writes small nets that take pictures, and ONNX Runtime's answers, for the tests of crates/infer.

    python reference_images.py ../../crates/infer/tests/reference/images

Their weights are drawn with a fixed seed: they have the shapes of nets that people train, but were not trained.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

HEIGHT, WIDTH = 101, 77
# Optional, as `pads` are, but exporters write them, and rten 0.27 wants them.
PLAIN = {"strides": [1, 1], "dilations": [1, 1]}
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def model(nodes, weights, channels, size, output):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", channels, *size])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, output)
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [image], [answer], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def kernel(random, outputs, inputs, side):
    return random.normal(0, 1 / side / np.sqrt(inputs), (outputs, inputs, side, side)).astype(np.float32)


def nets(random):
    """Name and file."""
    pads = {"pads": [3, 3, 3, 3], **PLAIN}
    conv = [helper.make_node("Conv", ["image", "w"], ["x"], **pads), helper.make_node("Sigmoid", ["x"], ["answer"])]
    weights = {"w": kernel(random, 1, 3, 7)}
    yield "soft.onnx", model(conv, weights, 3, ["h", "w"], ["n", 1, "h", "w"])
    yield "soft-fixed.onnx", model(conv, weights, 3, [40, 48], ["n", 1, 40, 48])
    pooled = [
        helper.make_node("MaxPool", ["image"], ["half"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["half", "w1"], ["y"], pads=[1, 1, 1, 1], **PLAIN),
        helper.make_node("Resize", ["y", "", "scales"], ["up"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        helper.make_node("Concat", ["image", "up"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w2"], ["z"], pads=[1, 1, 1, 1], **PLAIN),
        helper.make_node("Tanh", ["z"], ["answer"]),
    ]
    weights = {
        "w1": kernel(random, 4, 1, 3),
        "w2": kernel(random, 3, 5, 3),
        "scales": np.array([1, 1, 4, 4], np.float32),
    }
    yield "pooled.onnx", model(pooled, weights, 1, ["h", "w"], ["n", 3, "h", "w"])
    double = [
        helper.make_node("Conv", ["image", "w"], ["x"], pads=[1, 1, 1, 1], **PLAIN),
        helper.make_node("DepthToSpace", ["x"], ["answer"], blocksize=2, mode="CRD"),
    ]
    yield "double.onnx", model(double, {"w": np.abs(kernel(random, 12, 3, 3))}, 3, ["h", "w"], ["n", 3, "2h", "2w"])
    classes = [
        helper.make_node("Conv", ["image", "w"], ["x"], strides=[2, 2], dilations=[1, 1], pads=[0, 0, 0, 0]),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["z"]),
        helper.make_node("Flatten", ["z"], ["features"]),
        helper.make_node("Gemm", ["features", "g", "b"], ["answer"], transB=1),
    ]
    weights = {
        "w": kernel(random, 8, 3, 5),
        "g": random.normal(0, 2, (5, 8)).astype(np.float32),
        "b": random.normal(0, 0.1, 5).astype(np.float32),
    }
    yield "classes.onnx", model(classes, weights, 3, [32, 32], ["n", 5])


def scene():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(x / 5 + y / 11), np.cos(x * y / 300), np.sin((x - 40) ** 2 / 200 + y / 7)]
    return Image.fromarray(np.round(127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.uint8), "RGB")


def tensor(image):
    values = np.asarray(image, np.float32).reshape(image.height, image.width, -1)
    return np.ascontiguousarray((values / 255).transpose(2, 0, 1)[None])


def picture(answer, black=0.0, white=1.0):
    samples = np.clip((answer[0].transpose(1, 2, 0) - black) / (white - black) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(samples.squeeze())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    image = scene()
    image.save(out / "scene.png")
    answers = {}
    for name, file in nets(np.random.default_rng(7)):
        (out / name).write_bytes(file)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        answer = lambda values: session.run(None, {"image": values})[0]
        if name == "soft.onnx":
            picture(answer(tensor(image))).save(out / "soft.png")
        elif name == "pooled.onnx":
            # To the next multiple of 4, its edges repeated.
            grey = np.pad(tensor(image.convert("L")), [(0, 0), (0, 0), (0, -HEIGHT % 4), (0, -WIDTH % 4)], mode="edge")
            picture(answer(grey)[..., :HEIGHT, :WIDTH], black=-1.0).save(out / "pooled.png")
        elif name == "double.onnx":
            picture(answer(tensor(image))).save(out / "double.png")
        elif name == "classes.onnx":
            side = 0.875 * min(WIDTH, HEIGHT)
            left, top = (WIDTH - side) / 2, (HEIGHT - side) / 2
            small = image.resize((32, 32), Image.BILINEAR, box=(left, top, left + side, top + side))
            mean, std = (np.array(values, np.float32)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
            corner = image.crop((0, 0, 32, 32))
            corner.save(out / "corner.png")
            for key, picture_of_32 in (("classes", small), ("classes of the corner", corner)):
                logits = answer((tensor(picture_of_32) - mean) / std)[0].astype(np.float64)
                powers = np.exp(logits - logits.max())
                answers[key] = list(powers / powers.sum())
    (out / "reference.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
