"""The names system as a Lambda handler: PyTorch's linear layers, as the tutorial's network has them, and its loop of letters."""

import json
import sys
import tomllib

import safetensors.torch
import torch

import runtime

folder = f"{sys.argv[1]}/names/1"
with open(f"{folder}/model.toml", "rb") as file:
    given = tomllib.load(file)["input"]
categories, alphabet = given["categories"], given["alphabet"]
end = len(alphabet)


class Net(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        for name in ("i2h", "i2o", "o2o"):
            outputs, inputs = weights[f"{name}.weight"].shape
            setattr(self, name, torch.nn.Linear(inputs, outputs))
        self.load_state_dict(weights)

    def forward(self, category, letter, hidden):
        inputs = torch.cat((category, letter, hidden), 1)
        hidden = self.i2h(inputs)
        return self.o2o(torch.cat((hidden, self.i2o(inputs)), 1)), hidden


model = Net(safetensors.torch.load_file(f"{folder}/model.safetensors")).eval()


def one_hot(place, count):
    row = torch.zeros(1, count)
    row[0, place] = 1
    return row


@torch.no_grad()
def name(category, start):
    name, hidden = start, torch.zeros(1, model.i2h.out_features)
    while len(name) < 20:
        scores, hidden = model(category, one_hot(alphabet.index(name[-1]), end + 1), hidden)
        place = scores.argmax().item()
        if place == end:
            break
        name += alphabet[place]
    return name


def handler(event):
    with open(event["path"]) as file:
        asked = json.load(file)
    category = one_hot(categories.index(asked["category"]), len(categories))
    return [name(category, letter) for letter in asked["start_letters"]]


runtime.run(handler)
