"""Plays the same random S3 and SQS calls to Millpond's local cloud and to moto, and compares every answer.

Differences that the allow-list (`allowed_*.py`) explains are passed over; any other ends the run with the shortest sequence
of calls that was found to show it.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import secrets
import sys
import time
from collections.abc import Iterator

from botocore.exceptions import ClientError

import servers
from allowed import ALLOWED
from compare import Allowed, Difference, differences
from play import Answer, Mender, Player, Server
from s3_calls import S3Calls
from sqs_calls import SqsCalls
from symbols import Sequence, Step

# How long to look for a shorter sequence.
SHRINKING_S = 60.0


class Unexplained(Exception):
    def __init__(self, step: Step, found: list[Difference], ours: Answer, peer: Answer) -> None:
        super().__init__(str(step))
        self.step = step
        self.found = found
        self.ours = ours
        self.peer = peer

    def kind(self) -> tuple[int, str, str, str]:
        first = self.found[0]
        return (self.step.number, first.where, str(first.ours), str(first.peer))


def generate(seed: int, steps: int, services: str) -> list[Step]:
    dice = random.Random(seed)
    sequence = Sequence()
    s3, sqs = S3Calls(dice, sequence), SqsCalls(dice, sequence)
    sources = [source for name, source in (("s3", s3), ("sqs", sqs)) if name in services.split("+")]
    for source in sources:
        source.begin()
    if len(sources) == 2 and dice.random() < 0.7:
        s3.watch()
    while len(sequence.steps) < steps:
        dice.choice(sources).add_one()
    return sequence.steps


class Pair:
    """Our server and its peer, with the clients that talk to them."""

    def __init__(self, ours: Server, peer: Server) -> None:
        self.servers = (ours, peer)
        self.clients = [{name: server.client(name) for name in ("s3", "sqs")} for server in self.servers]
        self.used: collections.Counter[Allowed] = collections.Counter()

    def compare(self, steps: list[Step]) -> None:
        """Plays the steps to both under names of their own.

        Raises `Unexplained` at the first difference that nothing allows.
        """
        # As long for each replay, so that lengths can be compared.
        prefix = f"diff-{secrets.token_hex(4)}"
        players = [Player(server, clients, prefix) for server, clients in zip(self.servers, self.clients)]
        try:
            for step in steps:
                self._compare_one(step, players)
        except Unexplained:
            for player in players:
                # What is wrong may be what cleans.
                with contextlib.suppress(ClientError):
                    player.clean()
            raise
        for player in players:
            player.clean()

    def _compare_one(self, step: Step, players: list[Player]) -> None:
        ours, peer = (player.play(step) for player in players)
        unexplained, mends = [], set()
        for difference in differences(ours, peer):
            explaining = (entry for entry in ALLOWED if entry.explains(step.call, step.args, difference, ours, peer))
            entry = next(explaining, None)
            if entry is None:
                unexplained.append(difference)
            else:
                self.used[entry] += 1
                mends.add(entry.mend)
        if unexplained:
            raise Unexplained(step, unexplained, ours, peer)
        for mend in sorted(mend for mend in mends if mend):
            for player in players:
                getattr(Mender(player), mend)(step)

    def shrink(self, steps: list[Step], failure: Unexplained) -> tuple[list[Step], Unexplained]:
        """Leaves out steps as long as the last one still shows the same difference."""
        steps = [step for step in steps if step.number <= failure.step.number]
        deadline = time.monotonic() + SHRINKING_S
        size = len(steps) // 2
        while size >= 1:
            start = 0
            while start < len(steps) - 1 and time.monotonic() < deadline:
                shorter = steps[:start] + steps[min(start + size, len(steps) - 1) :]
                try:
                    self.compare(shorter)
                    start += size
                except Unexplained as found:
                    if found.kind() == failure.kind():
                        steps, failure = shorter, found
                    else:
                        start += size
            size //= 2
        return steps, failure


@contextlib.contextmanager
def our_server(arguments: argparse.Namespace) -> Iterator[Server]:
    if arguments.s3_endpoint and arguments.sqs_endpoint:
        yield Server(arguments.s3_endpoint, arguments.sqs_endpoint, arguments.access_key, arguments.secret_key)
    else:
        with servers.local_cloud() as server:
            yield server


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other (1)")
    parser.add_argument("--steps", type=int, default=150, help="calls for each seed (150)")
    parser.add_argument("--services", choices=["s3", "sqs", "s3+sqs"], default="s3+sqs")
    parser.add_argument("--s3-endpoint", help="our S3; without both endpoints a local cloud is built and started")
    parser.add_argument("--sqs-endpoint", help="our SQS")
    parser.add_argument("--access-key", default="local")
    parser.add_argument("--secret-key", default="local-secret")
    parser.add_argument("--unused", action="store_true", help="name the allow-list's entries that were not needed")
    parser.epilog = "tests/differential.rs runs this with MILLPOND_DIFFERENTIAL_SEEDS seeds, if that is set."
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    with our_server(arguments) as ours, servers.moto() as peer:
        pair = Pair(ours, peer)
        played = 0
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            steps = generate(seed, arguments.steps, arguments.services)
            try:
                pair.compare(steps)
            except Unexplained as failure:
                print(f"seed {seed}, {failure.step}")
                print(*(f"  {difference}" for difference in failure.found), sep="\n")
                shortest, failure = pair.shrink(steps, failure)
                print(f"\nThe shortest sequence that was found, {len(shortest)} of {failure.step.number} steps:")
                print(*shortest, sep="\n")
                print(f"\nours: {failure.ours}\nmoto: {failure.peer}")
                return 1
            played += len(steps)
        passed_over = sum(pair.used.values())
    print(f"{arguments.seeds} seeds, {played} calls: no unexplained difference, {passed_over} allowed")
    if arguments.unused:
        print(*(f"not needed: {entry}" for entry in ALLOWED if entry not in pair.used), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
