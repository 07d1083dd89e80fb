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
    """A difference that is none of our faults. The tighter an entry, the less of a fault of ours it can hide."""

    calls: str
    # Patterns of where in the answer, and of what both say; " | " stands between alternatives.
    where: str
    ours: str
    peer: str
    # Why ours is right, and what says so.
    why: str
    source: str
    # Which of these calls; all, if it is not given.
    when: Callable[[dict[str, Any]], bool] | None = None
    # How the two values go together; any do, if it is not given.
    same: Callable[[Any, Any], bool] | None = None
    # How the two whole results go together: of the call's arguments, ours and moto's.
    given: Callable[[dict[str, Any], Any, Any], bool] | None = None
    # Which part of the state is to be made equal again (a method of `Mender`).
    mend: str | None = None

    def explains(self, call: str, args: dict[str, Any], difference: Difference, ours: Answer, peer: Answer) -> bool:
        return (
            call in self.calls.split()
            and _matches(difference.where, self.where.replace("[]", "[[]]"))
            and _matches(difference.ours, self.ours)
            and _matches(difference.peer, self.peer)
            and (self.when is None or self.when(args))
            and (self.same is None or self.same(difference.ours, difference.peer))
            and (self.given is None or self.given(args, ours.result, peer.result))
        )


def _matches(value: Any, patterns: str) -> bool:
    return any(fnmatchcase(str(value), pattern) for pattern in patterns.split(" | "))


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
