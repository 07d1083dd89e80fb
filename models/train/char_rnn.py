"""The network of train_names.py and reference_names.py: crates/infer/src/char_rnn.rs says what it computes."""

import torch
from torch import nn


class CharRnn(nn.Module):
    """Of a category, a letter and a hidden state, the log-probabilities of the next letter (the end is last) and the next state."""

    def __init__(self, categories: int, alphabet: str, hidden: int, dropout: float = 0.1):
        super().__init__()
        self.categories, self.alphabet, self.hidden = categories, alphabet, hidden
        self.end = len(alphabet)
        letters = self.end + 1
        inputs = categories + letters + hidden
        self.i2h = nn.Linear(inputs, hidden)
        self.i2o = nn.Linear(inputs, letters)
        self.o2o = nn.Linear(hidden + letters, letters)
        self.dropout = nn.Dropout(dropout)

    def one_hot(self, places: torch.Tensor, count: int) -> torch.Tensor:
        return nn.functional.one_hot(places, count).to(self.i2h.weight.dtype)

    def forward(self, category: torch.Tensor, letter: torch.Tensor, hidden: torch.Tensor):
        """category: (batch,), letter: (batch,), hidden: (batch, hidden) -> (batch, letters), (batch, hidden)"""
        inputs = torch.cat(
            (self.one_hot(category, self.categories), self.one_hot(letter, self.end + 1), hidden), dim=1
        )
        hidden = self.i2h(inputs)
        output = self.o2o(torch.cat((hidden, self.i2o(inputs)), dim=1))
        return torch.log_softmax(self.dropout(output), dim=1), hidden

    @torch.no_grad()
    def name(self, category: int, start: str, max_length: int = 20) -> tuple[str, float]:
        """The likeliest letters after `start`, `max_length` letters in all, and the least lead that one of them had."""
        assert not self.training, "dropout would make every answer another"
        name, lead = start, float("inf")
        hidden = torch.zeros(1, self.hidden)
        while len(name) < max_length:
            letter = torch.tensor([self.alphabet.index(name[-1])])
            scores, hidden = self(torch.tensor([category]), letter, hidden)
            first, second = scores[0].topk(2).values.tolist()
            lead = min(lead, first - second)
            place = scores[0].argmax().item()
            if place == self.end:
                break
            name += self.alphabet[place]
        return name, lead
