"""Train the deep model of Korean film reviews: is a review positive or negative?

A review is read character by character (NFC, lower case). The network has two parts, whose scores
are added:

- wide: a linear model on hashed n-grams of 1 to 4 characters. It remembers what single words and
  phrases say: the mean of four logistic regressions, each fitted without a fold (a quarter) of the
  training reviews.
- deep: four networks whose answers are averaged. Each reads embeddings of characters and of hashed
  pairs, and the wide part's weights of the n-grams that end there, with a convolution, an LSTM in
  both directions, and pooling. It is trained to add what the wide part lacks. So that this is what
  it lacks on reviews it hasn't seen, the regression fitted without a fold speaks for this fold.

10,000 training reviews, drawn with a fixed seed, are held out for choices; the test reviews are
only used for the accuracy at the end.

    python train_reviews_deep.py --data reviews --out out

writes deep.onnx, tokenizer.json, metrics.json and reference.json, and its parts into out/parts.
Parts that are there aren't trained again, so that several can be trained at once: --only 0 to
--only 3 train a deep part each, and a run without joins them.
"""

import argparse
import hashlib
import json
import lzma
import pathlib
import random
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import scipy.sparse
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from torch.nn import functional

SEED = 1
HELD_OUT = 10_000
FOLDS = 4

# Characters that fewer training reviews have are unknown.
LEAST_COUNT = 3
PAD, UNKNOWN, START, END = 0, 1, 2, 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# The longest training review has 150.
MAX_TOKENS = 192

# Rows for n-grams of 1, 2, 3 and 4 characters. BASE is at least the number of tokens, and BASE
# times any of these is less than 2^31, as some runtimes have no 64-bit integers.
BASE = 2309
WIDE_ROWS = [BASE, 200_003, 500_009, 900_001]
WIDE_C = 4.0
PAIR_ROWS = 10_007

EMBEDDING = 64
# To save room, the embeddings of pairs are kept as the product of a narrow table and a matrix.
NARROW = 16
CHANNELS = 128
HIDDEN = 96
EPOCHS = 3
BATCH = 128
LEARNING_RATE = 2e-3
WARM_UP = 300
# What the gates of the LSTM get from padding: it shuts them, in f32 wholly.
SHUT = -1000.0
LOWEST = -1e4

OPSET = 17
REFERENCES = 400


class Member(NamedTuple):
    """How a deep part is trained."""

    seed: int
    # How often channels, what is pooled, and characters are left out.
    dropout: float
    last_dropout: float
    character_dropout: float
    weight_decay: float


MEMBERS = [
    Member(1, 0.2, 0.4, 0.05, 0.0),
    Member(2, 0.2, 0.4, 0.05, 0.0),
    Member(1, 0.3, 0.5, 0.1, 0.1),
    Member(2, 0.3, 0.5, 0.1, 0.1),
]


def load(path: pathlib.Path) -> tuple[list[str], np.ndarray]:
    """The reviews and their labels, 1 for positive, of a file of id, document, label."""
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return [row[1] for row in rows], np.array([int(row[2]) for row in rows])


def make_tokenizer(texts: list[str]) -> Tokenizer:
    """One token a character: a BPE without merges, which every reader of tokenizer.json knows."""
    normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[ \\t\\r\\n]+"), " "),
        ]
    )
    pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    counts: dict[str, int] = {}
    for text in texts:
        for character in set(normalizer.normalize_str(text).replace(" ", "▁") + "▁"):
            counts[character] = counts.get(character, 0) + 1
    known = sorted(character for character, count in counts.items() if count >= LEAST_COUNT)
    vocabulary = {token: place for place, token in enumerate(SPECIAL + known)}
    assert len(vocabulary) <= BASE
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def padded(rows: list[list[int]]) -> torch.Tensor:
    """(rows, longest) token ids, PAD at the end of the shorter ones."""
    ids = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    return torch.from_numpy(ids)


def delayed(ids: torch.Tensor) -> torch.Tensor:
    """At each place what was one place before, PAD at the first."""
    return torch.cat((torch.zeros_like(ids[:, :1]), ids[:, :-1]), dim=1)


def ngram_rows(ids: torch.Tensor) -> torch.Tensor:
    """ids: (batch, sequence) -> (batch, sequence, 4), the rows of the n-grams that end there."""
    pair = delayed(ids) * BASE + ids
    triple = delayed(pair % WIDE_ROWS[2]) * BASE + ids
    quadruple = delayed(triple % WIDE_ROWS[3]) * BASE + ids
    start, rows = 0, []
    for hashes, size in zip((ids, pair, triple, quadruple), WIDE_ROWS):
        rows.append(hashes % size + start)
        start += size
    return torch.stack(rows, dim=2)


