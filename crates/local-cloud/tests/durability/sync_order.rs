//! The order of system calls between a request and its answer. `kill -9` leaves what the kernel holds alone, so no crash
//! of a process shows whether it was synced; `strace` does.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::child::{Launch, named_blobs};
use super::objects::tag_in;

/// A `?` lets `strace` pass over calls that this machine's architecture does not have.
const CALLS: &str = "trace=fsync,fdatasync,?rename,renameat,renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,write,\
                     pwrite64,sendto,writev,recvfrom,read";
/// In front of the bytes that any answer begins with.
const SUCCESS: [&str; 2] = ["\"HTTP/1.1 200", "\"HTTP/1.1 204"];

#[derive(Debug)]
struct Call {
    name: String,
    /// File descriptors with their paths, and the beginning of what is read and written.
    arguments: String,
    /// Lines of the trace, in order of time.
    begun: usize,
    ended: usize,
}

impl Call {
    fn is_sync_of(&self, path: &str) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.is_at(path)
    }

    fn is_write_to(&self, path: &str) -> bool {
        matches!(self.name.as_str(), "write" | "pwrite64" | "writev") && self.is_at(path)
    }

    /// Its first argument is a descriptor of this file.
    fn is_at(&self, path: &str) -> bool {
        self.arguments.split_once('<').is_some_and(|(_, rest)| rest.starts_with(&format!("{path}>")))
    }

    fn names(&self, verb: &str, path: &str) -> bool {
        self.name.starts_with(verb) && self.arguments.contains(&format!("\"{path}"))
    }
}

/// `<pid> <name>(<arguments>) = <result>`, cut in two when another thread's call came between.
fn parse(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, Call> = HashMap::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(resumed) = text.strip_prefix("<... ") {
            let Some(mut call) = unfinished.remove(thread) else { continue };
            call.arguments += resumed.split_once("resumed>").map_or("", |(_, rest)| rest);
            call.ended = line;
            calls.push(call);
        } else if let Some((name, arguments)) = text.split_once('(') {
            let call = Call { name: name.into(), arguments: arguments.into(), begun: line, ended: line };
            if text.ends_with("<unfinished ...>") {
                unfinished.insert(thread, call);
            } else {
                calls.push(call);
            }
        }
    }
    calls.sort_by_key(|call| call.begun);
    calls
}

/// The calls from the receipt of the request that holds `marker` to the answer, and the line in which that begins.
fn between<'a>(calls: &'a [Call], marker: &str) -> (&'a [Call], usize) {
    let is_input = |call: &Call| matches!(call.name.as_str(), "recvfrom" | "read") && call.arguments.contains(marker);
    let first = calls.iter().position(is_input).unwrap_or_else(|| panic!("{marker} was not received"));
    let is_answer = |call: &Call| SUCCESS.iter().any(|start| call.arguments.contains(start));
    let length = calls[first..].iter().position(is_answer).unwrap_or_else(|| panic!("{marker} was not answered"));
    (&calls[first..first + length], calls[first + length].begun)
}

struct Trace {
    calls: Vec<Call>,
    data: String,
}

impl Trace {
    /// The write-ahead log is written, then synced, then the answer goes out. Returns the lines in which the first
    /// write begins and in which the sync has ended.
    fn assert_committed(&self, marker: &str) -> (usize, usize) {
        let (calls, answer) = between(&self.calls, marker);
        let log = format!("{}/cloud.sqlite3-wal", self.data);
        let writes: Vec<&Call> = calls.iter().filter(|call| call.is_write_to(&log)).collect();
        let (first, last) = writes.first().zip(writes.last()).unwrap_or_else(|| panic!("{marker}: nothing was logged"));
        let sync = calls.iter().find(|call| call.is_sync_of(&log) && call.begun > last.ended && call.ended < answer);
        let sync = sync.unwrap_or_else(|| panic!("{marker}: answered before the log was synced: {calls:#?}"));
        (first.begun, sync.ended)
    }

    /// Bytes in a file: it is synced after its last write, then gets its name, then that is synced, and only then does
    /// the log tell of it. Returns the file's name.
    fn assert_blob_first(&self, marker: &str) -> String {
        let (logged, _) = self.assert_committed(marker);
        let (calls, _) = between(&self.calls, marker);
        let uploading = format!("{}/uploading/", self.data);
        let naming: Vec<&Call> = calls.iter().filter(|call| call.names("rename", &uploading)).collect();
        let [naming] = naming[..] else { panic!("{marker}: not one file was named: {naming:?}") };
        let from = naming.arguments.split('"').nth(1).expect("a path");
        let last_write = calls.iter().filter(|call| call.is_write_to(from)).map(|call| call.ended).max();
        let last_write = last_write.unwrap_or_else(|| panic!("{marker}: nothing was written to {from}"));
        let synced = |call: &&Call| call.is_sync_of(from) && call.begun > last_write && call.ended < naming.begun;
        assert!(calls.iter().any(|call| synced(&call)), "{marker}: named before it was synced: {calls:#?}");
        self.assert_folder_synced(marker, calls, naming, logged);
        naming.arguments.split('"').nth(3).and_then(|to| to.rsplit('/').next()).expect("a path").to_owned()
    }

