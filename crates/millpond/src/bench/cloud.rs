//! `millpond bench cloud`: what the local S3 and SQS do in a second, beside moto's, and beside what the disk allows.

mod peer;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::task::JoinSet;

use crate::terminal;
use peer::{Moto, Peer};

/// Arguments of `millpond bench cloud`.
#[derive(clap::Args)]
pub struct Args {
    /// The program moto_server, of the Python package moto[server], to measure beside
    #[arg(long, value_name = "FILE")]
    moto: Option<PathBuf>,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 2.0, value_parser = super::seconds)]
    seconds: f64,
    /// How often each is measured, in turn; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A folder on the disk to measure; what is written there is removed
    #[arg(long, value_name = "DIR", default_value = ".")]
    disk: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Bytes of each object.
const OBJECT_BYTES: usize = 4096;
/// How many objects are there to be read.
const OBJECTS: u64 = 64;
const CLIENTS: [u64; 2] = [1, 16];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Put,
    ConditionalPut,
    Get,
    Message,
}

impl Case {
    const ALL: [Self; 4] = [Self::Put, Self::ConditionalPut, Self::Get, Self::Message];

    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::ConditionalPut => "conditional_put",
            Self::Get => "get",
            Self::Message => "send_receive_delete",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Put => "PUT of 4 KiB",
            Self::ConditionalPut => "PUT of 4 KiB, If-None-Match: *",
            Self::Get => "GET of 4 KiB",
            Self::Message => "send, receive and delete",
        }
    }

    /// Does it once; `n` is never the same.
    async fn perform(self, peer: &Peer, n: u64) -> anyhow::Result<()> {
        let body = [b'x'; OBJECT_BYTES];
        match self {
            Self::Put => peer.put(&format!("put/{n}"), &[], &body).await,
            Self::ConditionalPut => peer.put(&format!("once/{n}"), &[("if-none-match", "*")], &body).await,
            Self::Get => {
                let length = peer.get(&format!("get/{}", n % OBJECTS)).await?;
                anyhow::ensure!(length == OBJECT_BYTES, "an object of {length} bytes");
                Ok(())
            }
            Self::Message => {
                peer.send(&format!("message {n}")).await?;
                // Another client may have taken the one just sent, and left its own.
                while !peer.receive_and_delete().await? {}
                Ok(())
            }
        }
    }
}

/// Of one case, the rates of each peer, in the rounds' order.
struct Cell {
    case: Case,
    clients: u64,
    rates: Vec<Vec<f64>>,
}

/// `millpond bench cloud`
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder =
        tempfile::tempdir_in(&args.disk).with_context(|| format!("cannot make a folder in {}", args.disk.display()))?;
    let config = local_cloud::Config::new(folder.path().join("cloud"), peer::KEY, peer::SECRET);
    let cloud = local_cloud::LocalCloud::start(config).await?;
    let mut peers = vec![Peer::new("millpond", cloud.s3_endpoint(), cloud.sqs_endpoint())?];
    let moto = match &args.moto {
        Some(program) => {
            let moto = Moto::start(program).await?;
            peers.push(Peer::new("moto", moto.endpoint(), moto.endpoint())?);
            Some(moto)
        }
        None => None,
    };
    for peer in &mut peers {
        peer.prepare().await.with_context(|| format!("{} does not do what is measured", peer.name))?;
        for n in 0..OBJECTS {
            peer.put(&format!("get/{n}"), &[], &[b'x'; OBJECT_BYTES]).await?;
        }
    }
    let peers: Vec<Arc<Peer>> = peers.into_iter().map(Arc::new).collect();

    let mut cells: Vec<Cell> = Case::ALL
        .iter()
        .flat_map(|case| CLIENTS.map(|clients| Cell { case: *case, clients, rates: vec![Vec::new(); peers.len()] }))
        .collect();
    let took = Duration::from_secs_f64(args.seconds);
    let bar = ProgressBar::new(u64::from(args.rounds) * (cells.len() * peers.len() + 1) as u64);
    let mut syncs = Vec::new();
    let numbers = Arc::new(AtomicU64::new(0));
    for _ in 0..args.rounds {
        syncs.push(sync_rate(folder.path(), took)?);
        bar.inc(1);
        for cell in &mut cells {
            for (peer, rates) in peers.iter().zip(&mut cell.rates) {
                rates.push(rate(cell.case, cell.clients, peer, &numbers, took).await?);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    drop(moto);
    cloud.shutdown().await;

    report(&args, &peers, cells, median(syncs))?;
    Ok(ExitCode::SUCCESS)
}

/// How many are done in a second.
async fn rate(
    case: Case,
    clients: u64,
    peer: &Arc<Peer>,
    numbers: &Arc<AtomicU64>,
    took: Duration,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (peer, numbers) = (Arc::clone(peer), Arc::clone(numbers));
        running.spawn(async move {
            let mut done = 0_u64;
            while start.elapsed() < took {
                case.perform(&peer, numbers.fetch_add(1, Ordering::Relaxed)).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0;
    while let Some(client) = running.join_next().await {
        done += client?.with_context(|| format!("{} failed at {}", peer.name, case.title()))?;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// How often in a second the disk makes 4 KiB more of a file durable: what nothing can exceed that syncs for each request.
fn sync_rate(folder: &Path, took: Duration) -> anyhow::Result<f64> {
    let path = folder.join("sync");
    let mut file = File::create(&path)?;
    let (start, mut done) = (Instant::now(), 0_u64);
    while start.elapsed() < took {
        file.write_all(&[b'x'; OBJECT_BYTES])?;
        file.sync_data()?;
        done += 1;
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

fn report(args: &Args, peers: &[Arc<Peer>], cells: Vec<Cell>, syncs: f64) -> anyhow::Result<()> {
    if args.json {
        println!("{}", json!({"case": "sync", "clients": 1, "engine": "disk", "per_s": syncs}));
        for Cell { case, clients, rates } in cells {
            for (peer, rates) in peers.iter().zip(rates) {
                let line =
                    json!({"case": case.name(), "clients": clients, "engine": peer.name, "per_s": median(rates)});
                println!("{line}");
            }
        }
        return Ok(());
    }
    let mut header = vec!["a second", "clients"];
    header.extend(peers.iter().map(|peer| peer.name));
    header.extend((peers.len() > 1).then_some("ratio"));
    let mut table = terminal::table(header);
    for Cell { case, clients, rates } in cells {
        let medians: Vec<f64> = rates.into_iter().map(median).collect();
        let mut row = vec![case.title().to_owned(), clients.to_string()];
        row.extend(medians.iter().map(|rate| format!("{rate:.0}")));
        if let [ours, theirs] = medians[..] {
            row.push(format!("{:.1}", ours / theirs));
        }
        table.add_row(row);
    }
    table.add_row(["4 KiB made durable, one by one".to_owned(), "1".to_owned(), format!("{syncs:.0}")]);
    for column in 1..table.column_count() {
        table.column_mut(column).context("the table has that column")?.set_cell_alignment(CellAlignment::Right);
    }
    println!("{}", table.trim_fmt());
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
