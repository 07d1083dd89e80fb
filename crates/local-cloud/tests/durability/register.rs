//! Random operations of many clients on one key are linearizable: puts with and without conditions, deletions, copies,
//! uploads in parts, and reads.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::child::Launch;
use super::dice::{self, Dice};
use super::objects::{Session, SharedLog, hold};
use super::{setting, verdict};

const CLIENTS: u64 = 16;
/// The second is there to be copied from.
const KEYS: [&str; 2] = ["one", "other"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_one_key_are_linearizable() {
    let seed = dice::seed();
    println!("LOCAL_CLOUD_SEED={seed}");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Launch::at(directory.path()).start();
    verdict::provision(&server).await;
    let log = SharedLog::default();
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let keys = KEYS.map(String::from).into();
        let tag = format!("client {n}");
        let session = Session::new(server.client.clone(), log.clone(), Dice::of(seed, n), keys, tag, 80 << 10);
        clients.spawn(session.work(setting("LOCAL_CLOUD_ROUNDS", 100) as usize));
    }
    clients.join_all().await;
    let events = verdict::take_events(&server).await;
    let took_effect = verdict::judge(&BTreeMap::new(), &hold(&log), &events, None);
    let took_effect = took_effect.unwrap_or_else(|why| panic!("LOCAL_CLOUD_SEED={seed}: {why}"));
    println!("{} attempts, {} took effect", hold(&log).attempts.len(), took_effect.len());
    assert!(took_effect.len() > 100, "the load is a load");
}
