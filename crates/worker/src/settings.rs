//! What an operator can set.

use std::time::Duration;

use job::Tenant;

/// How a worker works. The defaults are the design's numbers, for a worker that long-polls.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many messages are in hand at once.
    pub parallel: usize,
    /// How many models run at once: threads of the inference pool.
    pub threads: usize,
    /// How much memory loaded models may take before the least recently used are dropped, in bytes. Models in use are
    /// not dropped, and a larger one is loaded all the same.
    pub model_memory_bytes: u64,
    /// How much the inputs in hand may take together, in bytes; a job whose input finds no room waits. A larger input is run all the
    /// same, alone. What a model makes of its input comes on top.
    pub input_memory_bytes: u64,
    /// How many failed attempts end a job.
    pub max_attempts: u32,
    /// Whose jobs dropped files are.
    pub drop_tenant: Tenant,
    /// How long a dropped file's job may wait for a worker.
    pub queue_deadline: Duration,
    /// How long a dropped file's job is kept.
    pub retention: Duration,
    /// How long a received message stays hidden unless a heartbeat prolongs it; the queue's own setting.
    pub visibility_timeout: Duration,
    /// How long running jobs may go on after a shutdown was asked for.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            parallel: cores,
            threads: cores,
            model_memory_bytes: 1 << 30,
            input_memory_bytes: 256 << 20,
            max_attempts: 3,
            drop_tenant: "default".parse().expect("a valid tenant"),
            queue_deadline: DAY,
            retention: DAY * 30,
            visibility_timeout: Duration::from_secs(720),
            drain: Duration::from_secs(25),
        }
    }
}
