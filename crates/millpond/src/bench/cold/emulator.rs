//! AWS's Runtime Interface Emulator, which starts a function's process when it is invoked the first time.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

/// Longer than it takes to listen or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the emulator with a function in it, and once it listens, sends the function an event without messages: the time from
/// there to the answer. In it are the process's start, all of its initialisation, and what the emulator does of its own.
pub async fn first_answer(emulator: &Path, function: &Command, http: &reqwest::Client) -> anyhow::Result<Duration> {
    let (port, runtime_port) = (free_port()?, free_port()?);
    let mut command = Command::new(emulator);
    command
        .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
        .args(["--runtime-api-address", &format!("127.0.0.1:{runtime_port}")])
        .arg(function.get_program())
        .args(function.get_args())
        .env_clear()
        .envs(function.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("cannot run {}", emulator.display()))?;
    let mut running = Running(child);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        anyhow::ensure!(Instant::now() < deadline && running.0.try_wait()?.is_none(), "the emulator does not listen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/function/invocations");
    let started = Instant::now();
    let answer = http.post(url).body(json!({"Records": []}).to_string()).send().await?.bytes().await?;
    let took = started.elapsed();
    let answered = serde_json::from_slice::<Value>(&answer).unwrap_or_default();
    anyhow::ensure!(
        answered == json!({"batchItemFailures": []}),
        "through the emulator the function answers {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(took)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The function is in a process group of its own, so the emulator must live long enough to end it.
        let _ = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
