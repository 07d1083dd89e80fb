//! Durability and linearizability: what was answered stands whatever happens to the process, and conditional writes
//! behave as if they came one after the other.
//!
//! `cargo test` runs a few rounds of each. For a long run, set
//!
//! - `LOCAL_CLOUD_ROUNDS`: rounds of each race (`race`; 1000 takes some minutes),
//! - `LOCAL_CLOUD_CYCLES`: cycles of random load and `kill -9` (`cycles`; 100 takes some minutes),
//! - `LOCAL_CLOUD_SEED`: the seed of the random load, as a run that failed printed it. The load is then the same; the
//!   moment of the kill is the same in milliseconds, not in instructions.
//!
//! | module | shows |
//! |---|---|
//! | `race` | of many writers that create one key, or compare and swap one, exactly one wins, also with `kill -9` between |
//! | `register` | random operations on one key are linearizable |
//! | `cycles` | random load on both services, `kill -9`, and a model of what must stand after it |
//! | `sync_order` | the order of writes and syncs before an answer, which `kill -9` alone does not show |
//! | `full_disk` | a full disk is an error, and nothing else |
//! | `damage` | a damaged database and a second process are refused, and told why |
//!
//! `child` is the server in a process of its own, `history` judges what clients saw of a key, and `objects`, `uploads`
//! and `mailbox` are the loads of `cycles`, and `verdict` is where the events and the answers of a load are compared.

#[path = "../common/mod.rs"]
mod common;

mod child;
mod cycles;
mod damage;
mod dice;
mod full_disk;
mod history;
mod mailbox;
mod objects;
mod race;
mod register;
mod sync_order;
mod uploads;
mod verdict;

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => otherwise,
    }
}
