"""Random SQS calls, such that SQS's freedom to choose an order has no say in the answers.

Queues `p`, `q` and `r` hold few messages (at most ten together, so that one receive takes all that is visible), and
anything is done to them. From queue `l` messages are received in any number, but never made visible again, so that
whichever order a server keeps, it keeps it. Queue `e` is for S3's events. Timeouts are 0 or too long to end.
"""

from __future__ import annotations

import random
from typing import Any

from symbols import Handle, QueueArn, QueueName, QueueUrl, Redrive, Sequence

POOL = "pqr"
POOL_MESSAGES_MAX = 10
TEXTS = ["", "한글 😀", '<a b="c">&amp;</a>', "line\nline\ttab\r"]
ATTRIBUTES: list[dict[str, Any]] = [
    {"s": {"DataType": "String", "StringValue": "text"}},
    {"n": {"DataType": "Number", "StringValue": "1.5"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}},
    {"trace.id": {"DataType": "String.custom", "StringValue": "한"}, "trace": {"DataType": "String", "StringValue": "t"}},
    {"n": {"DataType": "Number.int", "StringValue": "7"}},
]
BAD_ATTRIBUTES: list[dict[str, Any]] = [
    {"e": {"DataType": "String", "StringValue": ""}},
    {"n": {"DataType": "Number", "StringValue": "seven"}},
    {"u": {"DataType": "Unknown", "StringValue": "x"}},
    {"AWS.x": {"DataType": "String", "StringValue": "x"}},
    {"x..y": {"DataType": "String", "StringValue": "x"}},
    {f"a{number}": {"DataType": "String", "StringValue": "x"} for number in range(11)},
]
SYSTEM_NAMES = [[], ["All"], ["ApproximateReceiveCount"], ["SentTimestamp", "MessageGroupId"], ["AWSTraceHeader"]]
NAMES = [[], ["All"], [".*"], ["s", "n"], ["trace.*"], ["absent"]]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"VisibilityTimeout": "600"},
    {"VisibilityTimeout": "0"},
    {"MaximumMessageSize": "1024", "MessageRetentionPeriod": "3600"},
    {"DelaySeconds": "900"},
    {"DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0"},
]
BAD_SETTINGS: list[dict[str, Any]] = [
    {"VisibilityTimeout": "43201"},
    {"VisibilityTimeout": "-1"},
    {"VisibilityTimeout": "soon"},
    {"MessageRetentionPeriod": "59"},
    {"MaximumMessageSize": "1023"},
    {"DelaySeconds": "901"},
    {"ReceiveMessageWaitTimeSeconds": "21"},
    {"NoSuchAttribute": "1"},
]
# One without a target is missing here: moto refuses it, and keeps it nevertheless.
BAD_POLICIES = [
    Redrive("z", 2),
    Redrive("r", 0),
    Redrive("r", 1001),
    "no json",
]
BAD_HANDLE = "no-such-handle"


