//! The facts of a template: which of its resources are Millpond's is told by what the functions are told.

use serde_json::Value;

use super::buckets;
use super::doors;
use super::facts::{Bucket, Encryption, Facts, Policy, Queue, Redrive};
use super::functions;
use super::policy::Statement;
use super::template::{Resource, Template, is_symbolic, is_true, number, text_of, texts};
use crate::env;
use crate::failure;

/// What is known of the Millpond in a template.
pub fn facts(template: &Template) -> anyhow::Result<Facts> {
    let mut facts = Facts::default();
    let functions = functions::all(template, &mut facts.not_looked_at);
    let told = |name: &str| functions.iter().find_map(|function| function.environment.get(name)).cloned();
    let (Some(inbox), Some(outbox), Some(queue)) = (told(env::INBOX), told(env::OUTBOX), told(env::QUEUE_URL)) else {
        let hint =
            format!("functions are known by their variables {}, {}, {}", env::INBOX, env::OUTBOX, env::QUEUE_URL);
        return Err(failure::usage("the template has no function of Millpond's", hint).into());
    };
    facts.inbox = bucket(template, &inbox, &mut facts.not_looked_at);
    facts.outbox = bucket(template, &outbox, &mut facts.not_looked_at);
    facts.queue = queue_facts(template, &queue, &mut facts.not_looked_at);
    if let Some(redrive) = &facts.queue.redrive {
        let target = redrive.target_arn.clone();
        facts.dead_letter_queue = Some(queue_facts(template, &target, &mut facts.not_looked_at));
    }
    facts.doors = doors::all(template, &functions, &mut facts.not_looked_at);
    facts.functions = Some(functions);
    if !facts.mappings().any(|(function, _, queue)| function.role == "worker" && queue.arn == facts.queue.arn) {
        let title = &facts.queue.title;
        facts.not_looked_at.push(format!("the mapping of {title} to a worker: the template shows none"));
    }
    Ok(facts)
}

fn bucket(template: &Template, named: &str, not_looked_at: &mut Vec<String>) -> Bucket {
    let mut by_name = template.of_kind("AWS::S3::Bucket");
    let found = template
        .named(named)
        .or_else(|| by_name.find(|(_, bucket)| text_of(&bucket.properties["BucketName"]).as_deref() == Some(named)));
    let Some((id, resource)) = found.filter(|(_, resource)| resource.kind == "AWS::S3::Bucket") else {
        not_looked_at.push(format!("the bucket {named}: it is not in the template"));
        return Bucket { title: named.to_owned(), names: vec![named.to_owned()], ..Bucket::default() };
    };
    let properties = &resource.properties;
    let names = [format!("<{id}>")].into_iter().chain(text_of(&properties["BucketName"]));
    let block = &properties["PublicAccessBlockConfiguration"];
    if block.is_null() {
        let since = "the template leaves it to S3, which blocks it for buckets made since April 2023";
        not_looked_at.push(format!("public access to {id}: {since}"));
    }
    let rules = &properties["LifecycleConfiguration"]["Rules"];
    let lifecycle = buckets::lifecycle(rules);
    if lifecycle.is_none() {
        not_looked_at.push(format!("the lifecycle rules of {id}: their days are known only once it is deployed"));
    }
    let notifications = buckets::notifications(template, &properties["NotificationConfiguration"]);
    if notifications.elsewhere {
        not_looked_at.push(format!("events of {id} that go to SNS, Lambda or EventBridge"));
    }
    Bucket {
        title: id.to_owned(),
        names: names.collect(),
        id: Some(id.to_owned()),
        depends_on: resource.depends_on.clone(),
        notifications: Some(notifications),
        cors: Some(buckets::cors(&properties["CorsConfiguration"]["CorsRules"])),
        lifecycle,
        public_access_blocked: block.is_object().then(|| buckets::is_blocked(block)),
        kms_key: Some(buckets::kms_key(&properties["BucketEncryption"])),
        tells_absent: None,
    }
}

