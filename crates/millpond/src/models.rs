//! `millpond models list`, `check` and `add`; [`run`], [`push`] and `alias` are beside.

mod push;
mod run;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bundle::manifest::Input;
use infer::draft::{Choices, DraftError, Pixels, Task};
use job::{ModelName, Version};
use registry::{Published, Registry};
use serde_json::json;

use crate::failure;
use crate::place::S3Args;
use crate::terminal;

/// What can be done with models.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the models of a folder or a bucket
    List(ListArgs),
    /// Check every bundle of a folder or a bucket: manifest, digests, and its golden examples' answers
    Check(CheckArgs),
    /// Make a bundle from a trained model's file, so that it is served
    Add(Box<AddArgs>),
    /// Run a model once on this machine, without a service, and print its answer
    Run(run::RunArgs),
    /// Copy versions to where services read them, and have them served
    Push(push::PushArgs),
    /// Have another version served: back to an earlier one, say
    Alias(push::AliasArgs),
}

/// Where the models are that are looked at.
#[derive(clap::Args)]
pub struct RegistryArgs {
    /// The models: a folder, or s3://bucket/prefix
    #[arg(long, value_name = "DIR|S3URL", default_value = "models")]
    models: String,
    #[command(flatten)]
    s3: S3Args,
}

/// Where the models are.
#[derive(clap::Args)]
pub struct ModelsDir {
    /// The folder of models
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
}

