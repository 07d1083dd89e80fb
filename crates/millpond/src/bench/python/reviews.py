"""The reviews system as a Lambda handler: Hugging Face's tokenizer and ONNX Runtime on the deep network."""

import json
import sys

import numpy
import onnxruntime
import tokenizers

import runtime

folder = f"{sys.argv[1]}/reviews/1"
tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.enable_padding()
session = onnxruntime.InferenceSession(f"{folder}/deep.onnx", providers=["CPUExecutionProvider"])


def handler(event):
    with open(event["path"]) as file:
        texts = json.load(file)["text"]
    encodings = tokenizer.encode_batch(list(texts.values()))
    fed = {
        "input_ids": [encoding.ids for encoding in encodings],
        "attention_mask": [encoding.attention_mask for encoding in encodings],
    }
    inputs = {given.name: numpy.array(fed[given.name], numpy.int64) for given in session.get_inputs()}
    logits = session.run(None, inputs)[0].astype(float)
    shares = numpy.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    labels = ["negative", "positive"]
    best = zip(texts, shares.argmax(1), shares.max(1))
    return {key: {"label": labels[label], "confidence": share} for key, label, share in best}


runtime.run(handler)
