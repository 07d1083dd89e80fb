//! All that `infra/template.yaml` makes, on this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::{Condition, GetOptions, ObjectStore, OsEntropy, PutOptions, Queue, StoreError, SystemClock};
use cloud_aws::{Aws, Endpoint, StaticCredentials};
use ledger::Ledger;
use local_cloud::{Config, LocalCloud, Stack};
use serde_json::{Value, json};

use crate::emulator::{Emulator, Tools};
use crate::events::Samples;
use crate::gate::Gate;
use crate::installed::{PATIENCE, root};
use crate::permissions::{Policy, Record};
use crate::template::{REGION, Template, number, text};

const ACCESS_KEY: &str = "AKIAEXAMPLE";
const SECRET_KEY: &str = "secret";

/// What all cases share.
#[derive(Clone)]
pub struct Setting {
    pub tools: Tools,
    pub samples: Arc<Samples>,
    pub record: Record,
}

/// One stack, of the template under some parameters.
pub struct World {
    pub setting: Setting,
    pub template: Template,
    pub inbox: Arc<dyn ObjectStore>,
    pub outbox: Arc<dyn ObjectStore>,
    pub models: Arc<dyn ObjectStore>,
    pub jobs: Arc<dyn Queue>,
    pub http: reqwest::Client,
    gates: BTreeMap<&'static str, Gate>,
    _cloud: LocalCloud,
    folder: tempfile::TempDir,
}

pub const FUNCTIONS: [&str; 4] = ["Worker", "DeadLetters", "Sweep", "Api"];

impl World {
    /// Models come from their bucket, since that takes more permissions.
    pub async fn start(setting: &Setting, parameters: &[(&str, &str)]) -> Self {
        Self::start_with(setting, parameters, Duration::ZERO, |_| ()).await
    }

    /// With a storage whose clock is late by `age`, and so with objects that are as old; and with other settings of the queues.
    pub async fn start_with(
        setting: &Setting,
        parameters: &[(&str, &str)],
        age: Duration,
        change: impl FnOnce(&mut Stack),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::new(folder.path().join("cloud"), ACCESS_KEY, SECRET_KEY);
        let now = config.clock.clone();
        config.clock = Arc::new(move || now() - age);
        let cloud = LocalCloud::start(config).await.expect("a local cloud");
        let parameters: Vec<_> = parameters.iter().copied().chain([("Models", "bucket")]).collect();
        let template = Template::new(&parameters, &cloud.sqs_endpoint());
        let mut stack = stack(&template);
        change(&mut stack);
        cloud.provision(&stack).await.expect("a stack");
        let credentials = StaticCredentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
        let aws = Aws::connect(&Endpoint {
            region: Some(REGION.into()),
            s3_url: Some(cloud.s3_endpoint()),
            sqs_url: Some(cloud.sqs_endpoint()),
            credentials: Some(credentials),
            force_path_style: true,
        })
        .await;
        let mut gates = BTreeMap::new();
        for function in FUNCTIONS {
            let (s3, sqs) = (cloud.s3_endpoint(), cloud.sqs_endpoint());
            let policy = Policy::of(&template, function);
            gates.insert(function, Gate::open(function, policy, setting.record.clone(), s3, sqs).await);
        }
        let bucket = |name: &str| -> Arc<dyn ObjectStore> { Arc::new(aws.bucket(template.reference(name))) };
        let (inbox, outbox, models) = (bucket("Inbox"), bucket("Outbox"), bucket("ModelsBucket"));
        push(&*models).await;
        let jobs = Arc::new(aws.queue(template.reference("JobQueue")));
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(PATIENCE).build().expect("an HTTP client");
        Self { setting: setting.clone(), template, inbox, outbox, models, jobs, http, gates, _cloud: cloud, folder }
    }

    /// A function, with the variables, timeout and memory that the template gives it.
    pub async fn function(&self, name: &str) -> Emulator {
        self.function_within(name, Duration::from_secs(number(&self.template.function(name)["Timeout"]))).await
    }

    /// The same, with another timeout.
    pub async fn function_within(&self, name: &str, timeout: Duration) -> Emulator {
        let function = self.template.function(name);
        let gate = self.gates[name].url();
        let mut variables: BTreeMap<String, String> = function["Environment"]["Variables"]
            .as_object()
            .expect("variables")
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        let lambda = [
            ("AWS_LAMBDA_FUNCTION_NAME", name.to_owned()),
            ("AWS_LAMBDA_FUNCTION_TIMEOUT", timeout.as_secs().to_string()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", text(&function["MemorySize"])),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_ENDPOINT_URL_S3", gate.clone()),
            ("AWS_ENDPOINT_URL_SQS", gate),
        ];
        variables.extend(lambda.map(|(name, value)| (name.to_owned(), value)));
        Emulator::start(&self.setting.tools, &variables, self.folder.path()).await
    }

    /// A queue as the event source mapping of a function reaches it: with the function's role.
    pub async fn queue_of(&self, function: &str, queue: &str) -> Arc<dyn Queue> {
        let gate = self.gates[function].url();
        let credentials = StaticCredentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
        let endpoint = Endpoint {
            region: Some(REGION.into()),
            s3_url: None,
            sqs_url: Some(gate),
            credentials: Some(credentials),
            force_path_style: true,
        };
        Arc::new(Aws::connect(&endpoint).await.queue(self.template.reference(queue)))
    }

    /// The job records, past all functions.
    pub fn ledger(&self) -> Ledger {
        let (inbox, outbox) = (self.inbox.clone(), self.outbox.clone());
        Ledger::new(inbox, outbox, self.jobs.clone(), Arc::new(SystemClock), Arc::new(OsEntropy))
    }

