//! A full disk is an error, and nothing else: what was acknowledged stays, what fails says so, and once there is room
//! again all goes on.
//!
//! The disk is a small tmpfs in a mount namespace of its own, which needs no privileges where the kernel lets users make
//! namespaces, and goes away with the processes in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::child::{Launch, loose_ends};
use super::common::{Answer, Client};

const CLIENTS: usize = 6;

struct SmallDisk {
    /// Waits for the end of its input, and keeps the namespaces.
    holder: Child,
    namespaces: Vec<OsString>,
    mounted_at: TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Result<Self, String> {
        let with_users = ["--user", "--map-root-user", "--mount"];
        let in_a_user_namespace =
            Self::try_mount(mebibytes, &with_users, &["--user", "--preserve-credentials", "--mount"]);
        // Root may do without, and in some containers must.
        in_a_user_namespace.or_else(|_| Self::try_mount(mebibytes, &["--mount"], &["--mount"]))
    }

    fn try_mount(mebibytes: u32, unshare: &[&str], enter: &[&str]) -> Result<Self, String> {
        let mounted_at = tempfile::tempdir().expect("a temporary directory");
        let script = format!("mount -t tmpfs -o size={mebibytes}m none \"$0\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(unshare)
            .args(["sh", "-c", &script])
            .arg(mounted_at.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare cannot be run: {error}"))?;
        let mut line = String::new();
        let output = holder.stdout.take().expect("piped");
        let namespaces =
            ["nsenter", "--target", &holder.id().to_string()].iter().chain(enter).map(Into::into).collect();
        let disk = Self { holder, namespaces, mounted_at };
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let entered = || disk.inside(&["true"]);
        if line == "mounted\n" && entered() { Ok(disk) } else { Err("no namespace with a tmpfs can be had".into()) }
    }

    /// Runs a command where the disk is to be seen.
    fn inside(&self, command: &[&str]) -> bool {
        let mut words = self.namespaces.iter();
        let mut entering = Command::new(words.next().expect("a command"));
        entering.args(words).args(command).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn grow_to(&self, mebibytes: u32) {
        let size = format!("remount,size={mebibytes}m");
        let path = self.mounted_at.path().to_str().expect("UTF-8");
        assert!(self.inside(&["mount", "-o", &size, path]), "remounts");
    }

    /// The path of the data directory, inside and outside the namespaces.
    fn data(&self) -> (PathBuf, PathBuf) {
        let inside = self.mounted_at.path().join("data");
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let outside = root.join(inside.strip_prefix("/").expect("absolute"));
        (inside, outside)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    objects: BTreeMap<String, Vec<u8>>,
    messages: BTreeSet<String>,
    refused: usize,
}

impl std::fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { objects, messages, refused } = self;
        write!(f, "{} objects and {} messages fit, {refused} did not", objects.len(), messages.len())
    }
}

/// Puts and sends from many clients at once, until each has been refused so often in a row.
async fn fill(client: &Client, queue: &str, name: &str, bytes: usize) -> Acknowledged {
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (client, queue, name) = (client.clone(), queue.to_owned(), format!("{name}-{n}"));
        clients.spawn(async move {
            let (mut done, mut refused_in_a_row) = (Acknowledged::default(), 0);
            for round in 0.. {
                let name = format!("{name}-{round}");
                let body: Vec<u8> = name.bytes().cycle().take(bytes).collect();
                let put = client.s3("PUT", &format!("/millpond-outbox/{name}"), &[("if-none-match", "*")], &body).await;
                let text = format!("{name} {}", "x".repeat(2000));
                let sent = client.sqs("SendMessage", json!({"QueueUrl": queue, "MessageBody": text})).await;
                refused_in_a_row = if put.status == 200 || sent.status == 200 { 0 } else { refused_in_a_row + 1 };
                if put.status == 200 {
                    done.objects.insert(name, body);
                } else {
                    done.refused += 1;
                    check_refusal(&put);
                }
                if sent.status == 200 {
                    done.messages.insert(text);
                } else {
                    done.refused += 1;
                    check_refusal(&sent);
                }
                if refused_in_a_row == 5 {
                    break;
                }
            }
            done
        });
    }
    let mut all = Acknowledged::default();
    for done in clients.join_all().await {
        all.objects.extend(done.objects);
        all.messages.extend(done.messages);
        all.refused += done.refused;
    }
    all
}

/// An error document of S3, or of SQS, that says that the server failed.
fn check_refusal(answer: &Answer) {
    assert!(answer.status.is_server_error(), "{}: {}", answer.status, answer.text());
    let code = answer.json()["__type"].as_str().map(str::to_owned);
    let is_sqs = code.is_some_and(|code| code.ends_with("InternalFailure") || code.ends_with("ServiceUnavailable"));
    let is_s3 = ["InternalError", "ServiceUnavailable"]
        .iter()
        .any(|code| answer.text().contains(&format!("<Code>{code}</Code>")));
    assert!(is_sqs || is_s3, "{}", answer.text());
}

async fn check_objects(client: &Client, objects: &BTreeMap<String, Vec<u8>>) {
    for (name, body) in objects {
        let answer = client.s3("GET", &format!("/millpond-outbox/{name}"), &[], b"").await.expect(200);
        assert!(answer.body == body, "{name} is not what was put");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_error_and_nothing_else() {
    let disk = match SmallDisk::mount(16) {
        Ok(disk) => disk,
        Err(why) => return println!("SKIPPED: no disk was filled, because {why}"),
    };
    let (inside, outside) = disk.data();
    let launch = Launch { wrapper: disk.namespaces.clone(), ..Launch::at(&inside) };
    let mut server = launch.start();
    let queue = server.queue_url("millpond-jobs");

    // Large bodies fail while they are written, smaller ones and messages also when they are recorded.
    let mut kept = fill(&server.client, &queue, "large", 300 << 10).await;
    disk.grow_to(18);
    let small = fill(&server.client, &queue, "small", 80 << 10).await;
    println!("{kept}; with more room {small}");
    assert!(kept.objects.len() > 5 && kept.messages.len() > 5 && small.objects.len() + small.messages.len() > 5);
    kept.objects.extend(small.objects);
    kept.messages.extend(small.messages);
    check_objects(&server.client, &kept.objects).await;
    // What was refused takes no room from what was not.
    assert_eq!(loose_ends(&outside), [""; 0]);

    // With a little more room it goes on.
    disk.grow_to(20);
    server.client.s3("PUT", "/millpond-outbox/again", &[], b"again").await.expect(200);
    server.client.sqs("SendMessage", json!({"QueueUrl": queue, "MessageBody": "again"})).await.expect(200);
    check_objects(&server.client, &kept.objects).await;

    // Killed while full, and started so: it serves or says why not, and loses nothing.
    let more = fill(&server.client, &queue, "more", 1 << 10).await;
    kept.objects.extend(more.objects);
    kept.messages.extend(more.messages);
    server.kill();
    match launch.try_start() {
        Ok(mut started) => started.kill(),
        Err(why) => println!("on a full disk: {why}"),
    }
    disk.grow_to(32);
    let server = launch.start();
    assert_eq!(loose_ends(&outside), [""; 0]);
    kept.objects.insert("again".into(), b"again".into());
    kept.messages.insert("again".into());
    check_objects(&server.client, &kept.objects).await;
    let received = server.client.drain(&server.queue_url("millpond-jobs")).await;
    let distinct: BTreeSet<String> = received.iter().cloned().collect();
    assert_eq!(distinct.len(), received.len(), "no message comes twice");
    assert_eq!(kept.messages.difference(&distinct).next(), None, "no message is lost");
    server.client.s3("PUT", "/millpond-outbox/last", &[], &[b'x'; 1 << 20]).await.expect(200);
    server.shut_down();
}
