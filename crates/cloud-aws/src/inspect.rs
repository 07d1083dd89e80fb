//! How buckets and queues are set up, for whoever checks that; nothing of it is changed.

use std::collections::BTreeMap;
use std::error::Error;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    ExpirationStatus, FilterRuleName, LifecycleRule as SdkLifecycleRule, QueueConfiguration, ServerSideEncryption,
};
use aws_sdk_sqs::types::QueueAttributeName;
use cloud::{QueueError, StoreError};

use crate::error::{queue_error, store_error};
use crate::{Aws, limits};

/// A setting, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting<T> {
    /// It is this.
    Is(T),
    /// This S3 has no such setting.
    Unsupported,
    /// These credentials may not read it.
    Denied,
}

/// How a bucket is set up.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    /// What it tells of its events.
    pub notifications: Setting<Notifications>,
    /// What browsers may do.
    pub cors: Setting<Vec<CorsRule>>,
    /// What is deleted, and when.
    pub lifecycle: Setting<Vec<LifecycleRule>>,
    /// Whether public access is blocked in all four ways. (An account can block it for all of its buckets; that is not looked at.)
    pub public_access_blocked: Setting<bool>,
    /// The KMS key that encrypts new objects, if one does.
    pub kms_key: Setting<Option<String>>,
}

/// Where a bucket's events go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notifications {
    /// To queues.
    pub queues: Vec<QueueNotification>,
    /// Whether some go to SNS, Lambda or EventBridge.
    pub elsewhere: bool,
}

/// Events that go to a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueNotification {
    /// The queue.
    pub queue_arn: String,
    /// `s3:ObjectCreated:*` and the like.
    pub events: Vec<String>,
    /// Of keys that begin so.
    pub prefix: String,
    /// Of keys that end so.
    pub suffix: String,
}

/// What pages of some origins may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsRule {
    /// The pages.
    pub origins: Vec<String>,
    /// `GET` and the like.
    pub methods: Vec<String>,
    /// The headers that they may send; `*` stands for any part.
    pub headers: Vec<String>,
    /// The headers that they may read.
    pub exposed: Vec<String>,
}

/// What is deleted some days after it was written; perhaps only what has a certain size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Keys that begin so.
    pub prefix: String,
    /// After so many days; 0 for a date, which is or will be past.
    pub days: u32,
}

/// How a queue is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// SQS's own names and texts.
    pub attributes: BTreeMap<String, String>,
}

impl Aws {
    /// How a bucket is set up.
    pub async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings, StoreError> {
        let within = || Builder::new().timeout_config(limits::short_call());
        // Each call has a type of its own, so what they share can't be a function.
        macro_rules! ask {
            ($call:ident) => {
                self.s3.$call().bucket(bucket).customize().config_override(within()).send().await
            };
        }
        let notifications = setting(ask!(get_bucket_notification_configuration), "", |answer| Notifications {
            elsewhere: !answer.topic_configurations().is_empty()
                || !answer.lambda_function_configurations().is_empty()
                || answer.event_bridge_configuration().is_some(),
            queues: answer.queue_configurations().iter().map(queue_notification).collect(),
        })?;
        let cors = setting(ask!(get_bucket_cors), "NoSuchCORSConfiguration", |answer| {
            let rules = answer.cors_rules().iter().map(|rule| CorsRule {
                origins: rule.allowed_origins().to_vec(),
                methods: rule.allowed_methods().to_vec(),
                headers: rule.allowed_headers().to_vec(),
                exposed: rule.expose_headers().to_vec(),
            });
            rules.collect()
        })?;
        let lifecycle = setting(ask!(get_bucket_lifecycle_configuration), "NoSuchLifecycleConfiguration", |answer| {
            answer.rules().iter().filter_map(lifecycle_rule).collect()
        })?;
        let public_access_blocked =
            setting(ask!(get_public_access_block), "NoSuchPublicAccessBlockConfiguration", |answer| {
                answer.public_access_block_configuration().is_some_and(|block| {
                    let ways = [
                        block.block_public_acls(),
                        block.ignore_public_acls(),
                        block.block_public_policy(),
                        block.restrict_public_buckets(),
                    ];
                    ways.iter().all(|way| *way == Some(true))
                })
            })?;
        let kms_key =
            setting(ask!(get_bucket_encryption), "ServerSideEncryptionConfigurationNotFoundError", |answer| {
                let rules = answer.server_side_encryption_configuration().map(|all| all.rules()).unwrap_or_default();
                let by_default = rules.iter().find_map(|rule| rule.apply_server_side_encryption_by_default())?;
                let by_kms = *by_default.sse_algorithm() != ServerSideEncryption::Aes256;
                by_kms.then(|| by_default.kms_master_key_id().unwrap_or("alias/aws/s3").to_owned())
            })?;
        Ok(BucketSettings { notifications, cors, lifecycle, public_access_blocked, kms_key })
    }

