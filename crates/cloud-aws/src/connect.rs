//! Where the cloud is, and who we are there.

use std::fmt;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::{HttpClient, SharedHttpClient};
use aws_smithy_http_client::{Builder, ConnectorBuilder, proxy::ProxyConfig, tls};

use crate::{AwsObjectStore, AwsQueue, limits};

/// Where the cloud is, and who we are there. Whatever is left out comes from the SDK's default chains: environment,
/// profile, web identity, container or instance metadata. (Profiles that need SSO or a credential process are left out
/// of this build.)
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// `us-east-1` and the like.
    pub region: Option<String>,
    /// Something else than AWS's S3, as `http://127.0.0.1:9000`.
    pub s3_url: Option<String>,
    /// Something else than AWS's SQS.
    pub sqs_url: Option<String>,
    /// Fixed credentials, in place of the default chain.
    pub credentials: Option<StaticCredentials>,
    /// `http://host/bucket/key` in place of `http://bucket.host/key`: what loopback addresses need.
    pub force_path_style: bool,
}

/// An access key and its secret, which `Debug` does not show.
#[derive(Clone)]
pub struct StaticCredentials {
    /// The access key's id.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// The two clients, from which buckets and queues are opened. Cloning shares their connections.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
}

impl Aws {
    /// Looks up what `endpoint` leaves out and prepares the clients. No call is made to S3 or SQS; a process makes one
    /// `Aws` and keeps it.
    pub async fn connect(endpoint: &Endpoint) -> Self {
        let direct = |url: &Option<String>| url.as_deref().is_some_and(is_loopback).then(direct_http_client);
        Self::connect_by(endpoint, direct(&endpoint.s3_url), direct(&endpoint.sqs_url)).await
    }

    /// The same, by an HTTP client of one's own: to reach what has no port.
    pub async fn connect_through(endpoint: &Endpoint, client: impl HttpClient + 'static) -> Self {
        let client = SharedHttpClient::new(client);
        Self::connect_by(endpoint, Some(client.clone()), Some(client)).await
    }

    async fn connect_by(
        endpoint: &Endpoint,
        s3_client: Option<SharedHttpClient>,
        sqs_client: Option<SharedHttpClient>,
    ) -> Self {
        let shared = shared_config(endpoint).await;
        let retries = limits::retries();
        let timeouts = limits::connecting();

        let mut s3 = aws_sdk_s3::config::Builder::from(&shared)
            .retry_config(retries.clone())
            .timeout_config(timeouts.clone())
            .force_path_style(endpoint.force_path_style);
        if let Some(url) = &endpoint.s3_url {
            s3 = s3.endpoint_url(url);
        }
        s3.set_http_client(s3_client);

        let mut sqs = aws_sdk_sqs::config::Builder::from(&shared).retry_config(retries).timeout_config(timeouts);
        if let Some(url) = &endpoint.sqs_url {
            sqs = sqs.endpoint_url(url);
        }
        sqs.set_http_client(sqs_client);

        Self { s3: aws_sdk_s3::Client::from_conf(s3.build()), sqs: aws_sdk_sqs::Client::from_conf(sqs.build()) }
    }

    /// The bucket of this name. Whether it exists is not looked at.
    pub fn bucket(&self, name: impl Into<String>) -> AwsObjectStore {
        AwsObjectStore::new(self.s3.clone(), name.into())
    }

    /// The queue with this URL. Whether it exists is not looked at.
    pub fn queue(&self, url: impl Into<String>) -> AwsQueue {
        AwsQueue::new(self.sqs.clone(), url.into())
    }
}

async fn shared_config(endpoint: &Endpoint) -> SdkConfig {
    // A fixed version: the SDK's defaults then change with a commit here, not with an update of a dependency.
    let version = BehaviorVersion::v2026_01_12();
    let region = endpoint.region.clone().map(Region::new);
    let credentials = endpoint.credentials.as_ref().map(|credentials| {
        let StaticCredentials { access_key, secret_key } = credentials;
        Credentials::new(access_key, secret_key, None, None, "Millpond's settings")
    });
    match (region, credentials) {
        // Nothing is left to look up, and a stray profile or variable of someone's AWS account can't interfere.
        (Some(region), Some(credentials)) => SdkConfig::builder()
            .behavior_version(version)
            .region(region)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build(),
        (region, credentials) => {
            let mut loader = aws_config::defaults(version);
            if let Some(region) = region {
                loader = loader.region(region);
            }
            if let Some(credentials) = credentials {
                loader = loader.credentials_provider(credentials);
            }
            loader.load().await
        }
    }
}

/// A client that ignores `HTTP_PROXY`, which the SDK would ask for 127.0.0.1 as for any other host.
fn direct_http_client() -> SharedHttpClient {
    Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .proxy_config(ProxyConfig::disabled());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    })
}

fn is_loopback(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let endpoint = Endpoint {
            credentials: Some(StaticCredentials { access_key: "AKIA".to_owned(), secret_key: "hush".to_owned() }),
            ..Endpoint::default()
        };
        let printed = format!("{endpoint:?}");
        assert!(printed.contains("AKIA") && !printed.contains("hush"), "{printed}");
    }

    #[test]
    fn loopback_is_told_from_elsewhere() {
        for url in ["http://127.0.0.1:9000", "http://localhost/x", "http://[::1]:9000/", "http://127.8.0.1"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["https://s3.amazonaws.com", "http://127.0.0.1.example.com", "http://10.0.0.1:9000", ""] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
