"""What a generated call names: things whose real names differ from run to run and from one server to the other.

A sequence of calls is made before any of them is answered, and the same sequence is played to both servers. So it
holds symbols, which each player turns into the names that its own server knows. Symbols refer to earlier steps by
their number, which they keep when a sequence is shortened.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Bucket:
    letter: str


@dataclass(frozen=True)
class Body:
    """`size` times the same letter."""

    letter: str
    size: int

    def __bytes__(self) -> bytes:
        return self.letter.encode() * self.size

    @property
    def md5(self) -> bytes:
        return _md5(self)

    @property
    def etag(self) -> str:
        return f'"{self.md5.hex()}"'

    @property
    def content_md5(self) -> str:
        return base64.b64encode(self.md5).decode()

    @property
    def sha256(self) -> str:
        return base64.b64encode(hashlib.sha256(bytes(self)).digest()).decode()


@lru_cache(maxsize=64)
def _md5(body: Body) -> bytes:
    return hashlib.md5(bytes(body)).digest()


@dataclass(frozen=True)
class CopySource:
    bucket: Bucket
    key: str


@dataclass(frozen=True)
class Upload:
    """The id that CreateMultipartUpload gave at a step."""

    step: int
    # Whether a step before this one may have completed or aborted it.
    may_have_ended: bool = False


@dataclass(frozen=True)
class QueueName:
    letter: str


@dataclass(frozen=True)
class QueueUrl:
    letter: str


@dataclass(frozen=True)
class QueueArn:
    letter: str


@dataclass(frozen=True)
class Redrive:
    """A redrive policy, as JSON."""

    letter: str
    max_receive_count: Any


@dataclass(frozen=True)
class Handle:
    """A receipt handle of the ReceiveMessage at a step: that of its n-th message, in order of their bodies."""

    step: int
    nth: int


@dataclass
class Step:
    number: int
    service: str
    call: str
    args: dict[str, Any]
    # For listings: go on with the next page to the end.
    pages: bool = False
    # For ReceiveMessage: receive and delete until the queue is empty.
    drain: bool = False

    def __str__(self) -> str:
        how = " (all pages)" if self.pages else " (until empty)" if self.drain else ""
        args = ", ".join(f"{name}={_short(value)}" for name, value in self.args.items())
        return f"step {self.number}: {self.call}({args}){how}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"


@dataclass
class Sequence:
    """Collects the steps of one seed."""

    steps: list[Step] = field(default_factory=list)

    def add(self, service: str, call: str, args: dict[str, Any], **how: bool) -> int:
        number = len(self.steps) + 1
        self.steps.append(Step(number, service, call, args, **how))
        return number
