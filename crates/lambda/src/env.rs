//! Every environment variable that the functions read, and the only place that reads them.

use std::str::FromStr;

use anyhow::Context;

/// What the function is: `worker`, `dead-letters`, `sweep` or `api`.
pub(crate) const ROLE: &str = "MILLPOND_ROLE";
/// The bucket that clients write to.
pub(crate) const INBOX: &str = "MILLPOND_INBOX";
/// The bucket that the service writes to.
pub(crate) const OUTBOX: &str = "MILLPOND_OUTBOX";
/// The job queue's URL.
pub(crate) const QUEUE_URL: &str = "MILLPOND_QUEUE_URL";
/// The dead-letter queue's URL; the role `dead-letters` needs it.
pub(crate) const DEAD_LETTER_QUEUE_URL: &str = "MILLPOND_DEAD_LETTER_QUEUE_URL";
/// The model registry: `s3://bucket/prefix`, or a folder.
pub(crate) const MODELS: &str = "MILLPOND_MODELS";
/// Whose jobs dropped files are, and those of callers without credentials; `default` if unset.
pub(crate) const TENANT: &str = "MILLPOND_TENANT";
/// Where the API keys are: a file, or `s3://bucket/keys.json`. If unset, callers need none; those whom IAM has verified are told
/// apart in any case.
pub(crate) const KEYS: &str = "MILLPOND_KEYS";
/// Which web pages may call the API from a browser: origins with commas between them, or `*`; all if unset.
pub(crate) const CORS_ORIGINS: &str = "MILLPOND_CORS_ORIGINS";
/// How many messages of a batch run at once; the function's vCPUs if unset.
pub(crate) const PARALLEL: &str = "MILLPOND_PARALLEL";
/// How much memory loaded models may take, in bytes; a third of the function's if unset.
pub(crate) const MODEL_CACHE_BYTES: &str = "MILLPOND_MODEL_CACHE_BYTES";
/// Which models to load before the first event, with commas between their names; none if unset: each is loaded by its first job.
pub(crate) const PRELOAD: &str = "MILLPOND_PRELOAD";
/// How many failed attempts end a job; 3 if unset.
pub(crate) const MAX_ATTEMPTS: &str = "MILLPOND_MAX_ATTEMPTS";
/// The job queue's visibility timeout; 720 if unset.
pub(crate) const VISIBILITY_TIMEOUT_SECONDS: &str = "MILLPOND_VISIBILITY_TIMEOUT_SECONDS";
/// The function's own timeout, which Lambda does not tell; with it the models' limits are checked at start.
pub(crate) const FUNCTION_TIMEOUT_SECONDS: &str = "MILLPOND_FUNCTION_TIMEOUT_SECONDS";
/// The event source mapping's batch size, for the same; 10 if unset.
pub(crate) const BATCH_SIZE: &str = "MILLPOND_BATCH_SIZE";
/// What is logged of our own crates, as `tracing_subscriber` filters have it; `info` if unset.
pub(crate) const LOG: &str = "MILLPOND_LOG";

/// Where ONNX Runtime's shared library is, in a function built with the feature `onnxruntime`; nets run on rten if unset.
#[cfg(feature = "onnxruntime")]
pub(crate) const ONNX_RUNTIME: &str = "MILLPOND_ONNX_RUNTIME";

/// Something that stands in for S3, under the SDK's own name for it.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
pub(crate) const S3_URL: &str = "AWS_ENDPOINT_URL_S3";
/// Something that stands in for SQS.
pub(crate) const SQS_URL: &str = "AWS_ENDPOINT_URL_SQS";
/// The function's memory in MiB, set by Lambda.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
pub(crate) const FUNCTION_MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// The function's name, set by Lambda.
pub(crate) const FUNCTION_NAME: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// A variable's value; unset and empty are the same.
pub(crate) fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable that must be set.
pub(crate) fn required(name: &str) -> anyhow::Result<String> {
    optional(name).with_context(|| format!("the environment variable {name} is not set"))
}

/// A number, if it is set.
pub(crate) fn number<N: FromStr>(name: &str) -> anyhow::Result<Option<N>> {
    let Some(text) = optional(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => anyhow::bail!("{name} is {text:?}, which is no number that fits"),
    }
}
