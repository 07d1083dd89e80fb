//! The pool of a simulated worker: models take virtual time and do what their input says.

use std::collections::HashMap;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bundle::{InputError, Manifest, Params};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use infer::{Answer, Control, LoadError, Model, RunError};
use tokio::time::{Instant, sleep};
use worker::pool::{Call, CallError, Load, LoadFault};
use worker::{Models, Pool};

use crate::process::Incarnation;
use crate::script::{self, Act, Script};

/// Between two looks at whether it was told to stop.
const STEP: Duration = Duration::from_millis(500);

/// Runs models in virtual time, inside one process.
#[derive(Debug)]
pub(crate) struct SimPool {
    pub(crate) process: Arc<Incarnation>,
    pub(crate) threads: usize,
}

/// Tells the oracle that a run is over, however it ends.
struct Run<'a> {
    pool: &'a SimPool,
    input: Bytes,
    begun: Instant,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let Self { pool, input, begun } = self;
        let world = &pool.process.world;
        world.oracle.ran(pool.process.name, input, begun.elapsed(), world.elapsed());
    }
}

impl Pool for SimPool {
    fn threads(&self) -> usize {
        self.threads
    }

    fn infer(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move {
            let world = &self.process.world;
            let runs_before = world.oracle.begins(self.process.name, &call.input);
            let _run = Run { pool: self, input: call.input.clone(), begun: Instant::now() };
            world
                .history
                .note(&self.process.label, || format!("model runs on {}", String::from_utf8_lossy(&call.input)));
            if self.process.is_too_late() {
                world.oracle.violated("J6", "a model began that may not end before its process does");
            }
            let Some(script) = Script::read(&call.input) else { return call.run() };
            match script.act {
                Act::Kill => self.process.die("the model kills it").await,
                Act::Hang => pending().await,
                Act::PanicOnce if runs_before > 0 => return Call { model: Arc::new(Calm), ..call }.run(),
                _ => {}
            }
            let until = Instant::now() + Duration::from_millis(script.ms);
            while Instant::now() < until {
                if call.control.is_cancelled() {
                    return Err(CallError::Run(RunError::Cancelled));
                }
                let left = until - Instant::now();
                call.control.report(script.ms - left.as_millis() as u64, script.ms);
                sleep(left.min(STEP)).await;
            }
            call.run()
        }
        .boxed()
    }

    fn load(&self, load: Load) -> BoxFuture<'_, Result<Arc<dyn Model>, LoadFault>> {
        async move { load.run() }.boxed()
    }
}

/// Makes the one model that there is.
pub(crate) struct Scripted;

impl Models for Scripted {
    fn load(&self, _: &Manifest, _: &HashMap<String, Bytes>) -> Result<Box<dyn Model>, LoadError> {
        Ok(Box::new(Nervous))
    }
}

/// The model.
struct Nervous;
/// The same after its first panic over an input.
struct Calm;

impl Model for Nervous {
    fn run(&self, input: &[u8], params: &Params, control: &Control) -> Result<Answer, RunError> {
        match Script::read(input).map(|script| script.act) {
            // Not `panic!`, whose hook would print it: this one is part of the play.
            Some(Act::Panic | Act::PanicOnce) => resume_unwind(Box::new("as the input asks")),
            _ => Calm.run(input, params, control),
        }
    }

    fn memory_bytes(&self) -> u64 {
        1
    }
}

impl Model for Calm {
    fn run(&self, input: &[u8], _: &Params, _: &Control) -> Result<Answer, RunError> {
        let Some(script) = Script::read(input) else {
            return Err(InputError::Invalid("it is no script".to_owned()).into());
        };
        let Some(answer) = script::answer(input) else {
            return Err(RunError::Failed("as the input asks".to_owned()));
        };
        let (content_type, extension) =
            if script.act == Act::AnswerWithFile { ("text/plain", "txt") } else { ("application/json", "json") };
        Ok(Answer { body: answer.into_bytes(), content_type, extension })
    }

    fn memory_bytes(&self) -> u64 {
        1
    }
}
