"""Finds the differences of two answers, and whether the allow-list explains them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from play import Answer

ABSENT = "<absent>"


@dataclass(frozen=True)
class Difference:
    # "outcome", or where in the result: "Contents[].Size".
    where: str
    ours: Any
    peer: Any

    def __str__(self) -> str:
        return f"{self.where}: ours {self.ours!r}, moto {self.peer!r}"


@dataclass(frozen=True)
class Allowed:
    """A difference that is none of our faults."""

    calls: str
    where: str
    # Patterns of what both say.
    ours: str
    peer: str
    # Why ours is right, and what says so.
    why: str
    source: str
    # Which of these calls; all, if it is not given.
    when: Callable[[dict[str, Any]], bool] | None = None
    # Which part of the state is to be made equal again (a method of `Mender`).
    mend: str | None = None

    def explains(self, call: str, args: dict[str, Any], difference: Difference) -> bool:
        return (
            call in self.calls.split()
            and fnmatchcase(difference.where, self.where.replace("[]", "[[]]"))
            and fnmatchcase(str(difference.ours), self.ours)
            and fnmatchcase(str(difference.peer), self.peer)
            and (self.when is None or self.when(args))
        )


def differences(ours: Answer, peer: Answer) -> list[Difference]:
    if ours.outcome != peer.outcome:
        return [Difference("outcome", ours.outcome, peer.outcome)]
    return list(_compare("", ours.result, peer.result))


def _compare(where: str, ours: Any, peer: Any) -> Any:
    if isinstance(ours, dict) and isinstance(peer, dict):
        for name in sorted(ours.keys() | peer.keys()):
            inner = f"{where}.{name}" if where else name
            yield from _compare(inner, ours.get(name, ABSENT), peer.get(name, ABSENT))
    elif isinstance(ours, list) and isinstance(peer, list) and len(ours) == len(peer):
        for one, other in zip(ours, peer):
            yield from _compare(f"{where}[]", one, other)
    elif ours != peer or type(ours) is not type(peer):
        yield Difference(where, ours, peer)
