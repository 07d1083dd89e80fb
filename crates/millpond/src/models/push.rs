//! `millpond models push` and `alias`.

use std::process::ExitCode;
use std::time::Duration;

use cloud::StoreError;
use indicatif::ProgressBar;
use job::{ModelName, Version};
use registry::publish::Direction;
use registry::{PublishError, Published, Registry, RegistryError};
use serde_json::{Value, json};

use super::{check_bundle, parse_name};
use crate::place::S3Args;
use crate::{failure, terminal};

/// Arguments of `millpond models push`.
#[derive(clap::Args)]
#[command(after_help = "\
A bundle is checked first, as `models check` does. Its files are uploaded, model.toml last, and then the alias \
NAME/current is moved, so that running services take the new version whole, within seconds, and finish jobs in flight on \
the one before. Stop it at any point and the version before stays served; run it again and it goes on from there.

Versions never change: other bytes under a version that is there are refused. The alias never moves to a lower version; \
`millpond models alias` does that.

Credentials and region come from where every AWS tool looks: environment, profile, container or instance metadata.

  millpond models push wine-quality --to s3://my-models/models
  millpond models push wine-quality@2 --no-alias --to s3://my-models/models
  millpond models push --to s3://models --endpoints millpond-data/endpoints.json")]
pub struct PushArgs {
    /// What to push: NAME for the version that the folder serves, NAME@VERSION for another [default: every model]
    #[arg(value_name = "NAME[@VERSION]")]
    models: Vec<String>,
    /// Where it is: a folder, or s3://bucket/prefix
    #[arg(long = "models", value_name = "DIR|S3URL", default_value = "models")]
    from: String,
    /// Where it is to be served from: s3://bucket/prefix, or a folder
    #[arg(long, value_name = "S3URL|DIR")]
    to: String,
    /// Only upload; what is served stays (unless it is the model's first version)
    #[arg(long)]
    no_alias: bool,
    #[command(flatten)]
    s3: S3Args,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `millpond models alias`.
#[derive(clap::Args)]
#[command(after_help = "\
  millpond models alias wine-quality 1 --models s3://my-models/models     back to version 1")]
pub struct AliasArgs {
    /// The model
    name: String,
    /// The version to serve, higher or lower than the one before
    version: String,
    /// The registry: a folder, or s3://bucket/prefix
    #[arg(long, value_name = "DIR|S3URL", default_value = "models")]
    models: String,
    #[command(flatten)]
    s3: S3Args,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `millpond models push`
pub async fn push(args: PushArgs) -> anyhow::Result<ExitCode> {
    let from = args.s3.open(&args.from).await?;
    let models = chosen(&from, &args.models).await?;
    if models.is_empty() {
        anyhow::bail!("there are no models in {}", args.from);
    }
    // All of them, before the first one is served.
    for model in &models {
        let Published { name, version, .. } = &**model;
        check_bundle(&from, model).await.map_err(|error| error.context(format!("{name} {version} is not pushed")))?;
    }
    let to = args.s3.open_or_make(&args.to).await?;
    let mut pushed = Vec::new();
    for model in &models {
        pushed.push(push_one(&args, &from, &to, model).await?);
    }
    if args.json {
        println!("{}", Value::from(pushed));
    }
    Ok(ExitCode::SUCCESS)
}

async fn push_one(args: &PushArgs, from: &Registry, to: &Registry, model: &Published) -> anyhow::Result<Value> {
    let Published { name, version, .. } = model;
    let bar = terminal::upload_bar(&format!("{name} {version}"));
    bar.set_length(from.size_bytes(model).await?);
    // A file goes up in one piece: the bar stands still meanwhile, so its clock must not.
    bar.enable_steady_tick(Duration::from_millis(200));
    let copied = to.copy_from(from, model, &|_, bytes| ProgressBar::inc(&bar, bytes)).await;
    bar.finish_and_clear();
    let copied = copied.map_err(|error| explained(error, &args.to))?;
    let (written, there) = (copied.written, copied.there);
    if !args.json {
        println!("{name} {version}: {written} files uploaded, {there} were there already");
    }
    let mut report = json!({
        "name": name, "version": version,
        "files_uploaded": written, "bytes_uploaded": copied.written_bytes, "files_there": there,
    });
    if !args.no_alias {
        let before = to.move_alias(name, version, Direction::Forward).await;
        let before = before.map_err(|error| explained(error, &args.to))?;
        if !args.json {
            println!("{}", moved(name, version, before.as_ref()));
        }
        report["served_before"] = json!(before);
    }
    report["serves"] = json!(served(to, name).await);
    Ok(report)
}

/// `millpond models alias`
pub async fn alias(args: AliasArgs) -> anyhow::Result<ExitCode> {
    let name = parse_name(&args.name)?;
    let version = parse_version(&args.version)?;
    let registry = args.s3.open(&args.models).await?;
    let before = registry.move_alias(&name, &version, Direction::Any).await;
    let before = before.map_err(|error| explained(error, &args.models))?;
    if args.json {
        println!("{}", json!({"name": name, "serves": version, "served_before": before}));
    } else {
        println!("{}", moved(&name, &version, before.as_ref()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The versions that the arguments name.
async fn chosen(from: &Registry, wanted: &[String]) -> anyhow::Result<Vec<std::sync::Arc<Published>>> {
    let mut models = Vec::new();
    if wanted.is_empty() {
        for name in from.names().await? {
            models.extend(from.resolve(&name).await?);
        }
    }
    for wanted in wanted {
        let found = match wanted.split_once('@') {
            Some((name, version)) => from.version(&parse_name(name)?, &parse_version(version)?).await?,
            None => from.resolve(&parse_name(wanted)?).await?,
        };
        let hint = "`millpond models list` shows what is there";
        models.push(found.ok_or_else(|| failure::usage(format!("there is no model {wanted}"), hint))?);
    }
    Ok(models)
}

fn parse_version(version: &str) -> anyhow::Result<Version> {
    Ok(version.parse().map_err(|error: job::id::InvalidId| failure::usage(format!("{version:?} is {error}"), ""))?)
}

fn moved(name: &ModelName, version: &Version, before: Option<&Version>) -> String {
    match before {
        Some(before) if before == version => format!("{name} serves {version}, as before"),
        Some(before) => format!("{name} serves {version}; before, it served {before}"),
        None => format!("{name} serves {version}"),
    }
}

async fn served(registry: &Registry, name: &ModelName) -> Option<Version> {
    match registry.alias(name).await {
        Ok(Some(version)) => Some(version),
        _ => registry.resolve(name).await.ok().flatten().map(|model| model.version.clone()),
    }
}

/// The error with what to do about it.
fn explained(error: PublishError, place: &str) -> anyhow::Error {
    let (message, hint) = match &error {
        PublishError::Different { .. } => {
            ("the push was refused", "versions never change: give the new bundle a version of its own".to_owned())
        }
        PublishError::Backwards { name, version, .. } => (
            "the version was uploaded, but is not served",
            format!("`millpond models alias {name} {version} --models {place}` serves it all the same"),
        ),
        PublishError::Bucket(StoreError::NotFound)
        | PublishError::Registry(RegistryError::Bucket(StoreError::NotFound)) => {
            ("there is no such bucket", format!("make the bucket of {place} first"))
        }
        PublishError::Bucket(StoreError::Denied(_))
        | PublishError::Registry(RegistryError::Bucket(StoreError::Denied(_))) => {
            ("the credentials do not allow it", format!("{place} needs s3:ListBucket, s3:GetObject and s3:PutObject"))
        }
        PublishError::Directory(_)
        | PublishError::Bucket(_)
        | PublishError::Registry(_)
        | PublishError::Contended(_) => {
            return error.into();
        }
    };
    anyhow::Error::new(error).context(failure::hint(message, hint))
}
