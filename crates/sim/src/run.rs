//! One history, from its seed to the oracle's word.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clients::Client;
use crate::oracle::Violation;
use crate::plan::Plan;
use crate::planted::Bug;
use crate::process::{keep_running, roles};
use crate::world::World;

/// Between two looks at whether all has ended.
const LOOK: Duration = Duration::from_secs(5);

/// What one seed gave.
#[derive(Debug, Clone)]
pub struct Report {
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Every line of the history, if it was to be kept.
    pub history: String,
    /// How many jobs ended how, and how many messages were `given up`.
    pub ends: BTreeMap<String, u64>,
    /// How much time passed in it.
    pub virtual_time: Duration,
}

/// Runs the history of `seed`, with a planted bug or without. `kept` says whether the history is wanted.
pub fn run(seed: u64, bug: Option<Bug>, kept: bool) -> Report {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime of one thread");
    runtime.block_on(simulate(seed, bug, kept))
}

async fn simulate(seed: u64, bug: Option<Bug>, kept: bool) -> Report {
    let world = World::new(seed, Plan::of(seed, bug), kept).await;
    world.history.note("plan", || format!("{:?}", world.plan));
    let mut processes = JoinSet::new();
    for (name, role) in roles(&world) {
        processes.spawn(keep_running(world.clone(), name, role));
    }
    processes.spawn(world.clone().become_quiet());
    processes.spawn(world.clone().publish_later());
    let mut clients = JoinSet::new();
    for number in 0..world.plan.clients {
        clients.spawn(Client::new(world.clone(), number).run());
    }
    clients.spawn(Client::new(world.clone(), world.plan.clients).probe());

    wait_for_the_end(&world, &mut clients).await;
    let virtual_time = world.elapsed();
    clients.shutdown().await;
    processes.shutdown().await;
    let mut in_flight = std::mem::take(&mut *world.in_flight.lock().unwrap_or_else(PoisonError::into_inner));
    in_flight.shutdown().await;
    *world.apis.lock().unwrap_or_else(PoisonError::into_inner) = [None, None];
    world.oracle.check_all();
    // Tasks of the product's own, which nobody owns any more.
    let tasks = Handle::current().metrics().num_alive_tasks();
    if tasks > 0 {
        world.oracle.violated("leak", format!("{tasks} tasks outlive their processes"));
    }
    let violation = world.oracle.violation();
    if let Some(Violation { invariant, what }) = &violation {
        world.history.note("oracle", || format!("{invariant}: {what}"));
    }
    Report { violation, history: world.history.text(), ends: world.oracle.ends(), virtual_time }
}

/// Until all has come to its end, or a promise is broken.
async fn wait_for_the_end(world: &Arc<World>, clients: &mut JoinSet<()>) {
    loop {
        sleep(LOOK).await;
        while let Some(ended) = clients.try_join_next() {
            if let Err(error) = ended {
                world.oracle.violated("panic", error.to_string());
            }
        }
        if world.oracle.violation().is_some() {
            return;
        }
        if let Some(job) = world.oracle.overdue(world.elapsed()) {
            return world.oracle.violated("J2", format!("job {job} has not ended soon"));
        }
        let late = world.elapsed() > world.plan.end_by;
        if !world.is_quiet() || world.elapsed() < world.plan.quiet_at || (!late && !clients.is_empty()) {
            continue;
        }
        match world.oracle.unsettled(world) {
            None if clients.is_empty() => return,
            None if late => return world.oracle.violated("J2", "a client still waits"),
            Some((invariant, what)) if late => return world.oracle.violated(invariant, what),
            _ => {}
        }
    }
}