class SqsCalls:
    def __init__(self, dice: random.Random, sequence: Sequence) -> None:
        self.dice = dice
        self.sequence = sequence
        self.in_pool = 0
        self.sent = 0
        self.receives: dict[str, list[int]] = {}
        self.weighted = [
            (self.send, 14),
            (self.send_batch, 8),
            (self.receive, 20),
            (self.delete, 10),
            (self.delete_batch, 4),
            (self.change_visibility, 8),
            (self.change_visibility_batch, 4),
            (self.get_attributes, 8),
            (self.set_attributes, 5),
            (self.redrive, 5),
            (self.receive_until_dead, 3),
            (self.sources, 3),
            (self.move, 3),
            (self.create, 4),
            (self.url, 3),
            (self.list, 3),
            (self.purge, 3),
            (self.drain_events, 7),
            (self.delete_queue, 1),
        ]

    def begin(self) -> None:
        for letter in "pqrle":
            self.add("CreateQueue", {"QueueName": QueueName(letter)})
        self.add("SetQueueAttributes", {"QueueUrl": QueueUrl("p"), "Attributes": {"RedrivePolicy": Redrive("r", 2)}})

    def add_one(self) -> None:
        calls, weights = zip(*self.weighted)
        self.dice.choices(calls, weights)[0]()

    def add(self, call: str, args: dict[str, Any], **how: bool) -> int:
        return self.sequence.add("sqs", call, args, **how)

    def chance(self, probability: float) -> bool:
        return self.dice.random() < probability

    def some(self, args: dict[str, Any], name: str, probability: float, values: list[Any]) -> None:
        if self.chance(probability):
            args[name] = self.dice.choice(values)

    def queue(self) -> str:
        return self.dice.choices("pqrlz", [40, 20, 20, 20, 2])[0]

    def message(self) -> dict[str, Any]:
        """A message whose body no other has."""
        self.sent += 1
        message: dict[str, Any] = {"MessageBody": f"{self.sent:04} {self.dice.choice(TEXTS)}"}
        self.some(message, "MessageAttributes", 0.3, ATTRIBUTES)
        self.some(message, "DelaySeconds", 0.12, [0, 0, 900])
        self.some(message, "MessageGroupId", 0.1, ["tenant-1"])
        return message

    def bad_message(self) -> dict[str, Any]:
        message = self.message()
        name, values = self.dice.choice(
            [
                ("MessageBody", ["", "a\x00b", "x" * 1025, "x" * (1 << 20), "x" * ((1 << 20) + 1)]),
                ("MessageAttributes", BAD_ATTRIBUTES),
                ("DelaySeconds", [-1, 901]),
            ]
        )
        return message | {name: self.dice.choice(values)}

    def room(self, letter: str, count: int) -> None:
        """Empties the small queues when `count` more messages would be too many."""
        if letter not in POOL:
            return
        if self.in_pool + count > POOL_MESSAGES_MAX:
            for pool in POOL:
                self.add("PurgeQueue", {"QueueUrl": QueueUrl(pool)})
            self.in_pool = 0
        self.in_pool += count

    def send(self) -> None:
        letter = self.queue()
        self.room(letter, 1)
        message = self.bad_message() if self.chance(0.12) else self.message()
        if self.chance(0.05):
            header = {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}
            message["MessageSystemAttributes"] = {"AWSTraceHeader": header}
        self.add("SendMessage", {"QueueUrl": QueueUrl(letter)} | message)

    def send_batch(self) -> None:
        letter = self.queue()
        count = self.dice.choices([0, 1, 2, 3, 11], [1, 4, 8, 6, 1])[0]
        self.room(letter, count if count <= 3 else 0)
        bad = 0.1 if count <= 3 else 0
        entries = [self.bad_message() if self.chance(bad) else self.message() for _ in range(count)]
        self.add("SendMessageBatch", {"QueueUrl": QueueUrl(letter), "Entries": self.with_ids(entries)})

    def with_ids(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = [f"e-{number}" for number in range(len(entries))]
        if entries and self.chance(0.06):
            ids[-1] = self.dice.choice(["e-0", "", "a b", "i" * 81])
        return [{"Id": id} | entry for id, entry in zip(ids, entries)]

    def receive(self) -> None:
        letter = self.queue()
        args: dict[str, Any] = {"QueueUrl": QueueUrl(letter), "MaxNumberOfMessages": 10}
        if letter == "l":
            args["MaxNumberOfMessages"] = self.dice.choice([1, 2, 3, 10])
            args["VisibilityTimeout"] = 600
        else:
            self.some(args, "VisibilityTimeout", 0.5, [0, 0, 600])
        self.some(args, "MaxNumberOfMessages", 0.04, [0, 11])
        self.some(args, "VisibilityTimeout", 0.04, [-1, 43201])
        self.some(args, "WaitTimeSeconds", 0.06, [0, 21, -1])
        self.some(args, "AttributeNames", 0.3, SYSTEM_NAMES)
        self.some(args, "MessageSystemAttributeNames", 0.4, SYSTEM_NAMES)
        self.some(args, "MessageAttributeNames", 0.5, NAMES)
        self.receives.setdefault(letter, []).append(self.add("ReceiveMessage", args))

    def handle(self, letter: str) -> Any:
        receives = self.receives.get(letter, [])
        if not receives or self.chance(0.06):
            return BAD_HANDLE
        return Handle(self.dice.choice(receives[-4:]), self.dice.randrange(10))

    def delete(self) -> None:
        letter = self.queue()
        self.add("DeleteMessage", {"QueueUrl": QueueUrl(letter), "ReceiptHandle": self.handle(letter)})

    def handles(self, letter: str) -> list[dict[str, Any]]:
        return [{"ReceiptHandle": self.handle(letter)} for _ in range(self.dice.choice([1, 2, 3]))]

    def delete_batch(self) -> None:
        letter = self.queue()
        entries = self.with_ids(self.handles(letter))
        self.add("DeleteMessageBatch", {"QueueUrl": QueueUrl(letter), "Entries": entries})

    def timeout(self, letter: str) -> int:
        return self.dice.choices([600, 600 if letter == "l" else 0, 43_201, -1], [6, 8, 1, 1])[0]

    def change_visibility(self) -> None:
        letter = self.queue()
        args = {"ReceiptHandle": self.handle(letter), "VisibilityTimeout": self.timeout(letter)}
        self.add("ChangeMessageVisibility", {"QueueUrl": QueueUrl(letter)} | args)

    def change_visibility_batch(self) -> None:
        letter = self.queue()
        entries = [entry | {"VisibilityTimeout": self.timeout(letter)} for entry in self.handles(letter)]
        self.add("ChangeMessageVisibilityBatch", {"QueueUrl": QueueUrl(letter), "Entries": self.with_ids(entries)})

    def get_attributes(self) -> None:
        args: dict[str, Any] = {"QueueUrl": QueueUrl(self.queue())}
        names = [["All"], ["All"], ["VisibilityTimeout", "RedrivePolicy"], ["QueueArn"], [], ["Nonsense"]]
        self.some(args, "AttributeNames", 0.9, names)
        self.add("GetQueueAttributes", args)

    def set_attributes(self) -> None:
        settings = self.dice.choice(BAD_SETTINGS if self.chance(0.25) else SETTINGS)
        letter = self.queue()
        if letter == "l" and settings.get("VisibilityTimeout") == "0":
            return
        self.add("SetQueueAttributes", {"QueueUrl": QueueUrl(letter), "Attributes": settings})

    def redrive(self) -> None:
        good = [Redrive("r", 1), Redrive("r", 2), Redrive("r", "3"), ""]
        policy = self.dice.choice(BAD_POLICIES if self.chance(0.25) else good)
        args = {"QueueUrl": QueueUrl(self.dice.choice("pq")), "Attributes": {"RedrivePolicy": policy}}
        self.add("SetQueueAttributes", args)

    def receive_until_dead(self) -> None:
        """As often as any redrive policy here allows, and looks among the dead letters."""
        letter = self.dice.choice("ppq")
        for _ in range(4):
            args = {"QueueUrl": QueueUrl(letter), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
            self.receives.setdefault(letter, []).append(self.add("ReceiveMessage", args))
        args = {"QueueUrl": QueueUrl("r"), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0, "AttributeNames": ["All"]}
        self.receives.setdefault("r", []).append(self.add("ReceiveMessage", args))

    def sources(self) -> None:
        self.add("ListDeadLetterSourceQueues", {"QueueUrl": QueueUrl(self.dice.choice("rrrpz"))})

    def move(self) -> None:
        args: dict[str, Any] = {"SourceArn": QueueArn(self.dice.choice("rrrpz"))}
        if self.chance(0.5):
            self.add("ListMessageMoveTasks", args)
            return
        self.some(args, "DestinationArn", 0.5, [QueueArn("q")])
        self.add("StartMessageMoveTask", args)

    def create(self) -> None:
        args: dict[str, Any] = {"QueueName": QueueName(self.dice.choice("pqrle"))}
        self.some(args, "Attributes", 0.6, SETTINGS + BAD_SETTINGS[:3])
        if self.chance(0.1):
            args["QueueName"] = self.dice.choice(["", "a b", "n" * 81, "ä"])
        self.add("CreateQueue", args)

    def url(self) -> None:
        self.add("GetQueueUrl", {"QueueName": QueueName(self.dice.choice("pqrlez"))})

    def list(self) -> None:
        self.add("ListQueues", {"QueueNamePrefix": QueueName(self.dice.choice(["", "p", "z"]))})

    def purge(self) -> None:
        self.add("PurgeQueue", {"QueueUrl": QueueUrl(self.queue())})

    def drain_events(self) -> None:
        args = {"QueueUrl": QueueUrl("e"), "MaxNumberOfMessages": 10, "VisibilityTimeout": 600}
        self.add("ReceiveMessage", args, drain=True)

    def delete_queue(self) -> None:
        """The small queues together: which messages are on their way to a deleted dead-letter queue is not defined."""
        letters = self.dice.choice(["l", "e", POOL])
        for letter in letters:
            self.add("DeleteQueue", {"QueueUrl": QueueUrl(letter)})
        for letter in letters:
            self.add("CreateQueue", {"QueueName": QueueName(letter)})
        if letters == POOL:
            self.in_pool = 0
