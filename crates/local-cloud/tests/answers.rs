//! Answers in which the local cloud once differed from AWS, as a comparison with another implementation showed.

mod common;

use common::{config, start, start_with};
use local_cloud::Stack;
use serde_json::json;

const OBJECT: &str = "/millpond-inbox/object";

#[tokio::test]
async fn a_range_that_cannot_be_read_is_ignored() {
    let running = start().await;
    let client = &running.client;
    client.s3("PUT", OBJECT, &[], b"0123456789").await.expect(200);
    for range in ["bytes=5-2", "bytes=a-b", "bytes=", "bytes=0-1,3-4", "items=0-1", "0-1"] {
        let whole = client.s3("GET", OBJECT, &[("range", range)], b"").await.expect(200);
        assert_eq!((whole.text().as_str(), whole.headers.get("content-range")), ("0123456789", None), "{range}");
        let headers = client.s3("HEAD", OBJECT, &[("range", range)], b"").await.expect(200).headers;
        assert_eq!(headers["content-length"], "10", "{range}");
        let url = client.presign("GET", OBJECT, &[("range", range)], common::Presigning::default());
        client.send("GET", &url, &[("range", range)], b"").await.expect(200);
    }
    for method in ["GET", "HEAD"] {
        let part = client.s3(method, OBJECT, &[("range", "bytes=2-4")], b"").await.expect(206);
        assert_eq!(part.headers["content-range"], "bytes 2-4/10");
    }
    client.s3("PUT", "/millpond-inbox/empty", &[("content-length", "0")], b"").await.expect(200);
    let nothing = client.s3("GET", "/millpond-inbox/empty", &[("range", "bytes=-3")], b"").await.expect(200);
    assert_eq!(nothing.headers.get("content-range"), None);
    client.s3("GET", "/millpond-inbox/empty", &[("range", "bytes=0-")], b"").await.expect_code(416, "InvalidRange");
    client.s3("GET", OBJECT, &[("range", "bytes=10-")], b"").await.expect_code(416, "InvalidRange");
    // The signature counts as ever.
    client.send("GET", &format!("{}{OBJECT}", client.s3), &[("range", "items=0-1")], b"").await.expect(403);
    let mut stranger = client.clone();
    stranger.secret = "wrong".into();
    stranger.s3("GET", OBJECT, &[("range", "items=0-1")], b"").await.expect_code(403, "SignatureDoesNotMatch");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn creating_one_s_own_bucket_again_succeeds_in_the_oldest_region_only() {
    let running = start().await;
    running.client.s3("PUT", "/millpond-inbox", &[], b"").await.expect(200);
    running.cloud.shutdown().await;

    let directory = tempfile::tempdir().unwrap();
    let mut elsewhere = config(&directory);
    elsewhere.region = "eu-central-1".into();
    let running = start_with(directory, elsewhere, Stack::default()).await;
    let mut client = running.client.clone();
    client.region = "eu-central-1".into();
    client.s3("PUT", "/millpond-inbox", &[], b"").await.expect_code(409, "BucketAlreadyOwnedByYou");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn listings_and_deletions_say_what_s3_says() {
    let running = start().await;
    let client = &running.client;
    client.s3("PUT", OBJECT, &[], b"x").await.expect(200);
    for list in ["?list-type=2&delimiter=", "?delimiter=", "?versions=&delimiter="] {
        let listing = client.s3("GET", &format!("/millpond-inbox{list}"), &[], b"").await.expect(200).text();
        assert!(!listing.contains("<Delimiter"), "{listing}");
    }
    let versions = client.s3("GET", "/millpond-inbox?versions=", &[], b"").await.expect(200).text();
    assert!(versions.contains("<VersionIdMarker></VersionIdMarker>"), "{versions}");
    let delete = "<Delete><Object><Key>object</Key><VersionId>null</VersionId></Object></Delete>";
    let deleted = client.s3("POST", "/millpond-inbox?delete=", &[], delete.as_bytes()).await.expect(200).text();
    assert!(deleted.contains("<VersionId>null</VersionId>"), "{deleted}");
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn uploads_are_listed_in_pages_with_who_began_them() {
    let running = start().await;
    let client = &running.client;
    let mut ids = Vec::new();
    for key in ["a", "b", "b", "c d"] {
        let path = format!("/millpond-inbox/{}?uploads=", key.replace(' ', "%20"));
        let begun = client.s3("POST", &path, &[], b"").await.expect(200).text();
        ids.push(between(&begun, "UploadId").to_owned());
    }
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let path = format!("/millpond-inbox?uploads=&max-uploads=1&encoding-type=url{marker}");
        let page = client.s3("GET", &path, &[], b"").await.expect(200).text();
        assert_eq!(between(&page, "MaxUploads"), "1");
        assert!(page.contains("<Initiator><ID>"), "{page}");
        let upload = &page[page.find("<Upload>").unwrap()..];
        seen.push(between(upload, "UploadId").to_owned());
        if page.contains("<IsTruncated>false") {
            assert_eq!(between(upload, "Key"), "c%20d");
            break;
        }
        let (key, id) = (between(&page, "NextKeyMarker"), between(&page, "NextUploadIdMarker"));
        marker = format!("&key-marker={key}&upload-id-marker={id}");
    }
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids);
    let parts = format!("/millpond-inbox/a?uploadId={}", marker_of(client, "a").await);
    let listed = client.s3("GET", &parts, &[], b"").await.expect(200).text();
    assert!(listed.contains("<Initiator><ID>"), "{listed}");
    let none = b"<CompleteMultipartUpload></CompleteMultipartUpload>";
    client.s3("POST", &parts, &[], none).await.expect_code(400, "MalformedXML");
    running.cloud.shutdown().await;
}

async fn marker_of(client: &common::Client, prefix: &str) -> String {
    let path = format!("/millpond-inbox?uploads=&prefix={prefix}");
    let page = client.s3("GET", &path, &[], b"").await.expect(200).text();
    between(&page[page.find("<Upload>").unwrap()..], "UploadId").to_owned()
}

/// The text of an XML element.
fn between<'a>(xml: &'a str, name: &str) -> &'a str {
    let rest = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}")).1;
    rest.split('<').next().unwrap()
}