    fn assert_folder_synced(&self, marker: &str, calls: &[Call], naming: &Call, logged: usize) {
        let folder = format!("{}/blobs", self.data);
        let synced = |call: &&Call| call.is_sync_of(&folder) && call.begun > naming.ended && call.ended < logged;
        assert!(calls.iter().any(|call| synced(&call)), "{marker}: recorded before its name was synced: {calls:#?}");
    }
}

fn tracing_works() -> Result<(), String> {
    let tried = Command::new("strace").args(["-f", "-yy", "-e", CALLS, "true"]).stderr(Stdio::piped()).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("strace fails: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("strace cannot be run: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_synced_before_the_answer_and_in_order() {
    if let Err(why) = tracing_works() {
        println!("SKIPPED: the order of syncs was not looked at, because {why}");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    // As the kernel spells it.
    let root = directory.path().canonicalize().expect("there");
    let (trace, data) = (root.join("trace"), root.join("new/data"));
    let wrapper = ["strace", "-f", "-yy", "-s", "512", "-e", "signal=none", "-e", CALLS, "-o"];
    let mut wrapper: Vec<_> = wrapper.map(Into::into).into();
    wrapper.push(trace.clone().into());
    let server = Launch { wrapper, ..Launch::at(&data) }.start();
    let (client, queue) = (&server.client, server.queue_url("millpond-jobs"));

    let (large, small) = (vec![b'a'; 1 << 20], vec![b'b'; 4 << 10]);
    client.s3("PUT", "/millpond-outbox/small", &[], &small).await.expect(200);
    client.s3("PUT", "/millpond-outbox/large", &[("if-none-match", "*")], &large).await.expect(200);
    client
        .s3("PUT", "/millpond-outbox/copy", &[("x-amz-copy-source", "/millpond-outbox/large")], b"")
        .await
        .expect(200);
    client.s3("PUT", "/millpond-outbox/large?x-id=second", &[], &[large.as_slice(), b"!"].concat()).await.expect(200);
    let begun = client.s3("POST", "/millpond-outbox/parts?uploads", &[], b"").await.expect(200);
    let id = tag_in(&begun, "UploadId").expect("an id");
    let part =
        client.s3("PUT", &format!("/millpond-outbox/parts?partNumber=1&uploadId={id}"), &[], &large).await.expect(200);
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        part.etag()
    );
    client.s3("POST", &format!("/millpond-outbox/parts?uploadId={id}"), &[], list.as_bytes()).await.expect(200);
    client.s3("DELETE", "/millpond-outbox/copy", &[], b"").await.expect(204);
    client.send_message(&queue, "a").await;
    let taken = client.receive(&queue, json!({})).await.remove(0);
    let handle = &taken["ReceiptHandle"];
    client.sqs("DeleteMessage", json!({"QueueUrl": queue, "ReceiptHandle": handle})).await.expect(200);
    server.shut_down();

    let data = data.to_str().expect("UTF-8").to_owned();
    let trace = Trace { calls: parse(&std::fs::read_to_string(trace).expect("traced")), data: data.clone() };
    for marker in
        ["PUT /millpond-outbox/small ", "DELETE /millpond-outbox/copy ", "POST /millpond-outbox/parts?uploads "]
    {
        trace.assert_committed(marker);
    }
    for action in ["SendMessage", "ReceiveMessage", "DeleteMessage"] {
        trace.assert_committed(&format!("AmazonSQS.{action}\\r"));
    }
    let first = trace.assert_blob_first("PUT /millpond-outbox/large ");
    let second = trace.assert_blob_first("PUT /millpond-outbox/large?x-id=second ");
    trace.assert_blob_first("PUT /millpond-outbox/parts?partNumber=1&");
    let whole = trace.assert_blob_first("POST /millpond-outbox/parts?uploadId=");
    let named = named_blobs(Path::new(&data));
    assert!(named.contains(&second) && named.contains(&whole) && !named.contains(&first), "{named:?}");

    // A copy is a link, whose bytes were synced long ago.
    let copy = "PUT /millpond-outbox/copy ";
    let ((logged, _), (calls, _)) = (trace.assert_committed(copy), between(&trace.calls, copy));
    let link = calls.iter().find(|call| call.names("link", &format!("{data}/blobs/"))).expect("linked");
    trace.assert_folder_synced(copy, calls, link, logged);

    // What was replaced goes only once its replacement is durable: a crash between would leave a record without bytes.
    let (_, replaced) = trace.assert_committed("PUT /millpond-outbox/large?x-id=second ");
    let removal =
        trace.calls.iter().find(|call| call.names("unlink", &format!("{data}/blobs/{first}"))).expect("removed");
    assert!(removal.begun > replaced);

    // The data directory and the one above it were made at the start, and so were entries of those above them.
    for (made, within) in [(data.as_str(), root.join("new")), (&data[..data.len() - "/data".len()], root.clone())] {
        let made = trace.calls.iter().find(|call| call.names("mkdir", &format!("{made}\""))).expect("made");
        let within = within.to_str().expect("UTF-8");
        let synced = |call: &&Call| call.is_sync_of(within) && call.begun > made.ended;
        assert!(trace.calls.iter().any(|call| synced(&call)), "{within} is synced");
    }
}
