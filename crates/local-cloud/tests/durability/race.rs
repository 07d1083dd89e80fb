//! Many writers race for one key. Exactly one of those that create it wins, and what stands is what it wrote, also if the
//! server is killed while they race; of those that compare and swap, each success builds on the one before.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::child::{Launch, Server};
use super::common::{Answer, Client, event_keys};
use super::dice::{self, Dice};
use super::objects::md5_of;
use super::setting;

const WRITERS: usize = 32;
const COUNTERS: usize = 16;

/// What one writer was told: nothing, if the connection broke.
struct Told {
    body: String,
    answer: Option<Answer>,
}

impl Told {
    fn won(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.status == 200)
    }

    fn lost(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.status == 412)
    }
}

/// All writers at once try to create `key`.
fn start_race(client: &Client, key: &str, name: &str) -> JoinSet<Told> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, path) = (client.clone(), format!("/millpond-inbox/{key}"));
        let body = format!("{name}, writer {writer}");
        writers.spawn(async move {
            let answer = client.try_s3("PUT", &path, &[("if-none-match", "*")], body.as_bytes()).await.ok();
            Told { body, answer }
        });
    }
    writers
}

/// What stands under `key`, whole.
async fn standing(client: &Client, key: &str) -> Option<String> {
    let answer = client.s3("GET", &format!("/millpond-inbox/{key}"), &[], b"").await;
    if answer.status == 404 {
        return None;
    }
    let answer = answer.expect(200);
    assert_eq!(answer.etag(), format!("\"{}\"", md5_of(&answer.body)));
    Some(answer.text())
}

/// At most one won; who lost, lost to something that stands; the body of a winner stands.
fn check(told: &[Told], standing: Option<&str>) {
    let winners: Vec<&Told> = told.iter().filter(|told| told.won()).collect();
    assert!(winners.len() <= 1, "{} winners", winners.len());
    for told in told {
        let status = told.answer.as_ref().map(|answer| answer.status);
        assert!(status.is_none() || told.won() || told.lost(), "{status:?}");
    }
    if let Some(winner) = winners.first() {
        assert_eq!(standing, Some(winner.body.as_str()), "the winner's body stands");
        let etag = winner.answer.as_ref().map(Answer::etag);
        assert_eq!(etag, Some(format!("\"{}\"", md5_of(winner.body.as_bytes()))));
    }
    let somebody_lost = told.iter().any(Told::lost);
    assert!(!somebody_lost || standing.is_some(), "nobody loses to nothing");
    assert!(standing.is_none_or(|body| told.iter().any(|told| told.body == body)), "{standing:?} is of this race");
}

async fn events_of(server: &Server) -> Vec<String> {
    event_keys(&server.client.drain(&server.queue_url("millpond-jobs")).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_32_writers_creates_a_key() {
    let began = Instant::now();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = Launch::at(directory.path()).start();
    let rounds = setting("LOCAL_CLOUD_ROUNDS", 40);
    let mut keys = Vec::new();
    for round in 0..rounds {
        let key = format!("uploads/{round}");
        let told = start_race(&server.client, &key, &key).join_all().await;
        let standing = standing(&server.client, &key).await;
        check(&told, standing.as_deref());
        assert_eq!(told.iter().filter(|told| told.won()).count(), 1, "somebody wins");
        keys.push(key);
    }
    keys.sort();
    assert_eq!(events_of(&server).await, keys, "each key has the event of its winner, and of nobody else");
    assert_eq!(server.loose_ends(), [""; 0], "the losers' bodies are gone");
    println!("{rounds} rounds of {WRITERS} writers in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_32_writers_creates_a_key_across_kill_9() {
    let seed = dice::seed();
    println!("LOCAL_CLOUD_SEED={seed}");
    let (began, mut dice) = (Instant::now(), Dice::new(seed));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::at(directory.path());
    let mut server = launch.start();
    let rounds = setting("LOCAL_CLOUD_ROUNDS", 12);
    let (mut keys, mut winners_told, mut undecided) = (Vec::new(), 0, 0);
    for round in 0..rounds {
        let key = format!("uploads/{round}");
        let race = start_race(&server.client, &key, &key);
        // From before the first writer is heard until about when the last has been answered.
        tokio::time::sleep(Duration::from_micros(dice.within(0..60_000))).await;
        server.kill();
        let mut told = race.join_all().await;

        server = launch.start();
        assert_eq!(server.loose_ends(), [""; 0]);
        let before = standing(&server.client, &key).await;
        check(&told, before.as_deref());
        winners_told += usize::from(told.iter().any(Told::won));
        undecided += usize::from(before.is_none());

        let again = start_race(&server.client, &key, &format!("{key} again")).join_all().await;
        assert!(again.iter().all(|told| told.answer.is_some()));
        let won = again.iter().any(Told::won);
        assert_eq!(won, before.is_none(), "somebody wins if and only if nothing stood");
        told.extend(again);
        let after = standing(&server.client, &key).await;
        check(&told, after.as_deref());
        assert!(before.is_none() || before == after);
        keys.push(key);
    }
    keys.sort();
    assert_eq!(events_of(&server).await, keys, "each key has the event of its winner, and of nobody else");
    println!(
        "{rounds} rounds of {WRITERS} writers and kill -9 in {:?}: {winners_told} winners were told, {undecided} kills came \
         before there was one",
        began.elapsed()
    );
}

/// Reads a number and tries to replace it by the next, so often. Returns how often that succeeded, and whether the last
/// try went unanswered.
async fn count_up(client: Client, tries: usize) -> (u64, bool) {
    const PATH: &str = "/millpond-outbox/counter";
    let mut successes = 0;
    for _ in 0..tries {
        let Ok(read) = client.try_s3("GET", PATH, &[], b"").await else { return (successes, false) };
        let next = read.text().parse::<u64>().expect("a number") + 1;
        let (etag, body) = (read.etag(), next.to_string());
        let put = client.try_s3("PUT", PATH, &[("if-match", &etag)], body.as_bytes()).await;
        match put.map(|answer| answer.status.as_u16()) {
            Ok(200) => successes += 1,
            Ok(412) => {}
            Ok(other) => panic!("{other}"),
            Err(_) => return (successes, true),
        }
    }
    (successes, false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_is_compared_and_swapped_counts_each_success_once() {
    let seed = dice::seed();
    println!("LOCAL_CLOUD_SEED={seed}");
    let mut dice = Dice::new(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let launch = Launch::at(directory.path());
    let mut server = launch.start();
    server.client.s3("PUT", "/millpond-outbox/counter", &[], b"0").await.expect(200);
    let (mut counted, mut open) = (0, 0);
    for kill in [false, true, true, true] {
        let mut counters = JoinSet::new();
        for _ in 0..COUNTERS {
            let tries = if kill { usize::MAX } else { 30 };
            counters.spawn(count_up(server.client.clone(), tries));
        }
        if kill {
            tokio::time::sleep(Duration::from_millis(dice.within(10..300))).await;
            server.kill();
        }
        for (successes, unanswered) in counters.join_all().await {
            counted += successes;
            open += u64::from(unanswered);
        }
        if kill {
            server = launch.start();
        }
        let stands = server.client.s3("GET", "/millpond-outbox/counter", &[], b"").await.expect(200);
        let stands: u64 = stands.text().parse().expect("a number");
        // Each kill can leave one success untold for each writer.
        assert!((counted..=counted + open).contains(&stands), "{stands}, but {counted} were told, {open} open");
        assert!(kill || stands == counted, "{stands}, but {counted} were told");
        (counted, open) = (stands, 0);
    }
    println!("counted to {counted}");
}
