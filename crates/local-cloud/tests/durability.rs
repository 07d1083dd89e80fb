//! What was answered survives `kill -9`: objects, their events, and messages, all or none of each write.
//!
//! The server runs in a child process: this very test binary, told by its environment to serve.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use common::{Client, event_keys};
use local_cloud::{Config, LocalCloud, Stack};
use serde_json::json;
use tokio::task::JoinSet;

const CHILD_DIRECTORY: &str = "LOCAL_CLOUD_TEST_DIRECTORY";
const READY: &str = "serving ";

/// Not a test of its own: what the child process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_as_a_child() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let config = Config::new(directory, common::KEY, common::SECRET);
    let cloud = LocalCloud::start(config).await.expect("starts");
    cloud.provision(&Stack::default()).await.expect("provisions");
    println!("\n{READY}{} {}", cloud.s3_endpoint(), cloud.sqs_endpoint());
    std::future::pending::<()>().await;
}

struct Server {
    child: Child,
    client: Client,
    queue: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("a test binary"))
            .args(["serve_as_a_child", "--exact", "--nocapture"])
            .env(CHILD_DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let ready = output.lines().map_while(Result::ok).find(|line| line.starts_with(READY)).expect("serves");
        let mut endpoints = ready[READY.len()..].split(' ');
        let (s3, sqs) = (endpoints.next().expect("S3"), endpoints.next().expect("SQS"));
        let queue = format!("{sqs}/000000000000/{}", Stack::default().queue);
        Self { child, client: Client::new(s3, sqs), queue }
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_kill_9() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let mut events = BTreeSet::new();
    for round in 0..3 {
        let mut server = Server::start(directory.path());
        let mut writers = JoinSet::new();
        for writer in 0..4 {
            let (client, answered) = (server.client.clone(), Arc::clone(&answered));
            writers.spawn(async move {
                for n in 0.. {
                    let key = format!("uploads/{round}-{writer}/{n}");
                    let path = format!("/millpond-inbox/{key}");
                    let put = client.s3("PUT", &path, &[("if-none-match", "*")], key.as_bytes());
                    // The kill breaks the connection, which the client reports by panicking.
                    let answer = put.await;
                    if answer.status.as_u16() == 200 {
                        answered.lock().expect("not poisoned").insert(key);
                    }
                }
            });
        }
        let wanted = 40 * (round + 1);
        common::eventually(|| async { (answered.lock().expect("fine").len() >= wanted).then_some(()) }).await;
        server.kill();
        writers.abort_all();
        while writers.join_next().await.is_some() {}
    }

    let server = Server::start(directory.path());
    let client = &server.client;
    let answered = answered.lock().expect("fine").clone();
    for key in &answered {
        let answer = client.s3("GET", &format!("/millpond-inbox/{key}"), &[], b"").await.expect(200);
        assert_eq!(answer.text(), *key);
    }
    events.extend(event_keys(&client.drain(&server.queue).await));
    let mut objects = BTreeSet::new();
    let mut after = String::new();
    loop {
        let path = format!("/millpond-inbox?list-type=2&start-after={}", after.replace('/', "%2F"));
        let text = client.s3("GET", &path, &[], b"").await.expect(200).text();
        let page: Vec<String> =
            text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect();
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        objects.extend(page);
    }
    assert_eq!(objects, events, "every object has its event, and no event is without its object");
    assert!(answered.is_subset(&objects));
    let blobs = std::fs::read_dir(directory.path().join("blobs")).expect("a folder").count();
    assert_eq!(blobs, 0, "small objects lie in the database, and nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_receipts_survive_kill_9() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = Server::start(directory.path());
    for n in 0..5 {
        server.client.send_message(&server.queue, &format!("message {n}")).await;
    }
    let taken = server.client.receive(&server.queue, json!({"MaxNumberOfMessages": 2})).await;
    assert_eq!(taken.len(), 2);
    server.kill();
    let server = Server::start(directory.path());
    let left = server.client.drain(&server.queue).await;
    assert_eq!(left.len(), 3, "what is in flight stays hidden: {left:?}");
    let handle = &taken[0]["ReceiptHandle"];
    let input = json!({"QueueUrl": server.queue, "ReceiptHandle": handle, "VisibilityTimeout": 0});
    server.client.sqs("ChangeMessageVisibility", input).await.expect(200);
    assert_eq!(server.client.drain(&server.queue).await.len(), 1);
}
