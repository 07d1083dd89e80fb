//! `millpond keys`: who may call the API.

use std::process::ExitCode;
use std::sync::Arc;

use cloud::{Clock, OsEntropy, SystemClock};
use cloud_aws::Aws;
use job::Tenant;
use keys::{ApiKey, Entry, KeyId, KeyRing, KeysError, Place, Rate, Store};
use serde_json::json;

use crate::env;
use crate::failure;
use crate::place::S3Args;
use crate::terminal;

/// `millpond keys ...`
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a key and show it, this once; servers take it within seconds
    Add(AddArgs),
    /// List the keys by their ids; the keys themselves are kept nowhere
    List(ListArgs),
    /// Take a key away; servers refuse it within a minute
    Revoke(RevokeArgs),
}

/// Where the keys are.
#[derive(clap::Args)]
struct PlaceArgs {
    /// Where the keys are kept: a file, or s3://bucket/keys.json
    #[arg(long, env = env::KEYS, default_value = "keys.json", value_name = "FILE|S3URL")]
    keys: Place,
    #[command(flatten)]
    s3: S3Args,
}

impl PlaceArgs {
    async fn open(self) -> anyhow::Result<Store> {
        Ok(match self.keys {
            Place::File(path) => Store::file(path),
            Place::Object { bucket, key } => Store::object(Arc::new(self.s3.aws().await?.bucket(bucket)), key),
        })
    }
}

/// Arguments of `millpond keys add`.
#[derive(clap::Args)]
pub struct AddArgs {
    /// Whose it is: holders see the jobs of their tenant and no others
    #[arg(long, value_name = "TENANT")]
    tenant: Tenant,
    /// How many requests a second it may make; each process of the API counts by itself [default: as many as they like]
    #[arg(long, value_name = "NUMBER")]
    rate: Option<Rate>,
    /// What it is for, to be seen in the list
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `millpond keys list`.
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `millpond keys revoke`.
#[derive(clap::Args)]
pub struct RevokeArgs {
    /// The key's id, as `millpond keys list` has it
    id: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// `millpond keys`
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add(args) => add(args).await,
        Command::List(args) => list(args).await,
        Command::Revoke(args) => revoke(args).await,
    }
}

async fn add(args: AddArgs) -> anyhow::Result<ExitCode> {
    let store = args.place.open().await?;
    let key = ApiKey::generate(&OsEntropy);
    let entry = Entry { rate: args.rate, note: args.note, ..Entry::of(&key, args.tenant, SystemClock.now()) };
    let shown = entry.clone();
    store.edit(move |file| file.keys.push(entry.clone())).await?;
    if args.json {
        println!("{}", json!({"id": shown.id, "key": key.reveal(), "tenant": shown.tenant}));
    } else {
        // The key alone, so that a script can take it.
        println!("{}", key.reveal());
        eprintln!("Key {} of {} is in {}. It is shown this once.", shown.id, shown.tenant, store.name());
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let store = args.place.open().await?;
    let keys = store.read().await.map_err(missing)?.keys;
    if args.json {
        for Entry { id, tenant, rate, created_at, note, .. } in keys {
            println!("{}", json!({"id": id, "tenant": tenant, "rate": rate, "created_at": created_at, "note": note}));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = terminal::table(["id", "tenant", "a second", "created", "note"]);
    for Entry { id, tenant, rate, created_at, note, .. } in keys {
        let rate = rate.map_or_else(|| "any".to_owned(), |rate| rate.to_string());
        let created = created_at.strftime("%Y-%m-%d %H:%M").to_string();
        table.add_row([id.to_string(), tenant.to_string(), rate, created, note.unwrap_or_default()]);
    }
    println!("{}", table.trim_fmt());
    Ok(ExitCode::SUCCESS)
}

async fn revoke(args: RevokeArgs) -> anyhow::Result<ExitCode> {
    let store = args.place.open().await?;
    // Only what is there is edited, so that a mistyped place does not become one.
    store.read().await.map_err(missing)?;
    let id = KeyId::from(args.id.as_str());
    let revoked = store.edit(move |file| {
        let before = file.keys.len();
        file.keys.retain(|entry| entry.id != id);
        file.keys.len() < before
    });
    if !revoked.await? {
        let message = format!("there is no key {} at {}", args.id, store.name());
        return Err(failure::hint(message, "`millpond keys list` shows their ids").into());
    }
    eprintln!("Key {} is revoked; servers that know it refuse it within a minute.", args.id);
    Ok(ExitCode::SUCCESS)
}

/// Access for holders of the keys at this place, in this S3 if it is an object.
pub async fn access(place: Place, aws: &Aws) -> anyhow::Result<api::Access> {
    let store = Store::at(place, |bucket| Arc::new(aws.bucket(bucket)));
    Ok(api::Access::Keys(Arc::new(KeyRing::open(store).await.map_err(missing)?)))
}

/// Says how to make what is missing.
fn missing(error: KeysError) -> anyhow::Error {
    match &error {
        KeysError::Missing(_) => {
            let hint = "`millpond keys add --tenant NAME --keys FILE` makes the first one";
            failure::hint(error.to_string(), hint).into()
        }
        _ => error.into(),
    }
}
