// Chromium uploads a file from a page of another origin by a presigned URL, preflights included, and reads the result.
// Arguments: Chromium, the page, the same page at an origin that the API was not told of, the API, the file.

import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { load } from "./packages.mjs";

const { chromium } = load("playwright-core");
const [executablePath, home, elsewhere, api, file] = process.argv.slice(2);

const context = await chromium.launchPersistentContext(await mkdtemp("profile-"), {
  executablePath,
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

// Opens the page with the file chosen, and notes what the browser asks before it sends.
async function open(url) {
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  const preflights = [];
  session.on("Network.requestWillBeSent", ({ request }) => {
    if (request.method === "OPTIONS") preflights.push(request);
  });
  await page.goto(url);
  await page.locator("input").setInputFiles(file);
  const allowed = (target, options) => page.evaluate(([target, options]) => allowed(target, options), [target, options]);
  return { page, preflights, allowed };
}

const header = (request, name) => Object.entries(request.headers).find(([known]) => known.toLowerCase() === name)?.[1];

try {
  const { page, preflights, allowed } = await open(home);
  const done = await page.evaluate(([api, model]) => upload(api, model), [api, "wine-quality"]);
  const { uploadUrl, location, etag, put, state } = done;
  assert.deepEqual([put, state], [200, "succeeded"], JSON.stringify(done));
  // Both are exposed to the page.
  assert.match(location, /\/jobs\//);
  assert.match(etag, /^"[0-9a-f]{32}"$/);
  const expected = JSON.parse(process.env.EXPECTED);
  assert.deepEqual(done.result, expected);
  assert.deepEqual([done.outcome.state, done.outcome.result.inline], ["succeeded", expected], JSON.stringify(done.outcome));

  // What the browser asked before: the API for the POST, the storage for the PUT.
  const asked = preflights.map((request) => [request.url, header(request, "access-control-request-method")]);
  assert.deepEqual(asked, [[`${api}/jobs`, "POST"], [uploadUrl, "PUT"]]);
  const headers = preflights.map((request) => header(request, "access-control-request-headers"));
  assert.deepEqual(headers, ["content-type,idempotency-key", "content-type,if-none-match,x-amz-checksum-sha256"]);

  // What is not allowed stays so; each is a control of the one before it.
  assert.equal(await allowed(`${api}/healthz`), true);
  assert.equal(await allowed(`${api}/healthz`, { headers: { "x-unknown": "1" } }), false);
  assert.equal(await allowed(uploadUrl, { method: "PUT" }), true);
  assert.equal(await allowed(uploadUrl, { method: "PUT", headers: { "x-unknown": "1" } }), false);
  assert.equal(await allowed(uploadUrl, { method: "DELETE" }), false);
  const stranger = await open(elsewhere);
  assert.equal(await stranger.allowed(`${api}/healthz`), false);
} finally {
  await context.close();
}
console.log("done");
