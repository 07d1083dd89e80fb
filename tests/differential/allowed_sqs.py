"""SQS: where moto and the local cloud differ, and why the local cloud is right."""

from typing import Any

from compare import ABSENT, Allowed
from sqs_calls import BAD_ATTRIBUTES, BAD_HANDLE, BAD_POLICIES, BAD_SETTINGS

API = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/"
GUIDE = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"


def _invalid_message(message: dict[str, Any]) -> bool:
    """Whether something is wrong with a message that moto lets pass."""
    names = message.get("MessageAttributes", {}).keys()
    attributes = message.get("MessageAttributes", {}).values()
    return (
        "\x00" in message["MessageBody"]
        or not message["MessageBody"]
        # Attributes count against the limit, too.
        or (len(message["MessageBody"]) >= 1000 and len(attributes) > 0)
        or message.get("DelaySeconds", 0) < 0
        or len(attributes) > 10
        or any(name.startswith("AWS.") or ".." in name for name in names)
        or any(value.get("StringValue") in ("", "seven") for value in attributes)
    )


def _invalid_in_batch(args: dict[str, Any]) -> bool:
    return any(_invalid_message(entry) for entry in args["Entries"])


def _refused(message: dict[str, Any]) -> bool:
    """Whether something is wrong with a message, whoever sees it."""
    return (
        _invalid_message(message)
        or message.get("MessageAttributes") in BAD_ATTRIBUTES
        or message.get("DelaySeconds", 0) > 900
        or len(message["MessageBody"]) > 1000
    )


def _refused_in_batch(args: dict[str, Any]) -> bool:
    return any(_refused(entry) for entry in args["Entries"])


def _invalid_ids(args: dict[str, Any]) -> bool:
    ids = [entry["Id"] for entry in args["Entries"]]
    return len(set(ids)) < len(ids) or any(not 0 < len(id) <= 80 or " " in id for id in ids)


def _invalid_settings(args: dict[str, Any]) -> bool:
    return args.get("Attributes") in BAD_SETTINGS


def _timeout_is_wrong(args: dict[str, Any]) -> bool:
    return not 0 <= args["VisibilityTimeout"] <= 43_200


