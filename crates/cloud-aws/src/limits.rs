//! How often and how long each call is tried.
//!
//! An attempt's timeout covers the time until the answer's headers; an operation's covers all its attempts and the
//! backoff between them. <https://docs.aws.amazon.com/sdk-for-rust/latest/dg/timeouts.html>

use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;

/// Standard mode: exponential backoff with jitter, and a token bucket that stops retrying when most calls fail. Four
/// attempts in place of the SDK's three, since each of our calls stands for work already done; adaptive mode would hold
/// all calls of a process back for the throttling of one key prefix.
pub(crate) fn retries() -> RetryConfig {
    // The default cap of 20 s would let one call sleep through a Lambda's whole reserve.
    RetryConfig::standard().with_max_attempts(4).with_max_backoff(Duration::from_secs(5))
}

/// What all calls share. Three seconds to connect: within a region it takes milliseconds, and a lost SYN is sent again
/// after one second.
pub(crate) fn connecting() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).build()
}

/// Head, delete, list, and SQS's send, delete and change of visibility: answers of milliseconds, so ten seconds mean
/// a broken connection. All attempts and their backoff fit into half a minute, the time in which a heartbeat must
/// come through.
pub(crate) fn short_call() -> TimeoutConfig {
    timeouts(Duration::from_secs(10), Duration::from_secs(30))
}

/// A put of `size_bytes`: the attempt covers the upload, so it grows with the body, as if a line of 1 MiB/s were the
/// slowest. The SDK's stalled-stream protection, left on, ends a stuck one earlier.
pub(crate) fn put(size_bytes: usize) -> TimeoutConfig {
    let attempt = Duration::from_secs(15) + transfer(size_bytes as u64);
    timeouts(attempt, attempt * 2 + Duration::from_secs(15))
}

/// A get until its headers; large objects can take a while to be found.
pub(crate) fn get_headers() -> TimeoutConfig {
    timeouts(Duration::from_secs(15), Duration::from_secs(45))
}

/// The body of a get, which no timeout of the SDK covers. Same slowest line as for a put.
pub(crate) fn get_body(size_bytes: u64) -> Duration {
    Duration::from_secs(15) + transfer(size_bytes)
}

/// How often a get is begun anew whose body broke off; the SDK repeats only what fails before the headers.
pub(crate) const GET_ATTEMPTS: usize = 3;

/// A long poll: SQS holds the request for `wait`, and the margin covers the way there and back. The operation has
/// room for one more attempt but not for four: the caller polls again anyway, and a receive whose answer was lost
/// hides its messages, so the sooner it is known the better.
pub(crate) fn receive(wait: Duration) -> TimeoutConfig {
    let attempt = wait + Duration::from_secs(10);
    timeouts(attempt, attempt + Duration::from_secs(15))
}

fn transfer(size_bytes: u64) -> Duration {
    Duration::from_secs(size_bytes.div_ceil(1024 * 1024))
}

/// The SDK merges this into what [`connecting`] set for the client.
fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(attempt).operation_timeout(operation).build()
}
