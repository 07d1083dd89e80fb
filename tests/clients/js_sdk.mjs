// The AWS SDK for JavaScript v3: objects under every key, lib-storage's multipart, presigned URLs, a queue.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import { Readable } from "node:stream";
import { load } from "./packages.mjs";

const s3s = load("@aws-sdk/client-s3");
const sqss = load("@aws-sdk/client-sqs");
const { Upload } = load("@aws-sdk/lib-storage");
const { getSignedUrl } = load("@aws-sdk/s3-request-presigner");

const KEYS = process.env.KEYS.split("\n");
const Bucket = "js-round-trip";
const MIB = 1 << 20;
// What is asserted is the first answer, not the one after retries.
const s3 = new s3s.S3({ forcePathStyle: true, maxAttempts: 1 });
const sqs = new sqss.SQS({ maxAttempts: 1 });

const bodyOf = (key) => `the object of ${key}`;
const inOrder = (keys) => [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
const text = async (input) => (await s3.getObject({ Bucket, ...input })).Body.transformToString();
const refused = (promise, name, status) =>
  assert.rejects(promise, (error) => {
    assert.deepEqual([error.name, error.$metadata?.httpStatusCode], [name, status], error);
    return true;
  });

// fetch() would resolve the `..` of a key's path away; this sends it as it was signed.
function send(method, url, headers = {}, body = undefined) {
  const { host, hostname, port } = new URL(url);
  const path = url.slice(url.indexOf(host) + host.length);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers }, async (answer) => {
      resolve({ status: answer.statusCode, headers: answer.headers, body: (await answer.toArray()).join("") });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

async function objectsUnderEveryKey() {
  await s3.createBucket({ Bucket });
  for (const Key of KEYS) {
    const Body = bodyOf(Key);
    const put = await s3.putObject({ Bucket, Key, Body, ContentType: "text/x-test", Metadata: { a: "b" } });
    assert.equal(put.ETag, `"${createHash("md5").update(Body).digest("hex")}"`);
    const head = await s3.headObject({ Bucket, Key });
    assert.deepEqual([head.ContentLength, head.ContentType, head.Metadata], [Buffer.byteLength(Body), "text/x-test", { a: "b" }]);
    assert.equal(await text({ Key }), Body);
    assert.equal(await text({ Key, Range: "bytes=4-9" }), Body.slice(4, 10));
    // The SDK takes the source as it goes over the wire.
    await s3.copyObject({ Bucket, Key: "copy", CopySource: `${Bucket}/${encodeURIComponent(Key)}` });
    assert.equal(await text({ Key: "copy" }), Body);
    await s3.deleteObject({ Bucket, Key: "copy" });
    await refused(s3.headObject({ Bucket, Key: "copy" }), "NotFound", 404);
    await refused(s3.getObject({ Bucket, Key: "copy" }), "NoSuchKey", 404);
  }
}

async function listings() {
  const keys = [];
  let pages = 0;
  for await (const page of s3s.paginateListObjectsV2({ client: s3, pageSize: 3 }, { Bucket })) {
    pages += 1;
    keys.push(...page.Contents.map((entry) => entry.Key));
  }
  assert.deepEqual([keys, pages], [inOrder(KEYS), Math.ceil(KEYS.length / 3)]);
  const top = await s3.listObjectsV2({ Bucket, Delimiter: "/" });
  assert.deepEqual(top.Contents.map((entry) => entry.Key), inOrder(KEYS.filter((key) => !key.includes("/"))));
  const prefixes = new Set(KEYS.filter((key) => key.includes("/")).map((key) => `${key.split("/")[0]}/`));
  assert.deepEqual(top.CommonPrefixes.map((entry) => entry.Prefix), inOrder(prefixes));
}

async function conditions() {
  const Key = KEYS[2];
  const { ETag } = await s3.headObject({ Bucket, Key });
  await refused(s3.putObject({ Bucket, Key, Body: "2", IfNoneMatch: "*" }), "PreconditionFailed", 412);
  await refused(s3.putObject({ Bucket, Key, Body: "2", IfMatch: '"other"' }), "PreconditionFailed", 412);
  await s3.putObject({ Bucket, Key, Body: "2", IfMatch: ETag });
  await refused(s3.getObject({ Bucket, Key, IfMatch: ETag }), "PreconditionFailed", 412);
}

async function multipart() {
  const large = randomBytes(16 * MIB + 1);
  for (const [Key, Body] of [["from memory", large], [`${KEYS[4]}from a stream`, Readable.from(large)]]) {
    const upload = new Upload({ client: s3, params: { Bucket, Key, Body }, partSize: 5 * MIB, queueSize: 4 });
    const done = await upload.done();
    assert.match(done.ETag, /-4"$/);
    const got = await (await s3.getObject({ Bucket, Key })).Body.transformToByteArray();
    assert.ok(large.equals(got), Key);
    await s3.deleteObject({ Bucket, Key });
  }
}

async function presigned() {
  // By default it would sign the checksum of the empty body that it has at hand.
  const signer = new s3s.S3({ forcePathStyle: true, requestChecksumCalculation: "WHEN_REQUIRED" });
  for (const Key of KEYS) {
    const put = await getSignedUrl(signer, new s3s.PutObjectCommand({ Bucket, Key, ContentType: "text/x-new" }), {
      signableHeaders: new Set(["content-type"]),
    });
    const body = `presigned ${bodyOf(Key)}`;
    assert.equal((await send("PUT", put, { "content-type": "text/html" }, body)).status, 403, "another content type");
    assert.equal((await send("PUT", put, { "content-type": "text/x-new" }, body)).status, 200);
    const answer = await send("GET", await getSignedUrl(signer, new s3s.GetObjectCommand({ Bucket, Key })));
    assert.deepEqual([answer.status, answer.body, answer.headers["content-type"]], [200, body, "text/x-new"]);
  }
}

async function clearingAway() {
  await refused(s3.deleteBucket({ Bucket }), "BucketNotEmpty", 409);
  const gone = await s3.deleteObjects({ Bucket, Delete: { Objects: [...KEYS, "never there"].map((Key) => ({ Key })) } });
  assert.deepEqual([gone.Deleted.length, gone.Errors], [KEYS.length + 1, undefined]);
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
  await s3.deleteBucket({ Bucket });
  await refused(s3.headBucket({ Bucket }), "NotFound", 404);
}

async function queues() {
  const dead = (await sqs.createQueue({ QueueName: "js-dead" })).QueueUrl;
  const deadArn = (await sqs.getQueueAttributes({ QueueUrl: dead, AttributeNames: ["QueueArn"] })).Attributes.QueueArn;
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: deadArn, maxReceiveCount: 1 });
  const { QueueUrl } = await sqs.createQueue({ QueueName: "js", Attributes: { RedrivePolicy } });
  assert.deepEqual((await sqs.listQueues({ QueueNamePrefix: "js" })).QueueUrls, [QueueUrl, dead]);
  const receive = async (more) => (await sqs.receiveMessage({ QueueUrl, MaxNumberOfMessages: 10, ...more })).Messages ?? [];

  // The SDK itself compares the digests of bodies.
  const late = receive({ WaitTimeSeconds: 20, MessageAttributeNames: ["All"] });
  const MessageAttributes = { kind: { DataType: "String", StringValue: "한글" } };
  await sqs.sendMessage({ QueueUrl, MessageBody: "한글 & <one>", MessageAttributes });
  const [message] = await late;
  assert.deepEqual([message.Body, message.MessageAttributes.kind.StringValue], ["한글 & <one>", "한글"]);
  await sqs.deleteMessage({ QueueUrl, ReceiptHandle: message.ReceiptHandle });

  const Entries = [..."abc"].map((Id) => ({ Id, MessageBody: Id })).concat({ Id: "bad", MessageBody: "\u0001" });
  const sent = await sqs.sendMessageBatch({ QueueUrl, Entries });
  assert.deepEqual([sent.Successful.length, sent.Failed[0].Id, sent.Failed[0].SenderFault], [3, "bad", true]);
  const messages = await receive();
  assert.deepEqual(messages.map(({ Body }) => Body).sort(), ["a", "b", "c"]);
  const [poison, ...rest] = messages.map(({ ReceiptHandle }, number) => ({ Id: String(number), ReceiptHandle }));
  const deleted = await sqs.deleteMessageBatch({ QueueUrl, Entries: [...rest, { Id: "bad", ReceiptHandle: "bad" }] });
  assert.deepEqual([deleted.Successful.length, deleted.Failed[0].Id], [2, "bad"]);

  await sqs.changeMessageVisibility({ QueueUrl, ReceiptHandle: poison.ReceiptHandle, VisibilityTimeout: 0 });
  assert.deepEqual(await receive(), []);
  const [letter] = (await sqs.receiveMessage({ QueueUrl: dead, WaitTimeSeconds: 5, VisibilityTimeout: 0 })).Messages;
  assert.equal(letter.Body, messages[0].Body);
  await sqs.startMessageMoveTask({ SourceArn: deadArn });
  assert.equal((await receive({ WaitTimeSeconds: 5 }))[0].Body, letter.Body);
  for (const url of [QueueUrl, dead]) await sqs.deleteQueue({ QueueUrl: url });
  await assert.rejects(sqs.getQueueUrl({ QueueName: "js" }), sqss.QueueDoesNotExist);
}

await objectsUnderEveryKey();
await listings();
await conditions();
await multipart();
await presigned();
await clearingAway();
await queues();
console.log("done");
