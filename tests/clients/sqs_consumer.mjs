// npm's sqs-consumer: what succeeds is deleted, what fails comes back, what takes long stays hidden, and poison goes to the
// dead letters.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { load } from "./packages.mjs";

const { SQS } = load("@aws-sdk/client-sqs");
const { Consumer } = load("sqs-consumer");

// Every queue is empty within this, or the test fails; it takes some seconds.
const PATIENCE_MS = 60_000;
const sqs = new SQS({});

async function createQueue(QueueName, Attributes = {}) {
  const { QueueUrl } = await sqs.createQueue({ QueueName, Attributes: { VisibilityTimeout: "2", ...Attributes } });
  return QueueUrl;
}

async function send(QueueUrl, ...bodies) {
  const Entries = bodies.map((MessageBody, number) => ({ Id: String(number), MessageBody }));
  assert.equal((await sqs.sendMessageBatch({ QueueUrl, Entries })).Failed?.length ?? 0, 0);
}

// How many messages the queue holds, in any state.
async function held(QueueUrl) {
  const { Attributes } = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["All"] });
  const counts = Object.entries(Attributes).filter(([name]) => name.startsWith("ApproximateNumber"));
  assert.equal(counts.length, 3);
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

// Runs consumers with these options until the queue holds nothing; the errors that they met.
async function consume(QueueUrl, ...options) {
  const errors = [];
  const consumers = options.map((more) => {
    const consumer = Consumer.create({
      queueUrl: QueueUrl,
      sqs,
      waitTimeSeconds: 5,
      messageSystemAttributeNames: ["ApproximateReceiveCount"],
      ...more,
    });
    for (const event of ["error", "processing_error"]) consumer.on(event, (error) => errors.push(error.message));
    consumer.start();
    return consumer;
  });
  const deadline = Date.now() + PATIENCE_MS;
  for (let left; (left = await held(QueueUrl)) > 0; await sleep(50)) {
    assert.ok(Date.now() < deadline, `${QueueUrl} still holds ${left} messages`);
  }
  // Ends the long polls that are under way, which is no error.
  for (const consumer of consumers) {
    consumer.removeAllListeners();
    consumer.on("error", () => {});
    consumer.stop({ abort: true });
  }
  return errors;
}

const delivery = (message) => `${message.Body} ${message.Attributes.ApproximateReceiveCount}`;

async function aFailedMessageComesBack() {
  const queue = await createQueue("consumer");
  await send(queue, "one", "fails once", "two");
  const seen = [];
  const errors = await consume(queue, {
    batchSize: 10,
    handleMessage: async (message) => {
      seen.push(delivery(message));
      if (delivery(message) === "fails once 1") throw new Error("on purpose");
      return message;
    },
  });
  assert.deepEqual(seen.sort(), ["fails once 1", "fails once 2", "one 1", "two 1"]);
  assert.deepEqual(errors, ["Unexpected message handler failure: on purpose"]);
}

async function ofABatchOnlyWhatSucceededIsDeleted() {
  const queue = await createQueue("consumer-batch");
  await send(queue, "one", "fails once", "two");
  const seen = [];
  const errors = await consume(queue, {
    batchSize: 10,
    handleMessageBatch: async (messages) => {
      seen.push(...messages.map(delivery));
      return messages.filter((message) => delivery(message) !== "fails once 1");
    },
  });
  assert.deepEqual(seen.sort(), ["fails once 1", "fails once 2", "one 1", "two 1"]);
  assert.deepEqual(errors, []);
}

async function aHeartbeatKeepsAMessageHidden() {
  const queue = await createQueue("consumer-slow");
  await send(queue, "slow");
  const seen = [];
  const options = {
    visibilityTimeout: 2,
    heartbeatInterval: 1,
    handleMessage: async (message) => {
      seen.push(delivery(message));
      await sleep(3500);
      return message;
    },
  };
  // The one that is idle would get it.
  assert.deepEqual(await consume(queue, options, options), []);
  assert.deepEqual(seen, ["slow 1"]);
}

async function poisonGoesToTheDeadLetters() {
  const dead = await createQueue("consumer-dead");
  const { Attributes } = await sqs.getQueueAttributes({ QueueUrl: dead, AttributeNames: ["QueueArn"] });
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: Attributes.QueueArn, maxReceiveCount: 3 });
  const queue = await createQueue("consumer-poison", { RedrivePolicy });
  await send(queue, "poison");
  const seen = [];
  const errors = await consume(queue, {
    // A failed message is visible again at once.
    terminateVisibilityTimeout: true,
    handleMessage: async (message) => {
      seen.push(delivery(message));
      throw new Error("on purpose");
    },
  });
  assert.deepEqual([seen, errors.length], [["poison 1", "poison 2", "poison 3"], 3]);
  const [letter] = (await sqs.receiveMessage({ QueueUrl: dead, WaitTimeSeconds: 5 })).Messages;
  assert.equal(letter.Body, "poison");
}

await Promise.all([
  aFailedMessageComesBack(),
  ofABatchOnlyWhatSucceededIsDeleted(),
  aHeartbeatKeepsAMessageHidden(),
  poisonGoesToTheDeadLetters(),
]);
console.log("done");
