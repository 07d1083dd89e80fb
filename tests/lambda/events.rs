//! Lambda's events, as AWS's own generator writes them, with our names in them.

use serde_json::{Value, json};

use crate::emulator::Tools;
use crate::installed::{self, PATIENCE};
use crate::template::{ACCOUNT, REGION};

/// What the generator writes.
pub struct Samples {
    s3_put: Value,
    sqs: Value,
    http_api: Value,
}

/// A message of a batch.
pub struct Message {
    pub id: String,
    pub receipt: String,
    pub body: String,
    pub receive_count: u32,
}

impl Message {
    /// One that came for the first time, and that no queue knows.
    pub fn new(id: &str, body: impl ToString) -> Self {
        Self { id: id.into(), receipt: "MessageReceiptHandle".into(), body: body.to_string(), receive_count: 1 }
    }
}

impl Samples {
    pub fn generate(tools: &Tools) -> Self {
        let generate = |arguments: &[&str]| {
            let mut command = installed::bare(&tools.sam);
            command.args(["local", "generate-event"]).args(arguments).env("SAM_CLI_TELEMETRY", "0");
            let text = installed::log_of(&mut command, PATIENCE);
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        Self {
            s3_put: generate(&["s3", "put", "--region", REGION]),
            sqs: generate(&["sqs", "receive-message", "--region", REGION]),
            http_api: generate(&["apigateway", "http-api-proxy"]),
        }
    }

    /// S3's event of a new object: the body of a message.
    pub fn s3_put(&self, bucket: &str, key: &str, etag: &str, size: u64) -> Value {
        let mut event = self.s3_put.clone();
        let s3 = &mut event["Records"][0]["s3"];
        s3["bucket"]["name"] = json!(bucket);
        s3["bucket"]["arn"] = json!(format!("arn:aws:s3:::{bucket}"));
        // The generator writes %20 where S3 writes +; `drop/a b` comes as `drop/a+b`.
        let encoded = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string();
        s3["object"]["key"] = json!(encoded.replace("%2F", "/").replace("%20", "+"));
        s3["object"]["eTag"] = json!(etag);
        s3["object"]["size"] = json!(size);
        event
    }

    /// A batch of the event source mapping.
    pub fn batch(&self, queue: &str, messages: &[Message]) -> Value {
        let record = |message: &Message| {
            let mut record = self.sqs["Records"][0].clone();
            record["messageId"] = json!(message.id);
            record["receiptHandle"] = json!(message.receipt);
            record["body"] = json!(message.body);
            record["attributes"]["ApproximateReceiveCount"] = json!(message.receive_count.to_string());
            record["eventSourceARN"] = json!(format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"));
            record
        };
        json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
    }

    /// A call through an HTTP API (payload format 2.0) whose route asks for no authorization.
    pub fn http_api(&self, method: &str, path_and_query: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
        let mut event = self.http_api.clone();
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        event["rawPath"] = json!(path);
        event["rawQueryString"] = json!(query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        event["queryStringParameters"] = pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Value>();
        event["headers"] = headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Value>();
        event["requestContext"]["http"]["method"] = json!(method);
        event["requestContext"]["http"]["path"] = json!(path);
        let text = std::str::from_utf8(body).expect("a text");
        event["body"] = json!(text);
        event["isBase64Encoded"] = json!(false);
        let event_map = event.as_object_mut().expect("an object");
        for unsent in ["cookies", "pathParameters", "stageVariables"] {
            event_map.remove(unsent);
        }
        let context = event["requestContext"].as_object_mut().expect("an object");
        context.remove("authorizer");
        context.remove("authentication");
        event
    }
}

/// The same call by somebody whom IAM knows.
/// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
pub fn signed(mut event: Value, user_id: &str) -> Value {
    event["requestContext"]["authorizer"] = json!({"iam": {
        "accessKey": "AKIAEXAMPLE",
        "accountId": ACCOUNT,
        "callerId": user_id,
        "cognitoIdentity": null,
        "principalOrgId": null,
        "userArn": format!("arn:aws:iam::{ACCOUNT}:user/someone"),
        "userId": user_id,
    }});
    event
}

/// The same call by a function URL.
pub fn by_function_url(mut event: Value) -> Value {
    let domain = "abcdefghijklmnopqrstuvwxyz012345";
    event["requestContext"]["domainPrefix"] = json!(domain);
    event["requestContext"]["apiId"] = json!(domain);
    event["requestContext"]["domainName"] = json!(format!("{domain}.lambda-url.{REGION}.on.aws"));
    event["headers"]["host"] = event["requestContext"]["domainName"].clone();
    event
}