def wide_features(rows: list[list[int]]) -> scipy.sparse.csr_matrix:
    """(reviews, rows of the table): how often each n-gram occurs, over the root of the length."""
    columns, pointers = [], [0]
    for start in range(0, len(rows), 1000):
        ids = padded(rows[start : start + 1000])
        columns.append(ngram_rows(ids)[ids != PAD].numpy().astype(np.int32).ravel())
        pointers += [4 * len(row) for row in rows[start : start + 1000]]
    indices, pointers = np.concatenate(columns), np.cumsum(pointers)
    lengths = np.diff(pointers)
    values = np.repeat(1 / np.sqrt(lengths / 4), lengths).astype(np.float32)
    features = scipy.sparse.csr_matrix((values, indices, pointers), (len(rows), sum(WIDE_ROWS)))
    features.sum_duplicates()
    return features


def fit_wide(rows: list[list[int]], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the linear model without each fold: the weights of the n-grams, (FOLDS, rows of the
    table), and the biases, (FOLDS,). Fold f has the reviews f, f + FOLDS, ...

    Rare n-grams are scaled up before the fit, as in TF-IDF, so that they are shrunk less; those
    that only one review has are left out.
    """
    features = wide_features(rows)
    frequency = np.bincount(features.indices, minlength=features.shape[1])
    scale = (np.log((1 + len(rows)) / (1 + frequency)) + 1).astype(np.float32) / 8
    scale[frequency < 2] = 0
    features = (features @ scipy.sparse.diags(scale)).tocsr()
    features.eliminate_zeros()
    folds = np.arange(len(rows)) % FOLDS
    weights, biases = [], []
    for fold in range(FOLDS):
        chosen = folds != fold
        model = LogisticRegression(C=WIDE_C, solver="liblinear", tol=1e-2, random_state=SEED)
        model.fit(features[chosen], labels[chosen])
        weights.append((model.coef_[0] * scale).astype(np.float32))
        biases.append(float(model.intercept_[0]))
    return np.stack(weights), np.array(biases, dtype=np.float32)


def total(parts: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """parts: (batch, sequence, 4), kept: (batch, 1, sequence)
    -> (batch,), over the root of the length"""
    return parts.sum((1, 2)) / kept.sum((1, 2)).sqrt()


class Deep(nn.Module):
    """Embeddings, a convolution, an LSTM, pooling. Padding changes nothing: it is zero before the
    convolution, shuts the LSTM's gates (so that the state stays zero until the backward direction
    comes to the review's end), and takes no part in pooling."""

    def __init__(self, tokens: int, dropout: float = 0.0, last_dropout: float = 0.0):
        super().__init__()
        self.characters = nn.Embedding(tokens, EMBEDDING)
        self.pairs = nn.Embedding(PAIR_ROWS, EMBEDDING)
        nn.init.normal_(self.characters.weight, std=0.1)
        nn.init.normal_(self.pairs.weight, std=0.05)
        self.convolution = nn.Conv1d(EMBEDDING + len(WIDE_ROWS), CHANNELS, 5, stride=2, padding=2)
        self.lstm = nn.LSTM(CHANNELS + 1, HIDDEN, bidirectional=True, batch_first=True)
        with torch.no_grad():
            for suffix in ("", "_reverse"):
                # The last input says "padding"; the first gate is the input's, the second forgets.
                weight = getattr(self.lstm, "weight_ih_l0" + suffix)
                weight[:, -1] = 0
                weight[:HIDDEN, -1] = SHUT
                getattr(self.lstm, "bias_ih_l0" + suffix)[HIDDEN : 2 * HIDDEN] = 1
        self.attention = nn.Linear(2 * HIDDEN, 1)
        self.output = nn.Linear(4 * HIDDEN + CHANNELS, 1)
        # Whole channels, as this is faster than single numbers.
        self.dropout = nn.Dropout1d(dropout)
        self.last_dropout = nn.Dropout(last_dropout)

    def narrow(self) -> None:
        """Keep the embeddings of pairs by their largest NARROW singular values."""
        left, values, right = torch.linalg.svd(self.pairs.weight.detach(), full_matrices=False)
        table = nn.Embedding.from_pretrained(left[:, :NARROW] * values[:NARROW])
        widen = nn.Linear(NARROW, EMBEDDING, bias=False)
        widen.weight = nn.Parameter(right[:NARROW].T.contiguous())
        self.pairs = nn.Sequential(table, widen)

    def forward(self, ids: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
        """ids: (batch, sequence), parts: (batch, sequence, 4), the weights of the n-grams
        -> (batch,), what to add to the wide part's score"""
        kept = (ids != PAD).float().unsqueeze(1)
        pairs = (delayed(ids) * BASE + ids) % PAIR_ROWS
        embedded = self.characters(ids) + self.pairs(pairs)
        embedded = torch.cat((embedded, parts), dim=2).transpose(1, 2) * kept
        # The convolution answers every other place.
        kept = kept[:, :, ::2]
        local = functional.relu(self.convolution(self.dropout(embedded))) * kept
        inputs = torch.cat((self.dropout(local), 1 - kept), dim=1)
        states, _ = self.lstm(inputs.transpose(1, 2))
        kept = kept.transpose(1, 2)
        barred = (1 - kept) * LOWEST
        weights = torch.softmax(self.attention(states) + barred, dim=1)
        pooled = ((states + barred).amax(1), (states * weights).sum(1), local.amax(2))
        return self.output(self.last_dropout(torch.cat(pooled, dim=1))).squeeze(1)


class Reviews(nn.Module):
    """The wide part and the mean of the deep ones, as exported."""

    def __init__(self, weights: np.ndarray, biases: np.ndarray, members: Sequence[Deep]):
        """weights: (FOLDS, rows of the table), biases: (FOLDS,)"""
        super().__init__()
        table = torch.from_numpy(weights.mean(0)).unsqueeze(1)
        self.wide = nn.Embedding.from_pretrained(table)
        self.bias, self.members = float(biases.mean()), nn.ModuleList(members)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """input_ids: (batch, sequence) -> (batch, 2), logits of negative and positive"""
        kept = (input_ids != PAD).float().unsqueeze(1)
        parts = self.wide(ngram_rows(input_ids)).squeeze(3) * kept.transpose(1, 2)
        added = sum(deep(input_ids, parts) for deep in self.members) / len(self.members)
        score = (total(parts, kept) + self.bias + added) / 2
        return torch.stack((-score, score), dim=1)


def batches(lengths: np.ndarray, size: int, draw: np.random.Generator) -> list[np.ndarray]:
    """All places in random batches of about equal lengths, so that there is little padding."""
    order = draw.permutation(len(lengths))
    found = []
    for start in range(0, len(order), size * 50):
        part = order[start : start + size * 50]
        part = part[np.argsort(lengths[part], kind="stable")]
        found += [part[first : first + size] for first in range(0, len(part), size)]
    return [found[place] for place in draw.permutation(len(found))]


@torch.no_grad()
def log_odds(
    net: Callable[[torch.Tensor], torch.Tensor], rows: list[list[int]]
) -> np.ndarray:
    """The log-odds of positive for all reviews, by length to save time."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    parts = [order[start : start + 256] for start in range(0, len(order), 256)]
    logits = np.concatenate([net(padded([rows[i] for i in part])).numpy() for part in parts])
    return (logits[:, 1] - logits[:, 0])[np.argsort(order)]


def quality(log_odds: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and the mean negative log-likelihood in nats."""
    log_odds = log_odds.astype(np.float64)
    signs = np.where(labels == 1, 1.0, -1.0)
    return {
        "accuracy": float(np.mean((log_odds > 0) == (labels == 1))),
        "log_loss": float(np.mean(np.logaddexp(0, -signs * log_odds))),
    }


def wide_quality(
    weights: np.ndarray, biases: np.ndarray, rows: list[list[int]], labels: np.ndarray
) -> dict[str, float]:
    """Of the wide part alone."""
    return quality(wide_features(rows) @ weights.mean(0) + biases.mean(), labels)


def train_deep(
    rows: list[list[int]], labels: np.ndarray, weights: np.ndarray, biases: np.ndarray,
    tokens: int, member: Member, evaluate: Callable[[Deep], dict],
) -> tuple[Deep, list[dict]]:
    """A deep part that adds what the wide part lacks on reviews it hasn't seen, and its learning
    curve: what `evaluate` says after each epoch."""
    torch.manual_seed(member.seed)
    deep = Deep(tokens, member.dropout, member.last_dropout)
    draw = np.random.default_rng(member.seed)
    lengths = np.array([len(row) for row in rows])
    targets = torch.from_numpy(labels).float()
    tables, offsets = torch.from_numpy(weights.ravel()), torch.from_numpy(biases)
    optimizer = torch.optim.AdamW(
        deep.parameters(), betas=(0.9, 0.98), weight_decay=member.weight_decay, fused=True
    )
    steps, step, curve = EPOCHS * -(-len(rows) // BATCH), 0, []
    total_loss, started = 0.0, time.monotonic()
    for epoch in range(1, EPOCHS + 1):
        deep.train()
        for part in batches(lengths, BATCH, draw):
            step += 1
            # Up to the full rate, then down to nothing.
            rate = LEARNING_RATE * min(step / WARM_UP, 1 - (step - 1) / steps)
            optimizer.param_groups[0]["lr"] = rate
            ids, folds = padded([rows[i] for i in part]), torch.from_numpy(part % FOLDS)
            kept = (ids != PAD).float().unsqueeze(1)
            parts = tables[ngram_rows(ids) + folds.view(-1, 1, 1) * sum(WIDE_ROWS)]
            parts = parts * kept.transpose(1, 2)
            unknown = (torch.rand(ids.shape) < member.character_dropout) & (ids > END)
            score = deep(torch.where(unknown, UNKNOWN, ids), parts)
            score = score + total(parts, kept) + offsets[folds]
            loss = functional.binary_cross_entropy_with_logits(score, targets[part])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(deep.parameters(), 1.0)
            optimizer.step()
            total_loss += float(loss.detach())
            if step % 100 == 0:
                seconds = time.monotonic() - started
                print(f"step {step}/{steps}: {total_loss / 100:.4f}, {seconds:.0f} s", flush=True)
                total_loss = 0.0
        deep.eval()
        curve.append({"epoch": epoch, **evaluate(deep), "seconds": time.monotonic() - started})
        print(member, curve[-1], flush=True)
    return deep, curve


def export(net: Reviews, path: pathlib.Path) -> None:
    """Write the net as ONNX with any batch and sequence length."""
    net.eval()
    torch.onnx.export(
        net,
        (torch.tensor([[START, 7, 8, END], [START, END, PAD, PAD]]),),
        str(path),
        input_names=["input_ids"],
        output_names=["logits"],
        dynamic_axes={
            "input_ids": {0: "batch", 1: "sequence"},
            "logits": {0: "batch"},
        },
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(str(path), full_check=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """In f32, along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def reference_texts(texts: list[str]) -> list[str]:
    """Odd texts, then reviews drawn with a fixed seed."""
    review = "정말 재미있게 봤어요. 배우들 연기도 최고!"
    odd = [
        "", " ", "   ", "\t\n", "\u00a0", "\u200b", "\u0000", "a\u0000b\u0007c\u001bd", "\ufeff굿",
        review, f"  {review}  ", review.replace(" ", ""), review.replace(" ", "   "),
        review.replace(" ", "\n"), review.replace(" ", "\r\n\t"), review.replace(" ", "\u00a0"),
        review.replace(" ", "　"), unicodedata.normalize("NFD", review), "ㅋ", "ㅋㅋㅋㅋㅋㅋㅋㅋ", "ㅠㅠ",
        "ᄀ", "ᅡ", "각\u0301", "e\u0301 é É", "Ａｗｅｓｏｍｅ！", "ﬁn", "İstanbul ẞ Σας", "GREAT movie!!",
        "great movie!!", "The worst film I have ever seen.", "😀", "👍👍👍 최고", "❤️", "👨‍👩‍👧‍👦", "🇰🇷",
        "퀡뷁", "漢字", "ひらがな", "▁", "▁▁ 굿 ▁", "[CLS]", "[PAD] 굿 [SEP]", "[UNK]", "<s>", "12345",
        "10점", "1점도 아깝다", ".", "...", "?!", "\\", "\"'", "굿" * 2000, (review * 100)[:2000],
        "ㅋ" * 190, "a " * 1000, "\u0301" * 300, "재미\u00ad없다", "재미\u202e없다",
    ]
    return odd + random.Random(SEED).sample(texts, REFERENCES - len(odd))


def reference(
    net: Reviews, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, texts: list[str]
) -> tuple[list[dict], dict[str, float]]:
    """What PyTorch and ONNX Runtime answer, each text alone; and the largest differences between
    the two, and between a text alone and one in a batch padded to the longest of 400."""
    rows = encode(tokenizer, texts)
    found = []
    for text, row in zip(texts, rows):
        alone = np.array([row], dtype=np.int64)
        with torch.no_grad():
            by_torch = torch.softmax(net(torch.from_numpy(alone)), dim=1)[0].numpy()
        by_onnx = softmax(session.run(["logits"], {"input_ids": alone})[0])[0]
        found.append(
            {"text": text, "ids": row, "onnxruntime": by_onnx.tolist(), "torch": by_torch.tolist()}
        )
    alone = np.array([entry["onnxruntime"] for entry in found])
    together = softmax(session.run(["logits"], {"input_ids": padded(rows).numpy()})[0])
    by_torch = np.array([entry["torch"] for entry in found])
    with torch.no_grad():
        batched = torch.softmax(net(padded(rows)), dim=1).numpy()
    return found, {
        "onnxruntime from torch": float(np.abs(alone - by_torch).max()),
        "padded from alone, onnxruntime": float(np.abs(alone - together).max()),
        "padded from alone, torch": float(np.abs(by_torch - batched).max()),
    }


def milliseconds(session: onnxruntime.InferenceSession, tokens: int) -> float:
    """The median time of one review."""
    ids = np.full((1, tokens), END + 1, dtype=np.int64)
    times = []
    for _ in range(200):
        started = time.perf_counter()
        session.run(["logits"], {"input_ids": ids})
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, help="the reviews' folder")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to write to")
    places = range(len(MEMBERS))
    parser.add_argument("--only", type=int, choices=places, help="train this deep part")
    arguments = parser.parse_args()
    out = arguments.out
    parts = out / "parts"
    parts.mkdir(parents=True, exist_ok=True)

    # One thread, so that the same sums are taken in the same order wherever this runs.
    torch.set_num_threads(1)
    started = time.monotonic()

    texts, labels = load(arguments.data / "train.tsv.xz")
    order = np.random.default_rng(SEED).permutation(len(texts))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    tokenizer = make_tokenizer([texts[i] for i in train])
    tokenizer.save(str(out / "tokenizer.json"))
    rows = encode(tokenizer, [texts[i] for i in train])
    held_out_rows = encode(tokenizer, [texts[i] for i in held_out])

    saved = parts / "wide.npz"
    if not saved.exists():
        weights, biases = fit_wide(rows, labels[train])
        np.savez(saved, weights=weights, biases=biases)
    weights, biases = np.load(saved)["weights"], np.load(saved)["biases"]
    wide = wide_quality(weights, biases, held_out_rows, labels[held_out])
    print(f"wide: {wide}, {time.monotonic() - started:.0f} s", flush=True)

    def evaluate(*members: Deep) -> dict[str, float]:
        net = Reviews(weights, biases, members)
        return quality(log_odds(net, held_out_rows), labels[held_out])

    members, curves = [], []
    for place in places if arguments.only is None else [arguments.only]:
        saved, notes = parts / f"deep-{place}.safetensors", parts / f"deep-{place}.json"
        if not notes.exists():
            deep, curve = train_deep(
                rows, labels[train], weights, biases, tokenizer.get_vocab_size(),
                MEMBERS[place], evaluate,
            )
            save_file(deep.state_dict(), saved)
            notes.write_text(json.dumps(curve))
        deep = Deep(tokenizer.get_vocab_size())
        deep.load_state_dict(load_file(saved))
        deep.narrow()
        members.append(deep.eval())
        curves.append(json.loads(notes.read_text()))
    if arguments.only is not None:
        return
    net = Reviews(weights, biases, members)

    path = out / "deep.onnx"
    export(net, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def exported(ids: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(["logits"], {"input_ids": ids.numpy()})[0])

    test_texts, test_labels = load(arguments.data / "test.tsv.xz")
    test_rows = encode(tokenizer, test_texts)
    references, differences = reference(net, session, tokenizer, reference_texts(test_texts))
    text = json.dumps(references, ensure_ascii=False, indent=1)
    (out / "reference.json").write_text(text + "\n", encoding="utf-8")
    files = {name: (out / name).read_bytes() for name in ("deep.onnx", "tokenizer.json")}
    metrics = {
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
        "reviews": {"train": len(rows), "held out": len(held_out), "test": len(test_rows)},
        "test": quality(log_odds(exported, test_rows), test_labels),
        "test, wide alone": wide_quality(weights, biases, test_rows, test_labels),
        "held out": evaluate(*members),
        "held out, each deep part": [evaluate(deep) for deep in members],
        "held out, wide alone": wide,
        "parameters": {
            "wide": int(weights.shape[1]) + 1,
            "deep": sum(tensor.numel() for tensor in net.members.parameters()),
        },
        "epochs": EPOCHS,
        "learning curves, held out, before narrowing": curves,
        "largest differences of probabilities": differences,
        "milliseconds for 30 tokens": milliseconds(session, 30),
    }
    text = json.dumps(metrics, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
