//! The facts of what runs, through the SDK; only `--probe` writes anything.

use std::collections::BTreeMap;

use anyhow::Context;
use bytes::Bytes;
use cloud::{Condition, Entropy, ObjectStore, OsEntropy, PutOptions, QueueError, StoreError};
use cloud_aws::Aws;
use cloud_aws::inspect::{QueueSettings, Setting};
use job::id::ETag;
use serde_json::Value;

use super::facts::{Bucket, Encryption, Facts, Policy, Queue, Redrive};
use super::policy::Statement;
use super::template::{number, text_of};
use crate::service_place::ServicePlace;

/// What is known of the Millpond at this place.
pub async fn facts(place: &ServicePlace, aws: &Aws) -> anyhow::Result<Facts> {
    let mut facts = Facts::default();
    let (inbox, outbox) = (&place.inbox, &place.outbox);
    facts.inbox = bucket(aws, inbox, job::layout::DROP, &mut facts.not_looked_at).await?;
    facts.outbox = bucket(aws, outbox, job::layout::JOBS, &mut facts.not_looked_at).await?;
    let amazons = place.endpoint.sqs_url.as_ref().is_none_or(|url| url.contains(".amazonaws.com"));
    facts.queue = queue(aws, &place.queue_url, amazons, &mut facts.not_looked_at).await?;
    if let Some(redrive) = &facts.queue.redrive {
        let url = match &place.dead_letter_queue_url {
            Some(url) => Ok(url.clone()),
            None => aws.queue_url(redrive.target_arn.rsplit(':').next().unwrap_or_default()).await,
        };
        let dead_letters = match url {
            Ok(url) => queue(aws, &url, amazons, &mut facts.not_looked_at).await?,
            Err(QueueError::Denied(_) | QueueError::Invalid(_)) => {
                let arn = redrive.target_arn.clone();
                facts
                    .not_looked_at
                    .push(format!("the dead-letter queue {arn}: it cannot be found with these credentials"));
                Queue { title: arn.clone(), arn, ..Queue::default() }
            }
            Err(error) => return Err(error).context("cannot find the dead-letter queue"),
        };
        facts.dead_letter_queue = Some(dead_letters);
    }
    facts.not_looked_at.push("functions, their roles and the API: `--template` looks at those".to_owned());
    Ok(facts)
}

async fn bucket(aws: &Aws, name: &str, prefix: &str, not_looked_at: &mut Vec<String>) -> anyhow::Result<Bucket> {
    let settings = aws.bucket_settings(name).await.with_context(|| format!("cannot look at the bucket {name}"))?;
    let mut noted = Noted { bucket: name, not_looked_at };
    let notifications = noted.known(settings.notifications, "notifications");
    if notifications.as_ref().is_some_and(|all| all.elsewhere) {
        noted.not_looked_at.push(format!("events of {name} that go to SNS, Lambda or EventBridge"));
    }
    Ok(Bucket {
        title: name.to_owned(),
        names: vec![name.to_owned()],
        notifications,
        cors: noted.known(settings.cors, "CORS rules"),
        lifecycle: noted.known(settings.lifecycle, "lifecycle rules"),
        public_access_blocked: noted.known(settings.public_access_blocked, "block of public access"),
        kms_key: noted.known(settings.kms_key, "encryption"),
        tells_absent: Some(tells_absent(&aws.bucket(name), prefix).await?),
        ..Bucket::default()
    })
}

struct Noted<'a> {
    bucket: &'a str,
    not_looked_at: &'a mut Vec<String>,
}

impl Noted<'_> {
    fn known<T>(&mut self, setting: Setting<T>, what: &str) -> Option<T> {
        let why = match setting {
            Setting::Is(value) => return Some(value),
            Setting::Unsupported => "this S3 has none",
            Setting::Denied => "these credentials may not read them",
        };
        self.not_looked_at.push(format!("the {what} of {}: {why}", self.bucket));
        None
    }
}

