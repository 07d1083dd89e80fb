//! What a deployment can set.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use job::Tenant;
use keys::KeyRing;

/// How the API behaves. [`Settings::default`] suits the local server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may call.
    pub access: Access,
    /// The service's own tenant: whose the jobs of callers without credentials are, and who may see the metrics.
    pub tenant: Tenant,
    /// How long a presigned upload URL works. (It dies with the credentials that signed it, if that is sooner.)
    pub upload_url_lifetime: Duration,
    /// How long after its first URL's end an upload may still arrive before the job expires.
    pub upload_grace: Duration,
    /// How long a complete job may wait for a worker. Must be below the queue's retention.
    pub queue_deadline: Duration,
    /// How long a job can be asked about.
    pub retention: Duration,
    /// The largest upload that any model may take, in bytes. 5 GB is what one S3 PUT takes:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>
    pub max_upload_bytes: u64,
    /// The longest `GET /jobs/{id}?wait=N`; a longer one waits this long. On Lambda waiting is billed: 5 s there.
    pub max_wait: Duration,
    /// The longest `Prefer: wait=N` of a `POST`; a longer one waits this long.
    pub max_prefer_wait: Duration,
    /// How long `outcome_url` and `result.url` work.
    pub result_url_lifetime: Duration,
    /// The longest that one step against the storage, the queue or the registry may take, its retries included.
    pub call_timeout: Duration,
    /// How much the bodies of `POST`s under way may take together, in bytes; more are answered 429. At least one of the largest
    /// is taken on. Beside its bytes, a body takes a small multiple of them while it is checked.
    pub max_bodies_bytes: usize,
    /// How many callers may wait for their jobs at once; any other is answered without waiting.
    pub max_waits: usize,
    /// Which web pages may call.
    pub cors_origins: CorsOrigins,
}

/// Who may call the API. `/healthz`, `/readyz` and `/openapi.json` are for everybody.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever reaches it, as [`Settings::tenant`].
    Anyone,
    /// Whoever has one of these keys, as the key's tenant.
    Keys(Arc<KeyRing>),
    /// Whom a [`Principal`](crate::Principal) names, and nobody else.
    Principals,
}

/// Which web pages may call the API from a browser.
#[derive(Debug, Clone)]
pub enum CorsOrigins {
    /// All of them.
    Any,
    /// Those of these origins, such as `https://example.com`.
    Only(Vec<HeaderValue>),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access: Access::Anyone,
            tenant: "default".parse().expect("a valid tenant"),
            upload_url_lifetime: Duration::from_secs(900),
            upload_grace: Duration::from_secs(60 * 60),
            queue_deadline: Duration::from_secs(24 * 60 * 60),
            retention: Duration::from_secs(30 * 24 * 60 * 60),
            max_upload_bytes: 5 << 30,
            max_wait: Duration::from_secs(25),
            max_prefer_wait: Duration::from_secs(25),
            result_url_lifetime: Duration::from_secs(60 * 60),
            call_timeout: Duration::from_secs(10),
            max_bodies_bytes: 128 << 20,
            max_waits: 1024,
            cors_origins: CorsOrigins::Any,
        }
    }
}
