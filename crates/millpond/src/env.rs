//! Every environment variable that the command line reads.

/// Where the API is: `http://127.0.0.1:8080`. The flag `--endpoint` goes before it, the configuration file after it.
pub const ENDPOINT: &str = "MILLPOND_ENDPOINT";

/// The API key to send. Keep it here or in the configuration file; a flag would show in process lists.
pub const API_KEY: &str = "MILLPOND_API_KEY";

/// The configuration file; `$XDG_CONFIG_HOME/millpond/config.toml` or `~/.config/millpond/config.toml` if unset.
pub const CONFIG: &str = "MILLPOND_CONFIG";

/// What is logged of our own crates, as `tracing`'s filters have it: `info`, `debug`, `worker=debug,warn`.
pub const LOG: &str = "MILLPOND_LOG";

/// `millpond up` and `worker`: how log lines are written, `json` or `text`.
pub const LOG_FORMAT: &str = "MILLPOND_LOG_FORMAT";

/// `millpond worker`: where metrics are served.
pub const METRICS_LISTEN: &str = "MILLPOND_METRICS_LISTEN";

/// The freedesktop variables that the configuration file's default place comes from.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// See [`XDG_CONFIG_HOME`].
pub const HOME: &str = "HOME";

/// `millpond api` and `worker`: the job queue's URL.
pub const QUEUE_URL: &str = "MILLPOND_QUEUE_URL";
/// `millpond api` and `worker`: the dead-letter queue's URL.
pub const DEAD_LETTER_QUEUE_URL: &str = "MILLPOND_DEAD_LETTER_QUEUE_URL";
/// `millpond api` and `worker`: the bucket that clients write to.
pub const INBOX: &str = "MILLPOND_INBOX";
/// `millpond api` and `worker`: the bucket that the service writes to.
pub const OUTBOX: &str = "MILLPOND_OUTBOX";
/// `millpond api` and `worker`: a folder of models, or `s3://bucket/prefix`.
pub const MODELS: &str = "MILLPOND_MODELS";
/// `millpond up` and `worker`: how much memory loaded models may take, in bytes.
pub const MODEL_CACHE_BYTES: &str = "MILLPOND_MODEL_CACHE_BYTES";
/// `millpond up`, `api` and `keys`: where the API keys are.
pub const KEYS: &str = "MILLPOND_KEYS";
/// `millpond up`: how badly messages are delivered on purpose.
pub const CHAOS: &str = "MILLPOND_CHAOS";
/// `millpond api`, `worker` and `models`: an S3 that is not Amazon's, under the SDK's own name for it.
pub const S3_URL: &str = "AWS_ENDPOINT_URL_S3";
/// `millpond api` and `worker`: an SQS that is not Amazon's.
pub const SQS_URL: &str = "AWS_ENDPOINT_URL_SQS";
/// `millpond api` and `worker`: whose jobs dropped files are.
pub const TENANT: &str = "MILLPOND_TENANT";
/// `millpond worker`, and functions: the queue's visibility timeout, in seconds.
pub const VISIBILITY_TIMEOUT_SECONDS: &str = "MILLPOND_VISIBILITY_TIMEOUT_SECONDS";
/// What functions are told of their own timeout, in seconds. Here only `doctor` looks at it, in templates.
pub const FUNCTION_TIMEOUT_SECONDS: &str = "MILLPOND_FUNCTION_TIMEOUT_SECONDS";
/// What functions are told of their mapping's batch size. Here only `doctor` looks at it, in templates.
pub const BATCH_SIZE: &str = "MILLPOND_BATCH_SIZE";
/// What a function is. Here only `doctor` looks at it, in templates.
pub const ROLE: &str = "MILLPOND_ROLE";
/// Where ONNX Runtime's shared library is, in a program built with the feature `onnxruntime`; nets run on rten if unset.
#[cfg(feature = "onnxruntime")]
pub const ONNX_RUNTIME: &str = "MILLPOND_ONNX_RUNTIME";
