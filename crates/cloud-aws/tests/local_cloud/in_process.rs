//! An HTTP client for the SDK whose requests never leave this process: each goes through a pipe of its own.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::HOST;
use http::{HeaderValue, Uri};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use local_cloud::LocalCloud;

#[derive(Clone)]
pub struct Pipes(pub Arc<LocalCloud>);

impl std::fmt::Debug for Pipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pipes")
    }
}

impl HttpClient for Pipes {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Pipes {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let pipe =
            if request.uri().starts_with(&self.0.s3_endpoint()) { self.0.pipe_to_s3() } else { self.0.pipe_to_sqs() };
        HttpConnectorFuture::new(async move {
            let failed = |error: hyper::Error| ConnectorError::io(error.into());
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            // What the SDK's own client does: the host in its header, the rest in the first line.
            let uri = request.uri().clone();
            let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()).expect("a host");
            request.headers_mut().insert(HOST, host);
            *request.uri_mut() = Uri::from(uri.path_and_query().cloned().expect("a path"));
            let (mut sender, connection) = handshake(TokioIo::new(pipe)).await.map_err(failed)?;
            // Ends with its connection, when the answer has been read.
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(failed)?;
            let response = response.map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