    /// How a queue is set up.
    pub async fn queue_settings(&self, url: &str) -> Result<QueueSettings, QueueError> {
        let call = self.sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let within = aws_sdk_sqs::config::Builder::new().timeout_config(limits::short_call());
        let answer = call.customize().config_override(within).send().await.map_err(queue_error)?;
        let attributes = answer.attributes.unwrap_or_default();
        let attributes = attributes.into_iter().map(|(name, text)| (name.as_str().to_owned(), text)).collect();
        Ok(QueueSettings { attributes })
    }

    /// The URL of the queue with this name, in the account whose credentials these are.
    pub async fn queue_url(&self, name: &str) -> Result<String, QueueError> {
        let within = aws_sdk_sqs::config::Builder::new().timeout_config(limits::short_call());
        let call = self.sqs.get_queue_url().queue_name(name);
        let answer = call.customize().config_override(within).send().await.map_err(queue_error)?;
        answer.queue_url.ok_or_else(|| QueueError::Unavailable("the answer lacks QueueUrl".into()))
    }
}

/// What an answer says; `T`'s default if it says, by the error `absent`, that nothing is set.
fn setting<O, E, T: Default>(
    answer: Result<O, SdkError<E, HttpResponse>>,
    absent: &str,
    read: impl FnOnce(O) -> T,
) -> Result<Setting<T>, StoreError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let error = match answer {
        Ok(answer) => return Ok(Setting::Is(read(answer))),
        Err(error) => error,
    };
    match error.code() {
        Some(code) if code == absent => return Ok(Setting::Is(T::default())),
        Some("NotImplemented" | "MethodNotAllowed") => return Ok(Setting::Unsupported),
        _ => {}
    }
    match store_error(error) {
        StoreError::Denied(_) => Ok(Setting::Denied),
        error => Err(error),
    }
}

fn queue_notification(configuration: &QueueConfiguration) -> QueueNotification {
    let rules = configuration.filter().and_then(|filter| filter.key()).map(|key| key.filter_rules());
    let rule = |name: &FilterRuleName| {
        // S3 answers `Prefix` for what was sent as `prefix`.
        let is = |other: &FilterRuleName| other.as_str().eq_ignore_ascii_case(name.as_str());
        let rule = rules.unwrap_or_default().iter().find(|rule| rule.name().is_some_and(is));
        rule.and_then(|rule| rule.value()).unwrap_or_default().to_owned()
    };
    QueueNotification {
        queue_arn: configuration.queue_arn().to_owned(),
        events: configuration.events().iter().map(|event| event.as_str().to_owned()).collect(),
        prefix: rule(&FilterRuleName::Prefix),
        suffix: rule(&FilterRuleName::Suffix),
    }
}

/// None if the rule is off, deletes nothing that is current, or only what has a tag: we tag nothing.
fn lifecycle_rule(rule: &SdkLifecycleRule) -> Option<LifecycleRule> {
    let expiration = rule.expiration().filter(|_| *rule.status() == ExpirationStatus::Enabled)?;
    let days = match (expiration.days(), expiration.date()) {
        (Some(days), _) => u32::try_from(days).unwrap_or_default(),
        (None, Some(_)) => 0,
        (None, None) => return None,
    };
    let (filter, and) = (rule.filter(), rule.filter().and_then(|filter| filter.and()));
    #[expect(deprecated, reason = "older rules, and templates, have it still")]
    let prefix = rule
        .prefix()
        .or_else(|| filter.and_then(|filter| filter.prefix()))
        .or_else(|| and.and_then(|and| and.prefix()))
        .unwrap_or_default();
    let tagged = filter.is_some_and(|filter| filter.tag().is_some()) || and.is_some_and(|and| !and.tags().is_empty());
    (!tagged).then(|| LifecycleRule { prefix: prefix.to_owned(), days })
}
