//! Random load on both services, killed at a random moment, again and again over one directory. After each kill: what was
//! acknowledged stands; what was refused does not show; what was not answered is there whole, or not at all; each change
//! of an object has its event, once; messages in flight stay hidden; and no file is left over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::child::{Launch, Server};
use super::dice::{self, Dice};
use super::mailbox::{self, SharedMailbox};
use super::objects::{self, Attempt, Log, SharedLog};
use super::{setting, uploads, verdict};

const OBJECT_CLIENTS: u64 = 5;
const MESSAGE_CLIENTS: u64 = 3;
const LARGEST_BYTES: u64 = 8 << 20;
const KEYS: [&str; 6] = ["a", "a/b", "b", "c//d", "e.f", "g"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_load_survives_kill_9() {
    let seed = dice::seed();
    println!("LOCAL_CLOUD_SEED={seed}");
    let began = Instant::now();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut launch = Launch::at(directory.path());
    let mut server = launch.start();
    verdict::provision(&server).await;
    server.client.queue(mailbox::QUEUE, json!({"MessageRetentionPeriod": "1209600"})).await;
    let (log, messages) = (SharedLog::default(), SharedMailbox::default());
    // What the last cycle found: key to ETag.
    let mut standing = BTreeMap::new();
    let mut totals = Totals::default();
    for cycle in 0..setting("LOCAL_CLOUD_CYCLES", 5) {
        println!("LOCAL_CLOUD_SEED={seed}, cycle {cycle}");
        let mut dice = Dice::of(seed, cycle << 8);
        let clients = start_load(&server, &log, &messages, seed, cycle);
        tokio::time::sleep(Duration::from_millis(dice.within(20..500))).await;
        server.kill();
        let died = Instant::now();
        clients.join_all().await;

        server = launch.start();
        assert_eq!(server.loose_ends(), [""; 0]);
        let asked = objects::hold(&log).attempts.len();
        let mut reader = session(&server, &log, Dice::new(seed), "reader".into());
        for key in KEYS {
            reader.get(key.into()).await.expect("answered");
        }
        let events = verdict::take_events(&server).await;
        let log = objects::hold(&log).take();
        let took_effect = verdict::judge(&standing, &log, &events, Some(died)).expect("linearizable");
        uploads::check(&server.client, &log, |attempt| took_effect.contains(&attempt)).await;
        standing = log.attempts[asked..].iter().filter_map(found).collect();
        totals.add(&log, events.len(), mailbox::check(&mut server, &messages, &mut dice).await);
        launch.clock_ahead_s += mailbox::CLOCK_STEP_S;
    }
    println!("{totals:?} in {:?}", began.elapsed());
}

fn start_load(server: &Server, log: &SharedLog, messages: &SharedMailbox, seed: u64, cycle: u64) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for n in 0..OBJECT_CLIENTS {
        let dice = Dice::of(seed, cycle << 8 | (n + 1));
        let session = session(server, log, dice, format!("cycle {cycle}, client {n}"));
        clients.spawn(session.work(usize::MAX));
    }
    for n in OBJECT_CLIENTS..OBJECT_CLIENTS + MESSAGE_CLIENTS {
        let session = mailbox::Session {
            client: server.client.clone(),
            queue: server.queue_url(mailbox::QUEUE),
            mailbox: messages.clone(),
            dice: Dice::of(seed, cycle << 8 | (n + 1)),
            tag: format!("cycle {cycle}, client {n}"),
            held: Vec::new(),
        };
        clients.spawn(session.work());
    }
    clients
}

fn session(server: &Server, log: &SharedLog, dice: Dice, tag: String) -> objects::Session {
    let keys = KEYS.map(String::from).into();
    objects::Session::new(server.client.clone(), log.clone(), dice, keys, tag, LARGEST_BYTES)
}

/// What a read found, if it found anything.
fn found(read: &Attempt) -> Option<(String, String)> {
    Some((read.key.clone(), read.answer.as_ref()?.etag.clone()?))
}

/// How much was done, to see that a run was one.
#[derive(Debug, Default)]
struct Totals {
    attempts: usize,
    unanswered: usize,
    events: usize,
    uploads: usize,
    messages: usize,
}

impl Totals {
    fn add(&mut self, log: &Log, events: usize, messages: usize) {
        self.attempts += log.attempts.len();
        self.unanswered += log.attempts.iter().filter(|attempt| attempt.answer.is_none()).count();
        self.uploads += log.uploads.len();
        self.events += events;
        self.messages += messages;
    }
}
