//! Which trace a request belongs to.

use axum::http::HeaderMap;
use cloud::Entropy;
use job::trace::TraceParent;

/// The trace of the request, in its extensions: the caller's, or else a new one.
///
/// Of the two headers that W3C has for it, `tracestate` is for whoever keeps traces. We keep none and call nobody who would, so it
/// is accepted and goes no further, as the specification allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace(pub(crate) TraceParent);

impl Trace {
    /// A `traceparent` that is malformed, or there twice, is as good as none.
    pub(crate) fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> Self {
        let mut sent = headers.get_all("traceparent").iter();
        let only = sent.next().filter(|_| sent.next().is_none());
        let read = only.and_then(|value| value.to_str().ok()?.parse().ok());
        Self(read.unwrap_or_else(|| entropy.trace()))
    }
}
