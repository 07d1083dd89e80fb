"""Write the reference values that `crates/infer` is held to: small nets that classify texts, with their tokenizers.

    python reference_texts.py ../../crates/infer/tests/reference/texts

The nets are drawn, not trained: what counts is that every text gets ONNX Runtime's numbers, however it is padded and cut. Needs onnx,
onnxruntime and tokenizers (requirements-deep.txt).
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "정말 재미있게 봤어요. 배우들 연기도 최고!",
    "시간이 아깝다... 지루하고 뻔한 이야기",
    "The best film of the year, by far.",
    "What a waste of time; boring, boring, boring!",
    "ㅋㅋㅋㅋ 👍👍👍",
    "état naïve İstanbul ΣΑΣ straße",
]
TEXTS = [
    *SENTENCES,
    "",
    " ",
    "film",
    "e\u0301 \u1112\u1161\u11ab",
    "한국어 unseen 漢字 \U0010ffff \x00 \u200b",
    "[CLS] [PAD] <s>",
    "the " * 100,
    *(" ".join(SENTENCES[at % 6].split()[: 1 + at % 5]) for at in range(20)),
]


def special(names, vocabulary):
    return processors.TemplateProcessing(
        single=f"{names[0]} $A {names[1]}", special_tokens=[(name, vocabulary.token_to_id(name)) for name in names]
    )


def word_piece() -> Tokenizer:
    """As BERT's; says nothing about padding or length."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=150, special_tokens=names))
    tokenizer.post_processor = special(["[CLS]", "[SEP]"], tokenizer)
    return tokenizer


def byte_pairs() -> Tokenizer:
    """As GPT-2's, padded on the left to multiples of 4, cut at 24."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<pad>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.enable_truncation(24, direction="left")
    tokenizer.enable_padding(direction="left", pad_id=0, pad_token="<pad>", pad_to_multiple_of=4)
    return tokenizer


def unigram() -> Tokenizer:
    """As XLM-R's, all texts brought to 16 tokens."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=names, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = special(["<s>", "</s>"], tokenizer)
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16, pad_id=1, pad_token="<pad>")
    return tokenizer


def net(vocabulary: int, classes: int, inputs: dict, shape: list, last: str | None, seed: int) -> bytes:
    """Embeddings, weighted by the mask if there is one, their mean and maximum over the tokens, a linear layer, perhaps `last`."""
    random = np.random.default_rng(seed)
    width = 8
    constants = {
        "embedding": random.normal(size=(vocabulary, width)).astype(np.float32),
        "types": random.normal(size=(2, width)).astype(np.float32),
        "linear": random.normal(size=(2 * width, classes)).astype(np.float32),
        "bias": random.normal(size=classes).astype(np.float32),
        "tokens_axis": np.array([1], dtype=np.int64),
        "last_axis": np.array([2], dtype=np.int64),
        "far": np.array(100, dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
    }
    nodes = [helper.make_node("Gather", ["embedding", "input_ids"], ["embedded"])]
    value = "embedded"
    if "token_type_ids" in inputs:
        nodes += [
            helper.make_node("Gather", ["types", "token_type_ids"], ["typed"]),
            helper.make_node("Add", [value, "typed"], ["summed"]),
        ]
        value = "summed"
    if "attention_mask" in inputs:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask_f32"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask_f32", "last_axis"], ["mask"]),
            helper.make_node("Mul", [value, "mask"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "tokens_axis"], ["total"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "tokens_axis"], ["count"], keepdims=0),
            helper.make_node("Div", ["total", "count"], ["mean"]),
            helper.make_node("Sub", ["mask", "one"], ["gone"]),
            helper.make_node("Mul", ["gone", "far"], ["below"]),
            helper.make_node("Add", ["masked", "below"], ["lowered"]),
        ]
        value = "lowered"
    else:
        nodes += [helper.make_node("ReduceMean", [value], ["mean"], axes=[1], keepdims=0)]
    nodes += [
        helper.make_node("ReduceMax", [value], ["max"], axes=[1], keepdims=0),
        helper.make_node("Concat", ["mean", "max"], ["pooled"], axis=1),
        helper.make_node("Gemm", ["pooled", "linear", "bias"], ["logits" if last is None else "raw"]),
    ]
    if last:
        nodes.append(helper.make_node(last, ["raw"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "texts",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind in inputs.items()],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


INT64, INT32 = TensorProto.INT64, TensorProto.INT32
BERT_INPUTS = {"input_ids": INT64, "attention_mask": INT64, "token_type_ids": INT64}
# Name, tokenizer, the net's inputs and their shape, classes, last operator.
MODELS = [
    ("bert", word_piece, BERT_INPUTS, ["batch", "sequence"], 3, None),
    ("left", byte_pairs, {"input_ids": INT64, "attention_mask": INT64}, ["batch", "sequence"], 2, "Softmax"),
    ("fixed", unigram, {"input_ids": INT32}, [4, 16], 1, "Sigmoid"),
    ("bare", word_piece, {"input_ids": INT64}, ["batch", "sequence"], 1, None),
]


def probabilities(row, last) -> list[float]:
    row = row.astype(np.float64)
    if len(row) == 1:
        second = row[0] if last else 1 / (1 + np.exp(-row[0]))
        return [float(1 - second), float(second)]
    if last is None:
        row = np.exp(row - row.max())
        row /= row.sum()
    return row.tolist()


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for seed, (name, make, inputs, shape, classes, last) in enumerate(MODELS):
        tokenizer = make()
        graph = net(tokenizer.get_vocab_size(), classes, inputs, shape, last, seed)
        (out / f"{name}.onnx").write_bytes(graph)
        tokenizer.save(str(out / f"{name}.json"), pretty=False)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        answers = []
        for text in TEXTS:
            encoded = tokenizer.encode(text)
            rows = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
            feed = {}
            for key, kind in inputs.items():
                row = np.array([rows[key]], dtype=np.int64 if kind == INT64 else np.int32)
                feed[key] = np.repeat(row, shape[0], axis=0) if isinstance(shape[0], int) else row
            # A text of no tokens has no mean.
            if not encoded.ids:
                answers.append(None)
                continue
            answers.append(probabilities(session.run(None, feed)[0][0], last))
        records.append({"name": name, "probabilities": answers})
    versions = {"onnxruntime": onnxruntime.__version__, "tokenizers": tokenizers.__version__}
    (out / "reference.json").write_text(json.dumps({**versions, "texts": TEXTS, "models": records}, ensure_ascii=False) + "\n")
    print(len(TEXTS), "texts,", [record["name"] for record in records])


if __name__ == "__main__":
    main()
