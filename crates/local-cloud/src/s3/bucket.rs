//! Buckets, their CORS rules and their notifications.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{request_id, shown_time};
use crate::events::{self, NotificationRule, Notifications};
use crate::store::{CorsRule, Store, StoreError};

const CORS_MAX_RULES: usize = 100;
/// What S3 tells of objects that come and go.
const EVENTS: [&str; 8] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
];
const OLDEST_REGION: &str = "us-east-1";

pub(super) async fn create(
    store: &Store,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let bucket = request.input.bucket;
    let location = format!("/{bucket}");
    match store.create_bucket(bucket).await {
        // In its oldest region, and in no other, S3 answers this as a success: BucketAlreadyOwnedByYou in
        // <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html#API_CreateBucket_Errors>.
        Err(StoreError::BucketExists) if store.region == OLDEST_REGION => {}
        created => created?,
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
}

pub(super) async fn head(store: &Store, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    store.require_bucket(request.input.bucket).await?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(store.region.clone()), ..HeadBucketOutput::default() }))
}

pub(super) async fn list(
    store: &Store,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let prefix = request.input.prefix.clone().unwrap_or_default();
    let buckets = store.buckets().await?.into_iter().filter(|bucket| bucket.name.starts_with(&prefix));
    let shown = buckets.map(|bucket| Bucket {
        name: Some(bucket.name),
        creation_date: Some(shown_time(bucket.created_ms)),
        ..Bucket::default()
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(shown.collect()),
        owner: Some(super::list::owner()),
        prefix: request.input.prefix,
        ..ListBucketsOutput::default()
    }))
}

pub(super) async fn delete(
    store: &Store,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    store.delete_bucket(request.input.bucket).await?;
    Ok(S3Response::with_status(DeleteBucketOutput::default(), http::StatusCode::NO_CONTENT))
}

pub(super) async fn location(
    store: &Store,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    store.require_bucket(request.input.bucket).await?;
    // The oldest region is the one without a name.
    let constraint = (store.region != OLDEST_REGION).then(|| BucketLocationConstraint::from(store.region.clone()));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint: constraint }))
}

pub(super) async fn versioning(
    store: &Store,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    store.require_bucket(request.input.bucket).await?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

pub(super) async fn put_cors(
    store: &Store,
    request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let input = request.input;
    let rules: Vec<CorsRule> = input
        .cors_configuration
        .cors_rules
        .into_iter()
        .map(|rule| CorsRule {
            id: rule.id,
            origins: rule.allowed_origins,
            methods: rule.allowed_methods,
            headers: rule.allowed_headers.unwrap_or_default(),
            expose: rule.expose_headers.unwrap_or_default(),
            max_age_seconds: rule.max_age_seconds,
        })
        .collect();
    if rules.is_empty() || rules.len() > CORS_MAX_RULES {
        return Err(s3_error!(MalformedXML, "from 1 to 100 rules are allowed"));
    }
    let known = ["GET", "PUT", "POST", "DELETE", "HEAD"];
    if rules.iter().flat_map(|rule| &rule.methods).any(|method| !known.contains(&method.as_str())) {
        return Err(s3_error!(InvalidRequest, "unsupported method in the CORS configuration"));
    }
    store.set_cors(input.bucket, rules).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub(super) async fn get_cors(
    store: &Store,
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let rules = store.cors(request.input.bucket).await?;
    if rules.is_empty() {
        return Err(s3_error!(NoSuchCORSConfiguration));
    }
    let rules = rules
        .into_iter()
        .map(|rule| CORSRule {
            id: rule.id,
            allowed_origins: rule.origins,
            allowed_methods: rule.methods,
            allowed_headers: Some(rule.headers),
            expose_headers: Some(rule.expose),
            max_age_seconds: rule.max_age_seconds,
        })
        .collect();
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(rules) }))
}

pub(super) async fn delete_cors(
    store: &Store,
    request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    store.set_cors(request.input.bucket, Vec::new()).await?;
    Ok(S3Response::with_status(DeleteBucketCorsOutput::default(), http::StatusCode::NO_CONTENT))
}

fn rule_of(configuration: QueueConfiguration) -> S3Result<NotificationRule> {
    let events: Vec<String> = configuration.events.into_iter().map(String::from).collect();
    if events.is_empty() || !events.iter().all(|event| EVENTS.contains(&event.as_str())) {
        return Err(s3_error!(InvalidArgument, "the event is not supported for notifications"));
    }
    if events::queue_of_arn(&configuration.queue_arn).is_none() {
        return Err(s3_error!(InvalidArgument, "the ARN is not well formed"));
    }
    let (mut prefix, mut suffix) = (None, None);
    let filters = configuration.filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules);
    for filter in filters.unwrap_or_default() {
        let name = filter.name.as_ref().map(|name| name.as_str().to_ascii_lowercase());
        let place = match name.as_deref() {
            Some("prefix") => &mut prefix,
            Some("suffix") => &mut suffix,
            Some(_) | None => return Err(s3_error!(InvalidArgument, "filter rule name must be prefix or suffix")),
        };
        if place.replace(filter.value.unwrap_or_default()).is_some() {
            return Err(s3_error!(InvalidArgument, "a filter rule name is there twice"));
        }
    }
    let id = configuration.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    Ok(NotificationRule { id, queue_arn: configuration.queue_arn, events, prefix, suffix })
}

pub(super) async fn put_notifications(
    store: &Store,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let request_id = request_id(&request);
    let input = request.input;
    let configuration = input.notification_configuration;
    let others = configuration.lambda_function_configurations.is_some_and(|list| !list.is_empty())
        || configuration.topic_configurations.is_some_and(|list| !list.is_empty())
        || configuration.event_bridge_configuration.is_some();
    if others {
        return Err(s3_error!(NotImplemented, "only queues can be notified here"));
    }
    let queues = configuration.queue_configurations.unwrap_or_default();
    let rules = queues.into_iter().map(rule_of).collect::<S3Result<Vec<_>>>()?;
    for (index, rule) in rules.iter().enumerate() {
        if rules[..index].iter().any(|other| other.id == rule.id) {
            return Err(s3_error!(InvalidArgument, "two configurations have the same id"));
        }
        if rules[..index].iter().any(|other| other.overlaps(rule)) {
            return Err(s3_error!(
                InvalidArgument,
                "configurations overlap: those of one bucket cannot share an event type, a prefix and a suffix"
            ));
        }
    }
    store.set_notifications(input.bucket, Notifications { rules }, true, request_id).await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}

pub(super) async fn get_notifications(
    store: &Store,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let rules = store.notifications(request.input.bucket).await?.rules;
    let shown: Vec<QueueConfiguration> = rules
        .into_iter()
        .map(|rule| {
            let filters: Vec<FilterRule> = [("prefix", rule.prefix), ("suffix", rule.suffix)]
                .into_iter()
                .filter_map(|(name, value)| {
                    let name = Some(FilterRuleName::from_static(name));
                    Some(FilterRule { name, value: Some(value?) })
                })
                .collect();
            let key = S3KeyFilter { filter_rules: Some(filters) };
            let filtered = key.filter_rules.as_ref().is_some_and(|rules| !rules.is_empty());
            QueueConfiguration {
                id: Some(rule.id),
                queue_arn: rule.queue_arn,
                events: rule.events.into_iter().map(Event::from).collect(),
                filter: filtered.then_some(NotificationConfigurationFilter { key: Some(key) }),
            }
        })
        .collect();
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
        queue_configurations: (!shown.is_empty()).then_some(shown),
        ..GetBucketNotificationConfigurationOutput::default()
    }))
}
