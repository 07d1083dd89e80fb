//! `millpond sweep` and `millpond dead-letters`: for whoever runs a service.

use std::process::ExitCode;

use anyhow::Context;
use cloud::{GetOptions, StoreError};
use cloud_aws::Aws;
use job::layout;
use ledger::Ledger;
use serde_json::json;
use worker::{DeadRecord, Sweep};

use crate::client::Client;
use crate::config::ApiArgs;
use crate::env;
use crate::failure;
use crate::service_place::PlaceArgs;
use crate::terminal;

/// How many records one listing brings.
const PAGE: usize = 1000;
/// A message has at most 1 MiB, and its record little more.
const MAX_RECORD_BYTES: u64 = 8 << 20;

/// Arguments of `millpond sweep`.
#[derive(clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Whose jobs dropped files are
    #[arg(long, env = env::TENANT, default_value = "default")]
    tenant: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `millpond sweep`
pub async fn sweep(args: SweepArgs) -> anyhow::Result<ExitCode> {
    crate::logging::start_brief();
    let drop_tenant = args.tenant.parse().map_err(|error: job::id::InvalidId| failure::usage(error.to_string(), ""))?;
    let place = args.place.resolve()?;
    let ledger = place.ledger(&Aws::connect(&place.endpoint).await);
    let settings = worker::Settings { drop_tenant, ..worker::Settings::default() };
    let found = Sweep::new(ledger, settings).sweep_once().await;
    if args.json {
        let worker::SweepReport { open, expired, silent, dropped, faults } = found;
        println!(
            "{}",
            json!({"open": open, "expired": expired, "silent": silent, "dropped": dropped, "faults": faults})
        );
    } else {
        println!(
            "{} open jobs: {} past their deadline were ended, {} without a sign of life sent again; {} dropped files without a \
             job sent",
            found.open, found.expired, found.silent, found.dropped
        );
    }
    if found.faults > 0 {
        let message = format!("{} could not be looked at", found.faults);
        return Err(failure::hint(message, "the log says why; sweep again, which does no harm").into());
    }
    Ok(ExitCode::SUCCESS)
}

/// `millpond dead-letters ...`
#[derive(clap::Subcommand)]
pub enum DeadLetters {
    /// List the messages that were given up
    List(ListArgs),
    /// Show one of them, whole
    Show(RecordArgs),
    /// Send one again, once what was wrong is mended: the job that it names is retried, any other message goes to the queue
    Redrive(RedriveArgs),
}

/// Arguments of `millpond dead-letters list`.
#[derive(clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Print JSON, one message a line
    #[arg(long)]
    json: bool,
}

/// Arguments of `millpond dead-letters show`.
#[derive(clap::Args)]
pub struct RecordArgs {
    /// The message's id, as `millpond dead-letters list` has it
    id: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `millpond dead-letters redrive`.
#[derive(clap::Args)]
pub struct RedriveArgs {
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// `millpond dead-letters`
pub async fn dead_letters(command: DeadLetters) -> anyhow::Result<ExitCode> {
    match command {
        DeadLetters::List(args) => list(args).await,
        DeadLetters::Show(args) => {
            let (_, record) = args.open().await?;
            println!("{}", serde_json::to_string_pretty(&record)?);
            Ok(ExitCode::SUCCESS)
        }
        DeadLetters::Redrive(args) => redrive(args).await,
    }
}

impl RecordArgs {
    async fn open(self) -> anyhow::Result<(Ledger, DeadRecord)> {
        let place = self.place.resolve()?;
        let ledger = place.ledger(&Aws::connect(&place.endpoint).await);
        let record = match read(&ledger, &layout::dead_key(&self.id)).await {
            Ok(record) => record,
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::NotFound)) => {
                let message = format!("no message {:?} was given up", self.id);
                return Err(failure::hint(message, "`millpond dead-letters list` shows their ids").into());
            }
            Err(error) => return Err(error),
        };
        Ok((ledger, record))
    }
}

async fn read(ledger: &Ledger, key: &str) -> anyhow::Result<DeadRecord> {
    let options = GetOptions { max_bytes: Some(MAX_RECORD_BYTES), ..GetOptions::default() };
    let object = ledger.outbox.get(key, options).await?;
    serde_json::from_slice(&object.body).with_context(|| format!("{key} is no record of a message"))
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    let ledger = place.ledger(&Aws::connect(&place.endpoint).await);
    let mut table = terminal::table(["message", "given up", "job", "why"]);
    let (mut after, mut count) = (None, 0);
    loop {
        let page = ledger.outbox.list(layout::DEAD, after.as_deref(), PAGE).await?;
        for object in &page.objects {
            let record = read(&ledger, &object.key).await?;
            count += 1;
            if args.json {
                println!("{}", serde_json::to_string(&record)?);
                continue;
            }
            let job = record.job.map_or_else(|| "none".to_owned(), |job| job.to_string());
            let at = record.at.strftime("%Y-%m-%d %H:%M").to_string();
            table.add_row([record.message_id, at, job, record.reason]);
        }
        after = page.objects.last().map(|object| object.key.clone());
        if !page.more {
            break;
        }
    }
    match (args.json, count) {
        (true, _) => {}
        (false, 0) => eprintln!("No message was given up."),
        (false, _) => println!("{}", table.trim_fmt()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn redrive(args: RedriveArgs) -> anyhow::Result<ExitCode> {
    let api = args.api;
    let (ledger, record) = args.record.open().await?;
    match record.job {
        Some(job) => {
            let retried = Client::new(api.resolve()?)?.retry(job).await?;
            println!("{}", retried.id);
            eprintln!("Job {job} runs again as {}.", retried.id);
        }
        None => {
            ledger.queue.send(&record.body, None, std::time::Duration::ZERO).await?;
            eprintln!("Message {} was sent again.", record.message_id);
        }
    }
    // Last: stopped in between, it is still there to be sent once more.
    ledger.outbox.delete(&layout::dead_key(&record.message_id)).await?;
    Ok(ExitCode::SUCCESS)
}