#[tokio::test]
async fn a_batch_answers_with_both_lists_and_counts_all_its_messages() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let send = async |bodies: [&str; 2]| {
        let entries = json!([{"Id": "a", "MessageBody": bodies[0]}, {"Id": "b", "MessageBody": bodies[1]}]);
        client.sqs("SendMessageBatch", json!({"QueueUrl": queue, "Entries": entries})).await
    };
    assert_eq!(send(["1", "2"]).await.expect(200).json()["Failed"], json!([]));
    assert_eq!(send(["", ""]).await.expect(200).json()["Successful"], json!([]));
    // One of them is too long by itself, but the batch is, too.
    let too_long = send(["1", &"x".repeat((1 << 20) + 1)]).await.expect(400);
    assert!(too_long.text().contains("BatchRequestTooLong"), "{}", too_long.text());
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn creating_a_queue_again_compares_the_attributes_that_are_given() {
    let running = start().await;
    let client = &running.client;
    let settings = json!({"VisibilityTimeout": "7", "DelaySeconds": "1"});
    client.queue("q", settings.clone()).await;
    for same in [json!({}), json!({"DelaySeconds": "1"}), settings] {
        client.queue("q", same).await;
    }
    for other in [json!({"VisibilityTimeout": "30"}), json!({"DelaySeconds": "1", "MessageRetentionPeriod": "60"})] {
        let refused = client.sqs("CreateQueue", json!({"QueueName": "q", "Attributes": other})).await.expect(400);
        assert!(refused.text().contains("QueueNameExists"), "{}", refused.text());
    }
    running.cloud.shutdown().await;
}

#[tokio::test]
async fn sqs_errors_are_those_of_aws() {
    let running = start().await;
    let client = &running.client;
    let queue = client.queue("q", json!({})).await;
    let all = client.sqs("GetQueueAttributes", json!({"QueueUrl": queue, "AttributeNames": ["All"]})).await;
    assert_eq!(all.json()["Attributes"]["SqsManagedSseEnabled"], "true");

    let nowhere = format!("{queue}-gone");
    let named = |name: &str| json!({name: {"DataType": "String", "StringValue": "x"}});
    let policy = |json: &str| json!({"QueueUrl": queue, "Attributes": {"RedrivePolicy": json}});
    let absent = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:absent","maxReceiveCount":1}"#;
    let never = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":0}"#;
    let message =
        |attributes: serde_json::Value| json!({"QueueUrl": queue, "MessageBody": "m", "MessageAttributes": attributes});
    let handle = json!({"QueueUrl": nowhere, "ReceiptHandle": "none", "VisibilityTimeout": 0});
    for (action, input, code) in [
        ("GetQueueAttributes", json!({"QueueUrl": queue, "AttributeNames": ["Size"]}), "InvalidAttributeName"),
        ("DeleteMessage", handle.clone(), "QueueDoesNotExist"),
        ("ChangeMessageVisibility", handle, "QueueDoesNotExist"),
        ("SetQueueAttributes", policy(absent), "InvalidParameterValue"),
        ("SetQueueAttributes", policy(never), "InvalidParameterValue"),
        ("SetQueueAttributes", policy("no json"), "InvalidParameterValue"),
        ("SendMessage", message(named("AWS.x")), "InvalidParameterValue"),
        ("SendMessage", message(named("amazon.x")), "InvalidParameterValue"),
        ("SendMessage", message(named("a..b")), "InvalidParameterValue"),
        ("SendMessage", message(named(".a")), "InvalidParameterValue"),
    ] {
        let refused = client.sqs(action, input).await.expect(400);
        assert!(refused.text().contains(&format!("#{code}\"")), "{action}: {}", refused.text());
    }
    running.cloud.shutdown().await;
}