    /// Drops a file; the job that it becomes.
    pub async fn drop_file(&self, model: &str, path: &str, body: impl Into<Vec<u8>>) -> Dropped {
        let key = format!("drop/{model}/{path}");
        self.inbox.put(&key, body.into().into(), PutOptions::default()).await.expect("a written file");
        let meta = self.inbox.head(&key).await.expect("the file");
        let job = job::JobId::for_dropped_file(self.inbox.bucket(), &key, &meta.etag, meta.last_modified);
        let body = self.setting.samples.s3_put(self.inbox.bucket(), &key, meta.etag.unquoted(), meta.size_bytes);
        Dropped { job, event: body }
    }

    /// An object of the outbox as JSON; null if it is not there.
    pub async fn document(&self, key: &str) -> Value {
        match self.outbox.get(key, GetOptions::default()).await {
            Ok(object) => serde_json::from_slice(&object.body).expect("JSON"),
            Err(StoreError::NotFound) => Value::Null,
            Err(error) => panic!("{key}: {error}"),
        }
    }

    /// How a job has ended: `succeeded`, `failed: timed_out`, and the like; `open` if it has not.
    pub async fn end_of(&self, job: job::JobId) -> String {
        let outcome = self.document(&job::layout::outcome_key(job)).await;
        match (outcome["state"].as_str(), outcome["error"]["code"].as_str()) {
            (Some(state), Some(code)) => format!("{state}: {code}"),
            (Some(state), None) => state.to_owned(),
            (None, _) => "open".to_owned(),
        }
    }

    /// Waits until this is so.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so().await {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it; fails if any function tried what its role may not do.
    pub fn end(self) {
        for (function, gate) in &self.gates {
            assert_eq!(gate.refused(), [], "{function} was refused these");
        }
    }
}

/// A file that was dropped, and what S3 tells of it.
pub struct Dropped {
    pub job: job::JobId,
    pub event: Value,
}

fn stack(template: &Template) -> Stack {
    let queue = |name: &str| template.reference(name).rsplit('/').next().expect("a name").to_owned();
    let (jobs, dead) = (template.properties("JobQueue"), template.properties("DeadLetterQueue"));
    let seconds = |value: &Value| Duration::from_secs(number(value));
    let inbox = template.properties("Inbox");
    let rules = inbox["NotificationConfiguration"]["QueueConfigurations"].as_array().expect("rules");
    Stack {
        inbox: template.reference("Inbox"),
        outbox: template.reference("Outbox"),
        models: Some(template.reference("ModelsBucket")),
        queue: queue("JobQueue"),
        dead_letter_queue: queue("DeadLetterQueue"),
        visibility_timeout: seconds(&jobs["VisibilityTimeout"]),
        max_receive_count: number(&jobs["RedrivePolicy"]["maxReceiveCount"]).try_into().expect("a count"),
        retention: seconds(&jobs["MessageRetentionPeriod"]),
        dead_letter_retention: seconds(&dead["MessageRetentionPeriod"]),
        notification_prefixes: rules.iter().map(|rule| text(&rule["Filter"]["S3Key"]["Rules"][0]["Value"])).collect(),
    }
}

/// The samples' models, a net that does not stop, and one over which the engine panics.
async fn push(models: &dyn ObjectStore) {
    for name in ["wine-quality", "moons"] {
        let folder = root().join("models").join(name).join("1");
        for file in std::fs::read_dir(&folder).expect("a bundle").map(|file| file.expect("a file")) {
            let body = std::fs::read(file.path()).expect("a file");
            put(models, &format!("{name}/1/{}", file.file_name().display()), body).await;
        }
    }
    let x = r#"{ name = "x", datatype = "FP32", shape = [1] }"#;
    let shape = r#"{ name = "shape", datatype = "INT64", shape = [2] }"#;
    for (name, input) in [("slow", x), ("panic", shape)] {
        let file = format!("{name}.onnx");
        let net = std::fs::read(Path::new(&root()).join("tests/fixtures").join(&file)).expect("the net");
        let manifest = format!(
            r#"format = 1
name = "{name}"
version = "1"
title = "For tests"
engine = {{ format = "onnx", file = "{file}" }}
input = {{ kind = "tensors", inputs = [{input}] }}
output = {{ kind = "tensors", outputs = [{{ name = "y", datatype = "FP32", shape = [1] }}] }}
limits = {{ max_seconds = 60 }}
[files]
"{file}" = "{}"
"#,
            job::Sha256::of(&net),
        );
        put(models, &format!("{name}/1/{file}"), net).await;
        put(models, &format!("{name}/1/model.toml"), manifest.into_bytes()).await;
    }
}

async fn put(models: &dyn ObjectStore, path: &str, body: Vec<u8>) {
    let options = PutOptions { condition: Condition::Absent, ..PutOptions::default() };
    models.put(&format!("models/{path}"), body.into(), options).await.expect("a pushed file");
}

/// Inputs of the four models.
pub fn wine() -> Value {
    let text = std::fs::read(root().join("samples/wine-quality/wines.json")).expect("the sample");
    serde_json::from_slice(&text).expect("JSON")
}

pub fn slow() -> Value {
    json!({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0.001]}]})
}

/// A tensor of more bytes than there are addresses.
pub fn poison() -> Value {
    json!({"inputs": [{"name": "shape", "shape": [2], "datatype": "INT64", "data": [2_147_483_647, 2_147_483_647]}]})
}