/// The queue with this URL or ARN.
fn named_queue<'a>(template: &'a Template, named: &str) -> Option<(&'a str, &'a Resource)> {
    let by_name = || {
        let mut queues = template.of_kind("AWS::SQS::Queue");
        let last = |name: String| named.ends_with(&format!(":{name}")) || named.ends_with(&format!("/{name}"));
        queues.find(|(_, queue)| text_of(&queue.properties["QueueName"]).is_some_and(last))
    };
    template.named(named).or_else(by_name).filter(|(_, resource)| resource.kind == "AWS::SQS::Queue")
}

/// How the facts spell a queue's ARN, however the template does.
pub fn queue_arn(template: &Template, value: &Value) -> String {
    let text = text_of(value).unwrap_or_default();
    named_queue(template, &text).map_or(text, |(id, _)| format!("<{id}.Arn>"))
}

fn queue_facts(template: &Template, named: &str, not_looked_at: &mut Vec<String>) -> Queue {
    let Some((id, resource)) = named_queue(template, named) else {
        not_looked_at.push(format!("the queue {named}: it is not in the template"));
        return Queue { title: named.to_owned(), arn: named.to_owned(), ..Queue::default() };
    };
    let properties = &resource.properties;
    // What SQS takes where the template is silent.
    // https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sqs-queue.html
    let visibility_s = known_number(properties, "VisibilityTimeout", 30, id, not_looked_at);
    let retention_s = known_number(properties, "MessageRetentionPeriod", 345_600, id, not_looked_at);
    let redrive = properties.get("RedrivePolicy").map(|policy| Redrive {
        target_arn: text_of(&policy["deadLetterTargetArn"]).unwrap_or_default(),
        max_receive_count: known_number(policy, "maxReceiveCount", 10, id, not_looked_at),
    });
    Queue {
        title: id.to_owned(),
        arn: format!("<{id}.Arn>"),
        visibility_s,
        retention_s,
        fifo: is_true(&properties["FifoQueue"]),
        redrive,
        encryption: Some(encryption(template, properties)),
        policy: Some(queue_policy(template, id)),
    }
}

fn encryption(template: &Template, properties: &Value) -> Encryption {
    match text_of(&properties["KmsMasterKeyId"]) {
        Some(key) => {
            let key_resource = template.named(&key).filter(|(_, resource)| resource.kind == "AWS::KMS::Key");
            let admits_s3 = key_resource.map(|(_, resource)| {
                let statements = Statement::all_of(&resource.properties["KeyPolicy"]);
                let allows = |action: &str| {
                    statements.iter().any(|statement| statement.is_for("s3.amazonaws.com") && statement.allows(action))
                };
                allows("kms:GenerateDataKey") && allows("kms:Decrypt")
            });
            Encryption::Kms { key, admits_s3 }
        }
        // SQS's own keys are what a new queue has.
        None if text_of(&properties["SqsManagedSseEnabled"]).as_deref() == Some("false") => Encryption::Off,
        None => Encryption::Sqs,
    }
}

fn queue_policy(template: &Template, queue: &str) -> Policy {
    let symbols = [format!("<{queue}>"), format!("<{queue}.QueueUrl>")];
    let mut policy = Policy::default();
    for (id, resource) in template.of_kind("AWS::SQS::QueuePolicy") {
        if texts(&resource.properties["Queues"]).iter().any(|url| symbols.contains(url)) {
            policy.ids.push(id.to_owned());
            policy.statements.extend(Statement::all_of(&resource.properties["PolicyDocument"]));
        }
    }
    policy
}

/// A number of a resource's; `default` where nothing is said. None, and noted, where only AWS knows.
pub fn known_number(
    properties: &Value,
    name: &str,
    default: u64,
    of: &str,
    not_looked_at: &mut Vec<String>,
) -> Option<u64> {
    let Some(text) = properties.get(name).and_then(text_of) else { return Some(default) };
    let known = number(&properties[name]);
    if known.is_none() {
        let why = if is_symbolic(&text) { "it is known only once it is deployed" } else { "it is no number" };
        not_looked_at.push(format!("{name} of {of}, {text}: {why}"));
    }
    known
}