/// Whether an absent key is answered 404. The prefix is one that all of Millpond's roles may read.
async fn tells_absent(store: &dyn ObjectStore, prefix: &str) -> anyhow::Result<bool> {
    match store.head(&format!("{prefix}doctor-{}", random())).await {
        Ok(_) | Err(StoreError::NotFound) => Ok(true),
        Err(StoreError::Denied(_)) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look into the bucket {}", store.bucket())),
    }
}

async fn queue(aws: &Aws, url: &str, amazons: bool, not_looked_at: &mut Vec<String>) -> anyhow::Result<Queue> {
    let settings = aws.queue_settings(url).await.with_context(|| format!("cannot look at the queue {url}"))?;
    let queue = queue_facts(url, &settings, amazons);
    if queue.policy.is_none() {
        not_looked_at.push(format!("who may send to {}: this SQS asks no policy", queue.title));
    }
    match &queue.encryption {
        None => not_looked_at.push(format!("the encryption of {}: this SQS does not tell", queue.title)),
        Some(Encryption::Kms { key, admits_s3: None }) if !key.ends_with("alias/aws/sqs") => {
            not_looked_at.push(format!("whether the policy of {key}, which encrypts {}, admits S3", queue.title));
        }
        Some(_) => {}
    }
    Ok(queue)
}

fn queue_facts(url: &str, settings: &QueueSettings, amazons: bool) -> Queue {
    let attributes: BTreeMap<&str, Value> =
        settings.attributes.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str()))).collect();
    let text = |name: &str| attributes.get(name).and_then(text_of);
    let count = |name: &str| attributes.get(name).and_then(number);
    let redrive: Option<Value> = text("RedrivePolicy").and_then(|json| serde_json::from_str(&json).ok());
    let encryption = match (text("KmsMasterKeyId"), text("SqsManagedSseEnabled").as_deref()) {
        (Some(key), _) => Some(Encryption::Kms { key, admits_s3: None }),
        (None, Some("true")) => Some(Encryption::Sqs),
        (None, Some(_)) => Some(Encryption::Off),
        (None, None) => None,
    };
    let statements = attributes.get("Policy").map(Statement::all_of);
    Queue {
        title: url.rsplit('/').next().unwrap_or(url).to_owned(),
        arn: text("QueueArn").unwrap_or_default(),
        visibility_s: count("VisibilityTimeout"),
        retention_s: count("MessageRetentionPeriod"),
        fifo: text("FifoQueue").as_deref() == Some("true"),
        redrive: redrive.map(|policy| Redrive {
            target_arn: text_of(&policy["deadLetterTargetArn"]).unwrap_or_default(),
            max_receive_count: number(&policy["maxReceiveCount"]),
        }),
        encryption,
        // Amazon's refuses whoever no policy admits; others may know none.
        policy: statements
            .or_else(|| amazons.then(Vec::new))
            .map(|statements| Policy { statements, ..Policy::default() }),
    }
}

/// Tries whether the conditions of writes are kept; those that were not. What it writes it deletes again.
pub async fn broken_conditions(store: &dyn ObjectStore) -> anyhow::Result<Vec<&'static str>> {
    let key = format!("doctor/{}", random());
    let put = async |condition| {
        let options = PutOptions { condition, ..PutOptions::default() };
        store.put(&key, Bytes::from_static(b"millpond doctor"), options).await
    };
    let cannot = || format!("cannot try {key} in the bucket {}", store.bucket());
    put(Condition::Absent).await.with_context(cannot)?;
    let mut broken = Vec::new();
    let conditions = [
        ("If-None-Match: *", Condition::Absent),
        ("If-Match: another ETag", Condition::Matches(ETag::new("0123456789abcdef0123456789abcdef"))),
    ];
    for (name, condition) in conditions {
        match put(condition).await {
            Ok(_) => broken.push(name),
            Err(StoreError::PreconditionFailed | StoreError::Conflict) => {}
            Err(error) => {
                // Whatever comes of it, the other error is the one to tell.
                let _ = store.delete(&key).await;
                return Err(error).with_context(cannot);
            }
        }
    }
    store.delete(&key).await.with_context(|| format!("cannot delete {key} in the bucket {}", store.bucket()))?;
    Ok(broken)
}

