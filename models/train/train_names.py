"""Train the names model: a character RNN on surnames of 18 languages.

Names are turned to ASCII letters, and repeated ones left out. A tenth of each language's names, drawn with a fixed seed, is held
out: trained on nothing, and used to choose the best epoch and to say how well the model does. Languages are drawn evenly, as clients may ask
for any, so those with few names are seen more often.

    python train_names.py --data names --out ../names/1
"""

import argparse
import hashlib
import json
import pathlib
import random
import time
import unicodedata

import torch
from char_rnn import CharRnn
from safetensors.torch import save_file

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;'-"
HIDDEN = 128
DROPOUT = 0.1
HELD_OUT = 0.1
SEED = 2
BATCH = 64
EPOCH_BATCHES = 300
EPOCHS = 15
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-4
GOLDEN = [("Russian", "RUS"), ("German", "GER"), ("Spanish", "SPA"), ("Chinese", "CHI")]


def ascii_letters(name: str) -> str:
    """Letters without their accents; what the alphabet lacks is left out."""
    plain = unicodedata.normalize("NFD", name)
    return "".join(letter for letter in plain if letter in ALPHABET).strip()


def load(folder: pathlib.Path) -> dict[str, list[str]]:
    """The names of each language, each once, in the file's order."""
    languages = {}
    for path in sorted(folder.glob("*.txt")):
        names = map(ascii_letters, path.read_text(encoding="utf-8").splitlines())
        languages[path.stem] = list(dict.fromkeys(name for name in names if name))
    return languages


def batch(names: list[str], end: int) -> torch.Tensor:
    """(names, longest + 1) places in the alphabet: letters, the end, and -1 where a shorter name has nothing."""
    longest = max(map(len, names))
    rows = [[ALPHABET.index(letter) for letter in name] + [end] + [-1] * (longest - len(name)) for name in names]
    return torch.tensor(rows)


def losses(net: CharRnn, categories: torch.Tensor, letters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each name, the sum of its letters' negative log-likelihoods (the first letter is given), and how many they are."""
    hidden = torch.zeros(len(letters), net.hidden)
    total = torch.zeros(len(letters))
    for step in range(letters.shape[1] - 1):
        scores, hidden = net(categories, letters[:, step].clamp(min=0), hidden)
        target = letters[:, step + 1]
        loss = torch.nn.functional.nll_loss(scores, target.clamp(min=0), reduction="none")
        total = total + torch.where(target >= 0, loss, 0.0)
    return total, (letters[:, 1:] >= 0).sum(1)


@torch.no_grad()
def held_out_loss(net: CharRnn, held_out: dict[str, list[str]]) -> dict[str, float]:
    """For each language, the mean negative log-likelihood of a letter."""
    net.eval()
    means = {}
    for category, (language, names) in enumerate(held_out.items()):
        total, count = losses(net, torch.full((len(names),), category), batch(names, net.end))
        means[language] = (total.sum() / count.sum()).item()
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="a folder with a file of names for each language")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the bundle's folder, which gets model.safetensors")
    arguments = parser.parse_args()

    # One thread, so that the same sums are taken in the same order wherever this runs.
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    draw = random.Random(SEED)
    started = time.monotonic()

    train, held_out = {}, {}
    for language, names in load(arguments.data).items():
        shuffled = draw.sample(names, len(names))
        cut = max(1, round(len(names) * HELD_OUT))
        held_out[language], train[language] = shuffled[:cut], shuffled[cut:]
    languages = list(train)

    net = CharRnn(len(languages), ALPHABET, HIDDEN, DROPOUT)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    # Down to nothing along a cosine.
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * EPOCH_BATCHES)
    best, best_epoch, weights = float("inf"), 0, {}
    for epoch in range(1, EPOCHS + 1):
        net.train()
        for _ in range(EPOCH_BATCHES):
            categories = [draw.randrange(len(languages)) for _ in range(BATCH)]
            names = [draw.choice(train[languages[category]]) for category in categories]
            total, count = losses(net, torch.tensor(categories), batch(names, net.end))
            optimizer.zero_grad()
            (total.sum() / count.sum()).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        means = held_out_loss(net, held_out)
        mean = sum(means.values()) / len(means)
        if mean < best:
            best, best_epoch = mean, epoch
            weights = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
        print(f"epoch {epoch}: {mean:.4f} (best {best:.4f}), {time.monotonic() - started:.0f} s", flush=True)
    net.load_state_dict(weights)
    means = held_out_loss(net, held_out)

    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "model.safetensors"
    save_file(weights, path)

    goldens, leads = [], []
    for category in range(len(languages)):
        for start in ALPHABET[26:52]:
            leads.append(net.name(category, start)[1])
    for language, letters in GOLDEN:
        answer = [net.name(languages.index(language), letter)[0] for letter in letters]
        goldens.append({"input": {"category": language, "start_letters": letters}, "output": answer})
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
                "alphabet": ALPHABET,
                "categories": languages,
                "names": {"train": sum(map(len, train.values())), "held out": sum(map(len, held_out.values()))},
                "epochs": best_epoch,
                "held-out loss, nats a letter, mean of languages": best,
                "held-out loss by language": means,
                "loss of an even guess": float(torch.log(torch.tensor(net.end + 1.0))),
                "least lead of a likeliest letter": min(leads),
                "golden": goldens,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
