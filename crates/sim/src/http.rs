//! Calls to the simulated API: the real router, without a socket.

use std::sync::PoisonError;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use http_body_util::BodyExt;
use job::{JobId, State};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;
use tower::ServiceExt;

use crate::world::{TENANTS, World};

/// What a client waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(40);

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A call whose answer did not come, for whatever reason; it may have been done.
#[derive(Debug)]
pub(crate) struct Lost;

impl Reply {
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.status, 200..=202)
    }

    /// The job that it shows, and its state.
    pub(crate) fn job(&self) -> (JobId, State) {
        let shown: Value = serde_json::from_slice(&self.body).expect("a job is JSON");
        let id = shown["id"].as_str().and_then(|id| id.parse().ok()).expect("a job has an id");
        (id, State::deserialize(&shown["state"]).expect("a job has a state"))
    }
}

impl World {
    /// Calls the API of a tenant. The call ends with the process that serves it.
    pub(crate) async fn http(
        &self,
        tenant: usize,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Reply, Lost> {
        let who = TENANTS[tenant];
        let mut request = Request::builder().method(&method).uri(path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.map_or_else(Body::empty, Body::from)).expect("a request");
        sleep(self.chance.millis(1..=20)).await;
        let served = self.apis.lock().unwrap_or_else(PoisonError::into_inner)[tenant].clone();
        let reply = match served.filter(|(_, process)| !process.dead.is_cancelled()) {
            None => Err(Lost),
            Some((router, process)) => {
                let answer = async {
                    let response = router.oneshot(request).await.expect("a router always answers");
                    let (parts, body) = response.into_parts();
                    let body = body.collect().await.expect("the body is in memory").to_bytes().to_vec();
                    let text = |name| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
                    let (etag, location) = (text(header::ETAG), text(header::LOCATION));
                    Reply { status: parts.status.as_u16(), etag, location, body }
                };
                tokio::select! {
                    biased;
                    () = process.dead.cancelled() => Err(Lost),
                    reply = answer => Ok(reply),
                    () = sleep(PATIENCE) => Err(Lost),
                }
            }
        };
        let lost = !self.is_quiet() && self.chance.happens(self.plan.weather.client_lost);
        sleep(self.chance.millis(1..=20)).await;
        let reply = if lost { Err(Lost) } else { reply };
        self.history.note(who, || match &reply {
            Ok(reply) => {
                format!("{method} {path} {headers:?} -> {} {}", reply.status, String::from_utf8_lossy(&reply.body))
            }
            Err(Lost) => format!("{method} {path} -> no answer"),
        });
        reply
    }
}
