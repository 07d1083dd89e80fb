//! `millpond doctor`: checks a template, or what runs, for the pitfalls that no linter finds.

mod buckets;
mod checks;
mod document;
mod doors;
mod facts;
mod functions;
mod live;
mod policy;
mod stack;
mod template;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgMatches, FromArgMatches};
use cloud_aws::Aws;
use serde_json::json;

use self::checks::{Finding, Severity};
use self::facts::Facts;
use self::template::Template;
use crate::failure;
use crate::place;
use crate::service_place::PlaceArgs;

/// MiB of a function's memory for each vCPU.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MIB_PER_VCPU: u64 = 1769;

/// Arguments of `millpond doctor`.
#[derive(clap::Args)]
#[command(override_usage = "\
millpond doctor --template <FILE> [--parameter <NAME=VALUE>]... [--models <DIR|S3URL>]
       millpond doctor --queue-url <URL> --inbox <BUCKET> --outbox <BUCKET> [OPTIONS]
       millpond doctor --endpoints <FILE> [OPTIONS]")]
#[command(after_help = "\
For a template nothing is called. What runs is asked, and only --probe writes anything.

  millpond doctor --template infra/template.yaml --parameter WorkerTimeout=900
  millpond doctor --queue-url https://sqs.eu-west-1.amazonaws.com/1234/jobs --inbox in --outbox out
  millpond doctor --endpoints millpond-data/endpoints.json      a running `millpond up`

Exit codes: 0 no faults, 1 a fault, or it could not look, 2 called wrongly. Advice does not count.")]
pub struct Args {
    /// Check this CloudFormation or SAM template, YAML or JSON
    #[arg(long, value_name = "FILE", conflicts_with = "endpoints")]
    template: Option<PathBuf>,
    /// As if it were deployed with this parameter (repeat)
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter, requires = "template")]
    parameters: Vec<(String, String)>,
    /// Compare these models' limits with the template's timeout: a folder, or s3://bucket/prefix
    #[arg(long, value_name = "DIR|S3URL", requires = "template")]
    models: Option<String>,
    /// The timeout of the function that works on the queue, in seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "template")]
    function_timeout: Option<u64>,
    /// Try whether the outbox keeps the conditions of writes, by an object doctor/... that is deleted again
    #[arg(long, conflicts_with = "template")]
    probe: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceUnlessTemplate,
}

/// The place of a service, which a template stands in for.
struct PlaceUnlessTemplate(PlaceArgs);

impl clap::Args for PlaceUnlessTemplate {
    fn augment_args(command: clap::Command) -> clap::Command {
        let unless_template = |arg: clap::Arg| arg.required_unless_present_any(["endpoints", "template"]);
        let command = PlaceArgs::augment_args(command);
        ["queue_url", "inbox", "outbox"].iter().fold(command, |command, id| command.mut_arg(id, unless_template))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        PlaceArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for PlaceUnlessTemplate {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        PlaceArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `millpond doctor`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (subject, facts) = match &args.template {
        Some(path) => {
            let facts = of_template(path, &args.parameters, args.models.as_deref()).await?;
            (path.display().to_string(), facts)
        }
        None => {
            let place = args.place.0.resolve()?;
            let aws = Aws::connect(&place.endpoint).await;
            let mut facts = live::facts(&place, &aws).await?;
            facts.function_timeout_s = args.function_timeout;
            if args.probe {
                facts.broken_conditions = Some(live::broken_conditions(&aws.bucket(&place.outbox)).await?);
            } else {
                facts.not_looked_at.push("whether the conditions of writes are kept: `--probe` tries that".to_owned());
            }
            (facts.queue.title.clone(), facts)
        }
    };
    let findings = checks::all(&facts);
    if args.json {
        print_json(&facts, &findings)
    } else {
        print(&subject, &facts, &findings)
    }
    let fault = findings.iter().any(|finding| finding.severity == Severity::Fault);
    Ok(if fault { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn of_template(path: &Path, parameters: &[(String, String)], models: Option<&str>) -> anyhow::Result<Facts> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    // The error of whoever called keeps its exit code.
    let template = Template::read(&text, parameters).map_err(|error| match error.is::<failure::Hint>() {
        true => error,
        false => error.context(format!("cannot use {shown}")),
    })?;
    let mut facts = stack::facts(&template)?;
    if let Some(models) = models {
        facts.model_limits = model_limits(&facts, models).await?;
    }
    Ok(facts)
}

async fn model_limits(facts: &Facts, models: &str) -> anyhow::Result<Vec<String>> {
    let registry = match place::parse(models)? {
        registry::Place::Directory(path) => registry::Registry::directory(place::existing(&path)?),
        registry::Place::Bucket { bucket, prefix } => {
            let aws = Aws::connect(&place::s3_at(None)).await;
            registry::Registry::bucket(std::sync::Arc::new(aws.bucket(bucket)), prefix)
        }
    };
    let mut limits = Vec::new();
    for function in facts.functions_of("worker") {
        let vcpus = function.memory_mib.unwrap_or_default().div_ceil(MIB_PER_VCPU).max(1);
        for mapping in &function.mappings {
            let (Some(timeout_s), Some(batch)) = (function.timeout_s, mapping.batch_size) else { continue };
            let batch = u32::try_from(batch).unwrap_or(u32::MAX);
            let parallel = usize::try_from(vcpus).unwrap_or(1);
            let timeout = Duration::from_secs(timeout_s);
            limits.extend(
                worker::limits_too_long(&registry, batch, parallel, timeout).await.context("cannot read the models")?,
            );
        }
    }
    Ok(limits)
}

fn print(subject: &str, facts: &Facts, findings: &[Finding]) {
    for finding in findings {
        let severity = match finding.severity {
            Severity::Fault => "fault",
            Severity::Advice => "advice",
        };
        println!("{severity} {}: {}", finding.code, finding.found);
        println!("  breaks: {}", finding.breaks);
        println!("  mend:   {}", finding.mend);
        if let Some(source) = finding.source {
            println!("  see:    {source}");
        }
        println!();
    }
    for what in &facts.not_looked_at {
        println!("not looked at: {what}");
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let faults = match count(Severity::Fault) {
        0 => "no faults".to_owned(),
        1 => "1 fault".to_owned(),
        many => format!("{many} faults"),
    };
    let advice = match count(Severity::Advice) {
        0 => String::new(),
        many => format!(", advice: {many}"),
    };
    println!("{subject}: {faults}{advice}");
}

fn print_json(facts: &Facts, findings: &[Finding]) {
    for finding in findings {
        let mut line = json!(finding);
        line["kind"] = json!("finding");
        println!("{line}");
    }
    for what in &facts.not_looked_at {
        println!("{}", json!({"kind": "not_looked_at", "what": what}));
    }
}
