//! The server in a process of its own, to be killed: this very test binary, told by its environment to serve.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use local_cloud::{Config, LocalCloud, Stack, system_clock};
use rusqlite::Connection;

use super::common::{self, Client};

const CHILD_DIRECTORY: &str = "LOCAL_CLOUD_TEST_DIRECTORY";
const CHILD_CLOCK_AHEAD_S: &str = "LOCAL_CLOUD_TEST_CLOCK_AHEAD_S";
const READY: &str = "serving ";
const REFUSED: &str = "refused ";
const ADVANCED: &str = "advanced";

/// Not a test of its own: what the child process runs. Each line of its input moves its clock on by so many seconds;
/// the end of its input, which comes at the latest when the parent dies, shuts it down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_as_a_child() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let ahead_s = std::env::var(CHILD_CLOCK_AHEAD_S).expect("set").parse().expect("a number");
    let ahead_s = Arc::new(AtomicI64::new(ahead_s));
    let clock = {
        let (ahead_s, system) = (Arc::clone(&ahead_s), system_clock());
        Arc::new(move || system() + jiff::SignedDuration::from_secs(ahead_s.load(Ordering::SeqCst)))
    };
    let config = Config { clock, ..Config::new(directory, common::KEY, common::SECRET) };
    let cloud = match LocalCloud::start(config).await {
        Ok(cloud) => cloud,
        Err(error) => return println!("\n{REFUSED}{error}"),
    };
    if let Err(error) = cloud.provision(&Stack::default()).await {
        return println!("\n{REFUSED}{error}");
    }
    println!("\n{READY}{} {}", cloud.s3_endpoint(), cloud.sqs_endpoint());
    let listening = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            ahead_s.fetch_add(line.parse().expect("seconds"), Ordering::SeqCst);
            println!("\n{ADVANCED}");
        }
    });
    listening.await.expect("listened");
    cloud.shutdown().await;
}

/// How to start a server.
pub struct Launch {
    pub directory: PathBuf,
    /// How far its clock is ahead of the machine's.
    pub clock_ahead_s: i64,
    /// A command that runs the command that follows it.
    pub wrapper: Vec<OsString>,
}

impl Launch {
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.into(), clock_ahead_s: 0, wrapper: Vec::new() }
    }

    /// Starts the server, or tells why it refused to start.
    pub fn try_start(&self) -> Result<Server, String> {
        let mut words = self.wrapper.clone();
        words.push(std::env::current_exe().expect("a test binary").into());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["child::serve_as_a_child", "--exact", "--nocapture"])
            .env(CHILD_DIRECTORY, &self.directory)
            .env(CHILD_CLOCK_AHEAD_S, self.clock_ahead_s.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
        let said =
            output.by_ref().map_while(Result::ok).find(|line| line.starts_with(READY) || line.starts_with(REFUSED));
        let mut server =
            Server { child, input, output, client: Client::new("", ""), directory: self.directory.clone() };
        let said = said.expect("the server serves or says why not");
        let Some(endpoints) = said.strip_prefix(READY) else {
            return Err(said[REFUSED.len()..].to_owned());
        };
        let (s3, sqs) = endpoints.split_once(' ').expect("two endpoints");
        server.client = Client::new(s3, sqs);
        Ok(server)
    }

    pub fn start(&self) -> Server {
        self.try_start().expect("starts")
    }
}

pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    pub client: Client,
    directory: PathBuf,
}

impl Server {
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.client.sqs)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Moves the server's clock on.
    pub fn advance_clock(&mut self, seconds: i64) {
        use std::io::Write;
        writeln!(self.input.as_ref().expect("open"), "{seconds}").expect("told");
        self.output.by_ref().map_while(Result::ok).find(|line| line == ADVANCED).expect("heard");
    }

    /// Lets the server finish.
    pub fn shut_down(mut self) {
        drop(self.input.take());
        self.child.wait().expect("ended");
    }

    /// What is in the folder of blobs without a record, what a record names that is not there, and the uploads under
    /// way. Ask while nothing is being written.
    pub fn loose_ends(&self) -> Vec<String> {
        loose_ends(&self.directory)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As `Server::loose_ends`, of a data directory by any path that leads to it.
pub fn loose_ends(directory: &Path) -> Vec<String> {
    let named = named_blobs(directory);
    let present = names(&directory.join("blobs"));
    let without_record =
        present.iter().filter(|name| !named.contains(name)).map(|name| format!("blobs/{name} is loose"));
    let without_file =
        named.iter().filter(|name| !present.contains(name)).map(|name| format!("blobs/{name} is missing"));
    let uploads = names(&directory.join("uploading")).into_iter().map(|name| format!("uploading/{name} is there"));
    without_record.chain(without_file).chain(uploads).collect()
}

/// The blobs that the database names. A copy of it is asked, so that it may lie where SQLite would not find it.
pub fn named_blobs(directory: &Path) -> Vec<String> {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for name in ["cloud.sqlite3", "cloud.sqlite3-wal"] {
        let original = directory.join(name);
        if original.exists() {
            std::fs::copy(original, copy.path().join(name)).expect("copied");
        }
    }
    let database = Connection::open(copy.path().join("cloud.sqlite3")).expect("opens");
    let mut named = Vec::new();
    for table in ["objects", "parts"] {
        // Nothing, where the bytes lie in the database itself.
        let sql = format!("SELECT blob FROM {table} WHERE blob IS NOT NULL AND blob <> ''");
        let mut statement = database.prepare(&sql).expect("the table is there");
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("asks");
        named.extend(rows.map(|row| row.expect("a name")));
    }
    named
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
}
