"""Small nets as ONNX, and what ONNX Runtime answers: the references of crates/infer/tests/onnx.

    pip install torch onnx onnxruntime
    python models/train/reference_onnx.py crates/infer/tests/reference/onnx

Weights and inputs are random; the nets are not trained. Every net is written with the dimensions that its users may choose left open.
reference.json has a record a run: the net's file, the inputs and ONNX Runtime's outputs as the Open Inference Protocol writes them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "int8": "INT8", "uint8": "UINT8", "bool": "BOOL"}


class Mlp(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 16), nn.Tanh(), nn.BatchNorm1d(16), nn.Linear(16, 3), nn.Softmax(1))


class Cnn(nn.Module):
    """Of pictures of any size: convolutions, pooling, a skip over an upsampling."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.deep = nn.Sequential(nn.Conv2d(8, 16, 3, padding=2, dilation=2, groups=4), nn.SiLU(), nn.Conv2d(16, 8, 1))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.last = nn.Conv2d(4 + 3, 1, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        y = self.down(x)
        y = nn.functional.interpolate(y + self.deep(y), scale_factor=1.0, mode="bilinear", align_corners=False)
        return torch.sigmoid(self.last(torch.cat([self.up(y), x], 1)))


class Transformer(nn.Module):
    """Tokens of any number, of which a mask hides some; one row of logits a text."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.norm, self.last = nn.LayerNorm(16), nn.Linear(16, 2)
        self.feed = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, ids, mask):
        x = self.embed(ids)
        batch, length = ids.shape
        heads = [f(x).view(batch, length, 4, 4).transpose(1, 2) for f in (self.query, self.key, self.value)]
        scores = heads[0] @ heads[1].transpose(2, 3) / 2.0
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -1e9)
        x = x + (scores.softmax(3) @ heads[2]).transpose(1, 2).reshape(batch, length, 16)
        x = self.norm(x + self.feed(x))
        weights = mask[:, :, None].to(x.dtype)
        return self.last((x * weights).sum(1) / weights.sum(1))


class Recurrent(nn.Module):
    """An LSTM that reads both ways, a GRU upon it; all steps and the last state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(12, 4, batch_first=True)

    def forward(self, x):
        steps, state = self.gru(self.lstm(x)[0])
        return steps, state


class Many(nn.Module):
    """Inputs and outputs of several types."""

    def forward(self, a, b, flags):
        total = a.sum(1)
        return total > b, torch.where(flags, a.argmax(1), -1), (a.round() * 2).to(torch.int32), a * b[:, None]


def export(folder, name, net, inputs, names, outputs, dynamic):
    torch.onnx.export(
        net.eval(),
        inputs,
        str(folder / name),
        input_names=names,
        output_names=outputs,
        dynamic_axes=dynamic,
        opset_version=17,
        dynamo=False,
    )


def whole_numbers(folder):
    """Eight bits in, eight bits out: a lookup, which no exporter writes."""
    table = numpy_helper.from_array(np.arange(255, -1, -1, dtype=np.uint8), "table")
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT32),
        helper.make_node("Gather", ["table", "index"], ["y"]),
        helper.make_node("Cast", ["s"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Mul", ["wide", "big"], ["z"]),
    ]
    big = numpy_helper.from_array(np.array(1_000_003, dtype=np.int64), "big")
    graph = helper.make_graph(
        nodes,
        "lookup",
        [
            helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", None]),
            helper.make_tensor_value_info("s", TensorProto.INT8, []),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.UINT8, ["n", None]),
            helper.make_tensor_value_info("z", TensorProto.INT64, []),
        ],
        [table, big],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "lookup.onnx")


def tensor(name, array):
    data = array.reshape(-1).tolist()
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[str(array.dtype)], "data": data}


def main(folder):
    torch.manual_seed(20)
    torch.set_num_threads(1)
    random = np.random.default_rng(20)
    f32 = lambda *shape: random.standard_normal(shape).astype(np.float32)
    export(folder, "mlp.onnx", Mlp(), torch.zeros(2, 4), ["x"], ["y"], {"x": {0: "batch"}, "y": {0: "batch"}})
    sizes = {0: "batch", 2: "height", 3: "width"}
    export(folder, "cnn.onnx", Cnn(), torch.zeros(1, 3, 8, 8), ["image"], ["mask"], {"image": sizes, "mask": sizes})
    ids, mask = torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    dynamic = {"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}}
    names = ["input_ids", "attention_mask"]
    export(folder, "transformer.onnx", Transformer(), (ids, mask), names, ["logits"], dynamic)
    dynamic = {"x": {0: "batch", 1: "steps"}, "steps": {0: "batch", 1: "steps"}, "state": {1: "batch"}}
    export(folder, "recurrent.onnx", Recurrent(), torch.zeros(2, 3, 5), ["x"], ["steps", "state"], dynamic)
    a, b, flags = torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, dtype=torch.bool)
    outputs = ["above", "best", "doubled", "scaled"]
    dynamic = {name: {0: "rows"} for name in ["a", "b", "flags", *outputs]}
    export(folder, "many.onnx", Many(), (a, b, flags), ["a", "b", "flags"], outputs, dynamic)
    whole_numbers(folder)

    tokens = lambda *shape: random.integers(0, 50, shape)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]], dtype=np.int64)
    runs = [
        ("mlp.onnx", {"x": f32(1, 4)}),
        ("mlp.onnx", {"x": f32(33, 4)}),
        ("cnn.onnx", {"image": f32(1, 3, 10, 14)}),
        ("cnn.onnx", {"image": f32(2, 3, 32, 6)}),
        ("transformer.onnx", {"input_ids": tokens(3, 5), "attention_mask": mask}),
        ("transformer.onnx", {"input_ids": tokens(1, 40), "attention_mask": np.ones((1, 40), dtype=np.int64)}),
        ("recurrent.onnx", {"x": f32(1, 1, 5)}),
        ("recurrent.onnx", {"x": f32(3, 11, 5)}),
        ("many.onnx", {"a": f32(4, 3), "b": f32(4), "flags": np.array([True, False, True, True])}),
        (
            "lookup.onnx",
            {"x": random.integers(0, 256, (2, 3)).astype(np.uint8), "s": np.array(-128, dtype=np.int8)},
        ),
    ]
    records = []
    for name, inputs in runs:
        session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
        answers = session.run(None, inputs)
        outputs = [tensor(output.name, np.asarray(answer)) for output, answer in zip(session.get_outputs(), answers)]
        records.append({"file": name, "inputs": [tensor(*item) for item in inputs.items()], "outputs": outputs})
    versions = {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
    (folder / "reference.json").write_text(json.dumps({"versions": versions, "models": records}) + "\n")


main(Path(sys.argv[1]))
