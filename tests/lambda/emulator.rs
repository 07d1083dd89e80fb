//! AWS's Runtime Interface Emulator with our `bootstrap` in it: it takes an invocation over HTTP as Lambda's `Invoke` does, one at
//! a time, and starts the function's process, again where that has ended.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use crate::installed::{self, Installed, PATIENCE};

/// What `tests/install-clients` has installed of AWS's tools.
#[derive(Clone)]
pub struct Tools {
    /// The SAM CLI, which has the emulator among its files.
    pub sam: PathBuf,
    pub cfn_lint: PathBuf,
    emulator: PathBuf,
}

impl Tools {
    /// None where they are missing, which it says.
    pub fn installed() -> Option<Self> {
        let folder = installed::cache().join("infra");
        let (sam, cfn_lint) = (folder.join("bin/sam"), folder.join("bin/cfn-lint"));
        let found = installed::present("AWS's tools", Installed::InCi, &[&sam, &cfn_lint]);
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        if !cfg!(target_os = "linux") {
            installed::skipped("the Runtime Interface Emulator, which is for Linux");
            return None;
        }
        let versions = found.then(|| std::fs::read_dir(folder.join("lib")).expect("a folder"))?;
        let python = versions.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
        let emulator = python.expect("Python's packages").path();
        let emulator = emulator.join(format!("site-packages/samcli/local/rapid/aws-lambda-rie-{arch}"));
        installed::present("the Runtime Interface Emulator", Installed::InCi, &[&emulator]).then_some(())?;
        Some(Self { sam, cfn_lint, emulator })
    }
}

/// A running emulator, ended when it is dropped.
pub struct Emulator {
    child: Child,
    url: String,
    log: PathBuf,
    /// Lambda, too, gives a function's process one invocation at a time.
    http: Mutex<reqwest::Client>,
}

impl Emulator {
    /// With these variables and nothing else of the environment.
    pub async fn start(tools: &Tools, variables: &BTreeMap<String, String>, folder: &Path) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        let log = folder.join(format!("{}.log", free_port()));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (port, runtime_port) = (free_port(), free_port());
            let output = std::fs::File::create(&log).expect("a log");
            let mut child = installed::bare(&tools.emulator)
                .arg("--runtime-interface-emulator-address")
                .arg(format!("127.0.0.1:{port}"))
                .arg("--runtime-api-address")
                .arg(format!("127.0.0.1:{runtime_port}"))
                .arg(env!("CARGO_BIN_EXE_bootstrap"))
                .envs(variables)
                .env("PATH", "/usr/bin:/bin")
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(output.try_clone().expect("a log"))
                .stderr(output)
                .spawn()
                .expect("the emulator starts");
            while child.try_wait().expect("a child").is_none() {
                if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                    let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/function/invocations");
                    return Self { child, url, log, http: Mutex::new(http) };
                }
                assert!(Instant::now() < deadline, "the emulator does not listen");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Somebody else took one of the ports.
            assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(&log).unwrap_or_default());
        }
    }

    /// Invokes the function; its answer, or what the emulator says of how it ended.
    pub async fn invoke(&self, event: &Value) -> Value {
        let http = self.http.lock().await;
        let sent = http.post(&self.url).body(event.to_string()).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("{error:?}\n{}", self.log()));
        let text = answer.text().await.expect("a text");
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// Whether an invocation is under way.
    pub fn is_busy(&self) -> bool {
        self.http.try_lock().is_err()
    }

    /// Sends the function's process a signal: `KILL` as Lambda does with one that takes too much memory, `STOP` for one that hangs.
    pub fn signal_function(&self, signal: &str) {
        let id = self.child.id();
        // Any thread of the emulator may be the parent.
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).expect("threads").flatten();
        let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let all: Vec<String> =
            lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
        assert!(!all.is_empty(), "no function runs");
        assert!(
            std::process::Command::new("kill").arg("-s").arg(signal).args(&all).status().expect("kill runs").success()
        );
    }

    /// What the emulator and the function logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The function's process is in a group of its own, so the emulator must live long enough to end it.
        let _ = std::process::Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the emulator's log\n{}", self.log());
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
