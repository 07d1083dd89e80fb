//! What stands in for AWS: `millpond up` has S3 and SQS and does the work, and moto the other services, with a stack that has the
//! outputs of `infra/template.yaml`.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::document::{template_names, text, words_after};
use crate::support::{Installed, PATIENCE, Up, bare, cache, log_of, present};

pub const MODELS_BUCKET: &str = "millpond-models";

/// Where the programs lie that the document has its reader install.
pub struct Tools {
    pub folders: [PathBuf; 2],
    moto: PathBuf,
}

impl Tools {
    /// None where they are missing, which it says.
    pub fn installed() -> Option<Self> {
        let bin = |environment: &str| cache().join(environment).join("bin");
        let (folders, moto) = ([bin("infra"), bin("clients")], bin("moto").join("moto_server"));
        let files = [folders[0].join("sam"), folders[1].join("aws"), moto.clone()];
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        present("the AWS CLI, the SAM CLI and moto", Installed::InCi, &files).then_some(Self { folders, moto })
    }
}

/// A process, ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct StandIns {
    pub up: Up,
    /// The API as it is with `HttpApiAuthorization=API_KEYS`.
    pub api_with_keys: String,
    pub moto: String,
    _running: [Running; 2],
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

fn start(command: &mut Command, port: u16, log: &Path) -> Running {
    let output = std::fs::File::create(log).expect("a log");
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("a log")).stderr(output);
    let mut running = Running(command.spawn().expect("it starts"));
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        let ended = running.0.try_wait().expect("a child");
        assert!(ended.is_none() && Instant::now() < deadline, "{command:?} is not ready:\n{}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}

impl StandIns {
    pub async fn start(tools: &Tools, folder: &Path) -> Self {
        let (data, registry) = (folder.join("data"), format!("s3://{MODELS_BUCKET}/models"));
        let up = Up::start_with(&data, Path::new(&registry), &[]).await;
        let (endpoints, keys) = (data.join("endpoints.json"), format!("s3://{MODELS_BUCKET}/keys.json"));
        let endpoints = endpoints.to_str().expect("a path");
        // Unlike the function, it does not start before there is one.
        let mut first = Command::new(env!("CARGO_BIN_EXE_millpond"));
        first.args(["keys", "add", "--tenant", "other", "--keys", &keys, "--endpoints", endpoints]);
        assert!(first.output().expect("it runs").status.success());
        let (keyed, moto) = (free_port(), free_port());
        let mut api = Command::new(env!("CARGO_BIN_EXE_millpond"));
        api.args(["api", "--models", &registry, "--keys", &keys, "--endpoints", endpoints])
            .args(["--listen", &format!("127.0.0.1:{keyed}")]);
        let mut server = bare(&tools.moto);
        server.args(["-H", "127.0.0.1", "-p", &moto.to_string()]);
        let running =
            [start(&mut api, keyed, &folder.join("api.log")), start(&mut server, moto, &folder.join("moto.log"))];
        let url = |port| format!("http://127.0.0.1:{port}");
        let stand_ins = Self { up, api_with_keys: url(keyed), moto: url(moto), _running: running };
        stand_ins.make_stack(tools, folder);
        stand_ins
    }

    /// What a bare command needs to find them, in place of credentials for AWS.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |name| self.up.text(name).to_owned();
        vec![
            ("AWS_ACCESS_KEY_ID", text("access_key")),
            ("AWS_SECRET_ACCESS_KEY", text("secret_key")),
            ("AWS_ENDPOINT_URL", self.moto.clone()),
            ("AWS_ENDPOINT_URL_S3", text("s3")),
            ("AWS_ENDPOINT_URL_SQS", text("sqs")),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SAM_CLI_TELEMETRY", "0".to_owned()),
        ]
    }

    /// A stack with the template's buckets, log groups and outputs. The job queue hides messages as long as the template's does.
    fn make_stack(&self, tools: &Tools, folder: &Path) {
        let template = text("infra/template.yaml");
        let mut resources = serde_json::Map::new();
        for (id, bucket) in
            [("Inbox", self.up.text("inbox")), ("Outbox", self.up.text("outbox")), ("ModelsBucket", MODELS_BUCKET)]
        {
            resources.insert(id.to_owned(), json!({"Type": "AWS::S3::Bucket", "Properties": {"BucketName": bucket}}));
        }
        for (number, group) in words_after(&template, "/aws/lambda/${AWS::StackName}/").enumerate() {
            let name = format!("/aws/lambda/millpond/{group}");
            let group = json!({"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}});
            resources.insert(format!("Logs{number}"), group);
        }
        let value = |name: &str| match name {
            "ApiUrl" => self.up.text("api").to_owned(),
            "Inbox" => self.up.text("inbox").to_owned(),
            "Outbox" => self.up.text("outbox").to_owned(),
            "ModelsBucket" => MODELS_BUCKET.to_owned(),
            "JobQueueUrl" => self.up.text("queue_url").to_owned(),
            "DeadLetterQueueUrl" => self.up.text("dead_letter_queue_url").to_owned(),
            other => format!("the {other}"),
        };
        let outputs = template_names("Outputs").into_iter().map(|name| {
            let value = json!({"Value": value(&name)});
            (name, value)
        });
        let stack = json!({"Resources": resources, "Outputs": outputs.collect::<serde_json::Map<String, Value>>()});
        let path = folder.join("stack.json");
        std::fs::write(&path, stack.to_string()).expect("a template");
        let body = format!("file://{}", path.display());
        self.aws(tools, &["cloudformation", "create-stack", "--stack-name", "millpond", "--template-body", &body]);
        // Version 1 of the CLI would call SQS's old address, whatever the variable says.
        let at = ["--endpoint-url", self.up.text("sqs"), "--queue-url", self.up.text("queue_url")];
        let hidden = ["--attributes", r#"{"VisibilityTimeout": "720"}"#];
        self.aws(tools, &[&["sqs", "set-queue-attributes"][..], &at, &hidden].concat());
    }

    /// Runs the AWS CLI; what it printed.
    pub fn aws(&self, tools: &Tools, arguments: &[&str]) -> String {
        let mut command = bare(tools.folders[1].join("aws"));
        command.args(arguments).envs(self.variables()).env("AWS_DEFAULT_REGION", "us-east-1");
        log_of(&mut command, PATIENCE)
    }
}
