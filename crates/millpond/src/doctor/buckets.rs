//! A bucket's settings, as a template writes them, in the shapes that S3 answers them in.

use cloud_aws::inspect::{CorsRule, LifecycleRule, Notifications, QueueNotification};
use serde_json::Value;

use super::stack::queue_arn;
use super::template::{Template, is_true, many, number, text_of, texts};

/// `NotificationConfiguration`.
pub fn notifications(template: &Template, configuration: &Value) -> Notifications {
    let queues = many(&configuration["QueueConfigurations"]).iter().map(|queue| {
        let rules = many(&queue["Filter"]["S3Key"]["Rules"]);
        let rule = |name: &str| {
            let is = |rule: &&Value| text_of(&rule["Name"]).is_some_and(|other| other.eq_ignore_ascii_case(name));
            rules.iter().find(is).and_then(|rule| text_of(&rule["Value"])).unwrap_or_default()
        };
        QueueNotification {
            queue_arn: queue_arn(template, &queue["Queue"]),
            events: texts(&queue["Event"]),
            prefix: rule("prefix"),
            suffix: rule("suffix"),
        }
    });
    let bridge = &configuration["EventBridgeConfiguration"];
    let has = |name: &str| !many(&configuration[name]).is_empty();
    Notifications {
        queues: queues.collect(),
        elsewhere: has("TopicConfigurations")
            || has("LambdaConfigurations")
            || (bridge.is_object() && text_of(&bridge["EventBridgeEnabled"]).as_deref() != Some("false")),
    }
}

/// `CorsRules`.
pub fn cors(rules: &Value) -> Vec<CorsRule> {
    let rule = |rule: &Value| CorsRule {
        origins: texts(&rule["AllowedOrigins"]),
        methods: texts(&rule["AllowedMethods"]),
        headers: texts(&rule["AllowedHeaders"]),
        exposed: texts(&rule["ExposedHeaders"]),
    };
    many(rules).iter().map(rule).collect()
}

/// `Rules` that delete something current; none if it is not known when.
pub fn lifecycle(rules: &Value) -> Option<Vec<LifecycleRule>> {
    // Millpond tags nothing.
    let ours = many(rules).iter().filter(|rule| rule["Status"] == "Enabled" && rule["TagFilters"].is_null());
    let mut all = Vec::new();
    for rule in ours {
        let days = match (&rule["ExpirationInDays"], &rule["ExpirationDate"]) {
            (Value::Null, Value::Null) => continue,
            (Value::Null, _) => 0,
            (days, _) => u32::try_from(number(days)?).unwrap_or(u32::MAX),
        };
        all.push(LifecycleRule { prefix: text_of(&rule["Prefix"]).unwrap_or_default(), days });
    }
    Some(all)
}

/// Whether `PublicAccessBlockConfiguration` blocks in all four ways; what is not said is off.
pub fn is_blocked(block: &Value) -> bool {
    let ways = ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"];
    ways.iter().all(|way| is_true(&block[way]))
}

/// The KMS key of `BucketEncryption`.
pub fn kms_key(encryption: &Value) -> Option<String> {
    let rules = many(&encryption["ServerSideEncryptionConfiguration"]);
    let default = rules.iter().map(|rule| &rule["ServerSideEncryptionByDefault"]).find(|rule| rule.is_object())?;
    let by_kms = text_of(&default["SSEAlgorithm"]).is_some_and(|algorithm| algorithm != "AES256");
    by_kms.then(|| text_of(&default["KMSMasterKeyID"]).unwrap_or_else(|| "alias/aws/s3".to_owned()))
}
