"""PyTorch's own answers for the character RNN, which crates/infer is checked against.

    python reference_names.py ../../crates/infer/tests/reference/names [FOLDER]

writes a small network with random weights as `torch.save` wrote it before PyTorch 1.6 (`small.pth`), and what PyTorch answers
(`small.json`), and its answers for every language and capital of the bundle that ships (`shipped.json`). With FOLDER, which has the trained weights of 2018 (`model.pth`) and their alphabet and languages (`params.pkl`), it also
writes `trained.json`: the same of those. The weights themselves stay where they are.
"""

import json
import pathlib
import pickle
import sys
import tomllib

import torch
from char_rnn import CharRnn
from safetensors.torch import load_file

CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Known(pickle.Unpickler):
    """Reads a pickle of dicts, lists, texts and numbers; whatever else it names is refused."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"{module}.{name}")


def record(net: CharRnn, categories: list[str], starts: str) -> dict:
    """Every category's names; the log-probabilities while the first of them are written; the least lead of a likeliest letter."""
    net.eval()
    answers = {name: [net.name(at, start) for start in starts] for at, name in enumerate(categories)}
    steps = []
    for at in range(min(3, len(categories))):
        hidden = torch.zeros(1, net.hidden)
        for letter in answers[categories[at]][0][0]:
            place = net.alphabet.index(letter)
            scores, hidden = net(torch.tensor([at]), torch.tensor([place]), hidden)
            steps.append({"category": at, "letter": place, "scores": [round(x, 6) for x in scores[0].tolist()]})
    return {
        "torch": torch.__version__,
        "alphabet": net.alphabet,
        "categories": categories,
        "starts": starts,
        "least_lead": min(lead for names in answers.values() for _, lead in names),
        "names": {category: "|".join(name for name, _ in names) for category, names in answers.items()},
        "steps": steps,
    }


def write(path: pathlib.Path, record: dict) -> None:
    # A line for each field, name list and step.
    text = json.dumps(record, ensure_ascii=False, indent=1)
    head, steps = text.split('"steps": [')
    lines = ",\n".join("  " + json.dumps(step) for step in record["steps"])
    path.write_text(f'{head}"steps": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    print(path.name, record["least_lead"], list(record["names"].items())[:2])


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(5)
    net = CharRnn(3, "aeiknorstAKS'é", 12)
    # As they are, they would say the same letter for ever; and the hidden state, which no function bounds, must not grow without end.
    for layer, factor in ((net.i2h, 1.5), (net.i2o, 3), (net.o2o, 4)):
        layer.weight *= factor
    net.o2o.bias[net.end] -= 2
    torch.save(net.state_dict(), out / "small.pth", _use_new_zipfile_serialization=False)
    write(out / "small.json", record(net, ["Elvish", "Dwarvish", "Orcish"], "AKSn'"))

    bundle = pathlib.Path(__file__).parent / "../names/1"
    with open(bundle / "model.toml", "rb") as file:
        known = tomllib.load(file)["input"]
    state = load_file(bundle / "model.safetensors")
    net = CharRnn(len(known["categories"]), known["alphabet"], len(state["i2h.bias"]))
    net.load_state_dict(state)
    write(out / "shipped.json", record(net, known["categories"], CAPITALS))

    if len(sys.argv) > 2:
        folder = pathlib.Path(sys.argv[2])
        with open(folder / "params.pkl", "rb") as file:
            known = Known(file).load()
        state = torch.load(folder / "model.pth", weights_only=True)
        net = CharRnn(known["n_categories"], known["all_letters"], len(state["i2h.bias"]))
        net.load_state_dict(state)
        write(out / "trained.json", record(net, known["all_categories"], CAPITALS))


if __name__ == "__main__":
    main()