QUEUES = [
    Allowed(
        "CreateQueue SetQueueAttributes",
        "outcome",
        "400 InvalidAttribute*",
        "200 | 500",
        "moto does not check the values of attributes, nor all names, or fails on them",
        API + "API_SetQueueAttributes.html#API_SetQueueAttributes_RequestSyntax",
        when=_invalid_settings,
        mend="queue",
    ),
    Allowed(
        "CreateQueue SetQueueAttributes",
        "outcome",
        "400 InvalidParameterValue",
        "*",
        "moto takes a redrive policy whose count is out of range, or finds another fault first",
        API + "API_SetQueueAttributes.html#API_SetQueueAttributes_RequestSyntax",
        when=lambda args: args.get("Attributes", {}).get("RedrivePolicy") in BAD_POLICIES,
        mend="queue",
    ),
    Allowed(
        "CreateQueue",
        "outcome",
        "400 InvalidAttributeValue",
        "400 QueueAlreadyExists",
        "the attribute is invalid, and another than the queue has; which is told is not said",
        API + "API_CreateQueue.html#API_CreateQueue_Errors",
        when=_invalid_settings,
    ),
    Allowed(
        "GetQueueAttributes",
        "Attributes",
        "{}",
        ABSENT,
        "an empty map or none is a matter of taste",
        API + "API_GetQueueAttributes.html#API_GetQueueAttributes_ResponseSyntax",
    ),
    Allowed(
        "SendMessage",
        "outcome",
        "400 *",
        "200",
        "moto takes messages that SQS refuses",
        API + "API_SendMessage.html#API_SendMessage_RequestSyntax",
        when=_invalid_message,
        mend="messages",
    ),
    Allowed(
        "SendMessage",
        "outcome",
        "400 AWS.SimpleQueueService.NonExistentQueue",
        "400 InvalidParameterValue",
        "both the queue and the message are wrong, and which is told is not said",
        API + "API_SendMessage.html#API_SendMessage_Errors",
        when=_refused,
    ),
    Allowed(
        "SendMessage",
        "MD5OfMessageSystemAttributes",
        "*",
        ABSENT,
        "SQS gives the digest of the system attributes that it was sent",
        API + "API_SendMessage.html#API_SendMessage_ResponseSyntax",
    ),
    Allowed(
        "SendMessageBatch",
        "Entries.*",
        "failed: *, by the sender",
        "{*",
        "moto takes messages that SQS refuses",
        API + "API_SendMessage.html#API_SendMessage_RequestSyntax",
        when=_invalid_in_batch,
        mend="messages",
    ),
    Allowed(
        "SendMessageBatch",
        "outcome",
        "200",
        "400 InvalidParameterValue",
        "each entry fails by itself; moto refuses the whole batch for one that is wrong",
        API + "API_SendMessageBatch.html",
        when=_refused_in_batch,
        mend="messages",
    ),
    Allowed(
        "SendMessageBatch",
        "outcome",
        "400 AWS.SimpleQueueService.*",
        "400 AWS.SimpleQueueService.InvalidBatchEntryId | 400 AWS.SimpleQueueService.BatchRequestTooLong | "
        "400 InvalidParameterValue",
        "the ids are wrong, and something else, too; which is told is not said",
        API + "API_SendMessageBatch.html#API_SendMessageBatch_Errors",
        when=_invalid_ids,
    ),
    Allowed(
        "SendMessageBatch",
        "outcome",
        "400 AWS.SimpleQueueService.BatchRequestTooLong",
        "200 | 400 InvalidParameterValue",
        "attributes count against the limit, too; of two faults which is told is not said",
        API + "API_SendMessageBatch.html",
        when=_refused_in_batch,
        mend="messages",
    ),
    Allowed(
        "DeleteMessageBatch",
        "outcome",
        "200 | 400 AWS.SimpleQueueService.*",
        "400 AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "the ids of entries must differ; moto asks that of receipt handles, too",
        API + "API_DeleteMessageBatch.html#API_DeleteMessageBatch_Errors",
        when=lambda args: len(args["Entries"]) > 1,
        mend="messages",
    ),
    Allowed(
        "DeleteMessageBatch ChangeMessageVisibilityBatch",
        "outcome",
        "400 AWS.SimpleQueueService.*",
        "200",
        "moto does not check the ids of entries here",
        API + "API_DeleteMessageBatch.html#API_DeleteMessageBatch_Errors",
        when=_invalid_ids,
        mend="messages",
    ),
    Allowed(
        "DeleteMessage",
        "outcome",
        "200",
        "400 ReceiptHandleIsInvalid",
        "deleting a message that is gone succeeds; ReceiptHandleIsInvalid is for what is no handle",
        API + "API_DeleteMessage.html",
        when=lambda args: args["ReceiptHandle"] != BAD_HANDLE,
    ),
    Allowed(
        "DeleteMessageBatch",
        "Entries.*",
        "{'Id': *}",
        "failed: ReceiptHandleIsInvalid, by the sender",
        "deleting a message that is gone succeeds; ReceiptHandleIsInvalid is for what is no handle",
        API + "API_DeleteMessage.html",
    ),
    Allowed(
        "ReceiveMessage",
        "outcome",
        "400 InvalidParameterValue",
        "200",
        "moto takes a negative timeout",
        API + "API_ReceiveMessage.html#API_ReceiveMessage_RequestSyntax",
        when=lambda args: args.get("VisibilityTimeout", 0) < 0 or args.get("WaitTimeSeconds", 0) < 0,
        mend="messages",
    ),
    Allowed(
        "ReceiveMessage",
        "Messages[].Attributes",
        ABSENT,
        "{}",
        "an empty map or none is a matter of taste",
        API + "API_ReceiveMessage.html#API_ReceiveMessage_ResponseSyntax",
    ),
    Allowed(
        "ReceiveMessage",
        "Messages[].Attributes.DeadLetterQueueSourceArn",
        "arn:aws:sqs:us-east-1:000000000000:~-[pq]",
        ABSENT,
        "SQS tells of a dead letter which queue it came from; moto does not",
        API + "API_ReceiveMessage.html#API_ReceiveMessage_RequestSyntax",
        when=lambda args: args["QueueUrl"].letter == "r",
    ),
    Allowed(
        "ChangeMessageVisibility",
        "outcome",
        "400 InvalidParameterValue",
        "400 ReceiptHandleIsInvalid",
        "the handle is well formed, but its message is gone; ReceiptHandleIsInvalid is for those that are not",
        API + "API_ChangeMessageVisibility.html#API_ChangeMessageVisibility_Errors",
    ),
    Allowed(
        "ChangeMessageVisibility",
        "outcome",
        "400 ReceiptHandleIsInvalid",
        "400 InvalidParameterValue",
        "both the handle and the timeout are wrong, and which is told is not said",
        API + "API_ChangeMessageVisibility.html#API_ChangeMessageVisibility_Errors",
        when=_timeout_is_wrong,
    ),
    Allowed(
        "ChangeMessageVisibility",
        "outcome",
        "400 AWS.SimpleQueueService.NonExistentQueue",
        "400 InvalidParameterValue",
        "both the queue and the timeout are wrong, and which is told is not said",
        API + "API_ChangeMessageVisibility.html#API_ChangeMessageVisibility_Errors",
        when=_timeout_is_wrong,
    ),
    Allowed(
        "ChangeMessageVisibility",
        "outcome",
        "400 AWS.SimpleQueueService.MessageNotInflight",
        "200",
        "the timeout of a message that is not in flight cannot be changed",
        API + "API_ChangeMessageVisibility.html#API_ChangeMessageVisibility_Errors",
        mend="messages",
    ),
    Allowed(
        "ChangeMessageVisibilityBatch",
        "Entries.*",
        "failed: InvalidParameterValue, by the sender",
        "failed: ReceiptHandleIsInvalid, by the sender",
        "the handle is well formed, but its message is gone; ReceiptHandleIsInvalid is for those that are not",
        API + "API_ChangeMessageVisibility.html#API_ChangeMessageVisibility_Errors",
    ),
    Allowed(
        "ChangeMessageVisibility",
        "outcome",
        "400 InvalidParameterValue",
        "200",
        "only the newest receipt handle counts, says design.md; moto takes older ones",
        GUIDE + "sqs-queue-message-identifiers.html#receipt-handle",
        when=lambda args: args["ReceiptHandle"] != BAD_HANDLE,
        mend="messages",
    ),
    Allowed(
        "ChangeMessageVisibilityBatch",
        "Entries.*",
        "failed: InvalidParameterValue, by the sender",
        "{'Id': *}",
        "only the newest receipt handle counts, says design.md; moto takes older ones, and negative timeouts",
        GUIDE + "sqs-queue-message-identifiers.html#receipt-handle",
        mend="messages",
    ),
    Allowed(
        "ChangeMessageVisibilityBatch",
        "Entries.*",
        "failed: AWS.SimpleQueueService.MessageNotInflight, by the sender",
        "{'Id': *}",
        "the timeout of a message that is not in flight cannot be changed",
        API + "API_ChangeMessageVisibility.html#API_ChangeMessageVisibility_Errors",
        mend="messages",
    ),
    Allowed(
        "ListMessageMoveTasks StartMessageMoveTask",
        "outcome",
        "*",
        "500",
        "moto has no message moves",
        API + "API_StartMessageMoveTask.html",
        mend="pool",
    ),
]