fn random() -> String {
    OsEntropy.attempt_id().to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use cloud::memory::MemoryObjectStore;
    use cloud::{GetOptions, Listing, Object, ObjectMeta, PresignPut, PresignedRequest, SystemClock};

    use super::*;

    /// A store that ignores the conditions of writes, or all but one.
    #[derive(Debug)]
    struct Careless {
        store: MemoryObjectStore,
        keeps: Option<Condition>,
    }

    #[async_trait]
    impl ObjectStore for Careless {
        fn bucket(&self) -> &str {
            self.store.bucket()
        }

        async fn put(&self, key: &str, body: Bytes, mut options: PutOptions) -> Result<ETag, StoreError> {
            if self.keeps.as_ref() != Some(&options.condition) {
                options.condition = Condition::None;
            }
            self.store.put(key, body, options).await
        }

        async fn get(&self, key: &str, options: GetOptions) -> Result<Object, StoreError> {
            self.store.get(key, options).await
        }

        async fn head(&self, key: &str) -> Result<ObjectMeta, StoreError> {
            self.store.head(key).await
        }

        async fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.store.delete(key).await
        }

        async fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Listing, StoreError> {
            self.store.list(prefix, after, max).await
        }

        async fn presign_put(&self, key: &str, put: PresignPut) -> Result<PresignedRequest, StoreError> {
            self.store.presign_put(key, put).await
        }

        async fn presign_get(
            &self,
            key: &str,
            expires_in: Duration,
            filename: Option<&str>,
        ) -> Result<PresignedRequest, StoreError> {
            self.store.presign_get(key, expires_in, filename).await
        }
    }

    #[tokio::test]
    async fn conditions_that_are_not_kept_are_named_and_nothing_is_left() {
        let store = || MemoryObjectStore::new("outbox", Arc::new(SystemClock));
        let kept = store();
        assert_eq!(broken_conditions(&kept).await.unwrap(), [""; 0]);
        assert!(kept.list("", None, 10).await.unwrap().objects.is_empty());

        let both = Careless { store: store(), keeps: None };
        assert_eq!(broken_conditions(&both).await.unwrap(), ["If-None-Match: *", "If-Match: another ETag"]);
        assert!(both.store.list("", None, 10).await.unwrap().objects.is_empty());

        let one = Careless { store: store(), keeps: Some(Condition::Absent) };
        assert_eq!(broken_conditions(&one).await.unwrap(), ["If-Match: another ETag"]);
    }

    fn read(attributes: &[(&str, &str)]) -> Queue {
        let attributes = attributes.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        queue_facts("https://sqs.eu-west-1.amazonaws.com/1234/jobs", &QueueSettings { attributes }, true)
    }

    #[test]
    fn attributes_are_read_as_sqs_writes_them() {
        let policy = r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sqs:SendMessage"}]}"#;
        let queue = read(&[
            ("QueueArn", "arn:aws:sqs:eu-west-1:1234:jobs"),
            ("VisibilityTimeout", "720"),
            ("MessageRetentionPeriod", "345600"),
            ("RedrivePolicy", r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:1234:dead","maxReceiveCount":"10"}"#),
            ("SqsManagedSseEnabled", "true"),
            ("Policy", policy),
        ]);
        let redrive = queue.redrive.unwrap();
        assert_eq!((queue.title.as_str(), queue.visibility_s, queue.retention_s), ("jobs", Some(720), Some(345_600)));
        assert_eq!(
            (redrive.target_arn.as_str(), redrive.max_receive_count),
            ("arn:aws:sqs:eu-west-1:1234:dead", Some(10))
        );
        assert!(queue.encryption == Some(Encryption::Sqs) && !queue.fifo);
        assert!(queue.policy.unwrap().statements[0].is_for("s3.amazonaws.com"));

        let bare = read(&[("FifoQueue", "true"), ("KmsMasterKeyId", "alias/aws/sqs")]);
        assert!(bare.fifo && bare.redrive.is_none());
        assert!(matches!(bare.encryption, Some(Encryption::Kms { .. })));
        assert!(bare.policy.unwrap().statements.is_empty(), "Amazon's SQS has a policy, if an empty one");
    }
}