/// Arguments of `millpond models list`.
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    registry: RegistryArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `millpond models check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    /// Only this model
    name: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Arguments of `millpond models add`.
#[derive(clap::Args)]
pub struct AddArgs {
    /// The model's file: XGBoost, as JSON or UBJ (`model.save_model("model.ubj")`), its dump, as JSON
    /// (`booster.dump_model("dump.json", dump_format="json")`), LightGBM, as text
    /// (`booster.save_model("model.txt")`), scikit-learn's trees and text classifiers (models/train/export_sklearn.py,
    /// export_tfidf.py), any net or trees as ONNX (`torch.onnx.export`, skl2onnx), or a network's weights, as safetensors
    /// or as PyTorch saved them before 1.6
    file: PathBuf,
    /// What the model will be called: lower-case letters, digits and hyphens
    #[arg(long, short)]
    name: String,
    /// The version's label [default: one more than the highest]
    #[arg(long)]
    version: Option<String>,
    /// A few words about it
    #[arg(long)]
    title: Option<String>,
    /// What a network does, where its file does not tell: names (the character RNN of the PyTorch tutorial), image-to-image,
    /// image-classification, text-classification, or tensors (any ONNX net)
    #[arg(long)]
    task: Option<Task>,
    /// How samples of pictures become a net's numbers, as it was trained: 0..1, 0..255, -1..1, or imagenet (0..1, less
    /// ImageNet's mean, divided by its standard deviation)
    #[arg(long, allow_hyphen_values = true, value_name = "RANGE")]
    pixels: Option<Pixels>,
    /// The `tokenizer.json` of a net that takes texts
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// The letters that a model of names knows, in its order: a text file, or the letters themselves
    #[arg(long, value_name = "FILE|TEXT", allow_hyphen_values = true)]
    alphabet: Option<String>,
    /// The categories that a model of names knows, in its order
    #[arg(long, value_delimiter = ',', value_name = "A,B,...")]
    categories: Option<Vec<String>>,
    /// Names of its features, for a file that has none
    #[arg(long, value_delimiter = ',', value_name = "A,B,...")]
    features: Option<Vec<String>>,
    /// Labels of its classes, in order [default: the file's own, or 0,1,...]
    #[arg(long, value_delimiter = ',', value_name = "A,B,...")]
    labels: Option<Vec<String>>,
    /// What an XGBoost model was trained for, for a dump, which does not say: `reg:squarederror`, `binary:logistic`, ...
    #[arg(long)]
    objective: Option<String>,
    /// Where a dump's sums start, in the space of its answers; for several classes one number each
    #[arg(long, value_name = "X[,Y,...]", allow_hyphen_values = true)]
    base_score: Option<String>,
    /// Under which terms it may be used
    #[arg(long)]
    licence: Option<String>,
    #[command(flatten)]
    dir: ModelsDir,
}

/// `millpond models ...`
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args).await,
        Command::Check(args) => check(args).await,
        Command::Add(args) => add(*args).await,
        Command::Run(args) => run::run(args).await,
        Command::Push(args) => push::push(args).await,
        Command::Alias(args) => push::alias(args).await,
    }
}

impl RegistryArgs {
    async fn open(&self) -> anyhow::Result<Registry> {
        self.s3.open(&self.models).await
    }
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let registry = args.registry.open().await?;
    let mut table = terminal::table(["model", "serves", "versions", "title"]);
    let mut all = Vec::new();
    for name in registry.names().await? {
        let versions: Vec<String> = registry.versions(&name).await?.iter().map(Version::to_string).collect();
        let (serves, title) = match registry.resolve(&name).await {
            Ok(Some(model)) => (model.version.to_string(), model.manifest.title.clone()),
            // A folder without versions is no model.
            Ok(None) => continue,
            Err(error) => ("-".to_owned(), error.reason()),
        };
        table.add_row([name.as_str(), &serves, &versions.join(" "), &title]);
        all.push(json!({"name": name, "serves": serves, "versions": versions, "title": title}));
    }
    if args.json {
        println!("{}", serde_json::Value::from(all));
    } else {
        println!("{}", table.trim_fmt());
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let registry = args.registry.open().await?;
    let names: Vec<ModelName> = match &args.name {
        Some(name) => vec![parse_name(name)?],
        None => registry.names().await?.into_iter().collect(),
    };
    let mut faults = 0;
    let mut checked = 0;
    for name in names {
        let versions = registry.versions(&name).await?;
        if versions.is_empty() && args.name.is_some() {
            anyhow::bail!("there is no model {name} in {}", args.registry.models);
        }
        for version in versions {
            let outcome = match registry.version(&name, &version).await {
                Ok(Some(model)) => check_bundle(&registry, &model).await,
                Ok(None) => Err(anyhow::anyhow!("it has no model.toml")),
                Err(error) => Err(error.into()),
            };
            checked += 1;
            match outcome {
                Ok(examples) => println!("{name} {version}: good (golden examples: {examples})"),
                Err(error) => {
                    faults += 1;
                    println!("{name} {version}: {error:#}");
                }
            }
        }
    }
    anyhow::ensure!(faults == 0, "not usable: {faults} of {checked} bundles");
    Ok(ExitCode::SUCCESS)
}

/// Checks digests and goldens; returns how many examples there were.
async fn check_bundle(registry: &Registry, model: &Published) -> anyhow::Result<usize> {
    let files: HashMap<_, _> = registry.files(model).await?;
    infer::check_goldens(&model.manifest, &files)?;
    Ok(model.manifest.goldens.len())
}

async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    let name = parse_name(&args.name)?;
    let bytes = read(args.file.clone())?;
    let dir = &args.dir.models;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let registry = Registry::directory(dir);
    let versions = registry.versions(&name).await?;
    let version = match &args.version {
        Some(version) => version.parse::<Version>().map_err(|error| failure::usage(error.to_string(), ""))?,
        None => next_version(&versions)?,
    };
    if versions.contains(&version) {
        let message = format!("model {name} already has a version {version}");
        return Err(failure::usage(message, "versions never change; choose another with --version").into());
    }
    let choices = Choices {
        name: name.to_string(),
        version: version.to_string(),
        title: args.title,
        labels: args.labels,
        features: args.features,
        licence: args.licence,
        task: args.task,
        alphabet: args.alphabet.map(file_or_text).transpose()?,
        categories: args.categories,
        pixels: args.pixels,
        tokenizer: args.tokenizer.map(read).transpose()?,
        objective: args.objective,
        base_score: args.base_score,
    };
    let refused = |error: DraftError| match &error {
        DraftError::FeaturesNeeded { .. } | DraftError::Unsaid(_) | DraftError::Contradiction(_) => {
            anyhow::Error::new(failure::usage(error.to_string(), ""))
        }
        DraftError::Load(_) | DraftError::Example(_) => {
            anyhow::Error::new(error).context(format!("cannot add {}", args.file.display()))
        }
    };
    let (file, bytes) = infer::draft::prepare(&bytes, &choices).map_err(refused)?;
    let manifest = infer::draft(file, &bytes, &choices).map_err(refused)?;
    let manifest_text = manifest.to_toml();
    let mut files = choices.files();
    files.extend([(file, &bytes[..]), ("model.toml", manifest_text.as_bytes())]);
    write_bundle(dir, &name, &version, &files)?;

    let takes = match &manifest.input {
        Input::Table(schema) => format!("{} columns", schema.columns.len()),
        Input::StartLetters(schema) => {
            format!("{} categories, {} letters", schema.categories.len(), schema.alphabet.chars().count())
        }
        Input::Tensors(schema) => format!("{} tensors", schema.inputs.len()),
        Input::Texts(schema) => format!("up to {} texts", schema.max_texts),
        Input::Image(schema) => format!("pictures of at most {} pixels", schema.max_pixels),
    };
    println!("added {name} {version} to {}: {takes}", dir.display());
    match manifest.goldens.first() {
        Some(example) => println!("it takes {}\nand answers {}", example.input, example.output),
        None => println!("it takes JPEG, PNG or WebP: `millpond submit photo.jpg --model {name} --wait`"),
    }
    println!("a running `millpond up --models {}` serves it within seconds", dir.display());
    Ok(ExitCode::SUCCESS)
}

fn read(file: PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// The content of the file of this name, its last line feed left out; where there is none, the text itself.
fn file_or_text(given: String) -> anyhow::Result<String> {
    if !Path::new(&given).is_file() {
        return Ok(given);
    }
    let text = std::fs::read_to_string(&given).with_context(|| format!("cannot read {given}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Writes the folder under another name first: a registry that is being read shows whole bundles only.
fn write_bundle(dir: &Path, name: &ModelName, version: &Version, files: &[(&str, &[u8])]) -> anyhow::Result<()> {
    let parent = dir.join(name.as_str());
    let cannot = || format!("cannot write to {}", parent.display());
    std::fs::create_dir_all(&parent).with_context(cannot)?;
    let staging = tempfile::Builder::new().prefix(".adding-").tempdir_in(&parent).with_context(cannot)?;
    for (file, bytes) in files {
        let mut writer = std::fs::File::create(staging.path().join(file)).with_context(cannot)?;
        writer.write_all(bytes).and_then(|()| writer.sync_all()).with_context(cannot)?;
    }
    // Temporary folders are private; bundles are as readable as anything else here.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(staging.path(), std::fs::Permissions::from_mode(0o755)).with_context(cannot)?;
    }
    let staged = staging.keep();
    std::fs::rename(&staged, parent.join(version.as_str()))
        .inspect_err(|_| drop(std::fs::remove_dir_all(&staged)))
        .with_context(cannot)
}

fn next_version(versions: &[Version]) -> anyhow::Result<Version> {
    let highest = versions.iter().filter_map(|version| version.as_str().parse::<u64>().ok()).max();
    if highest.is_none() && !versions.is_empty() {
        return Err(
            failure::usage("the model's versions are no plain numbers", "name the new one with --version").into()
        );
    }
    Ok((highest.unwrap_or(0) + 1).to_string().parse()?)
}

fn parse_name(name: &str) -> anyhow::Result<ModelName> {
    Ok(name.parse().map_err(|error: job::id::InvalidId| failure::usage(format!("{name:?} is {error}"), ""))?)
}
