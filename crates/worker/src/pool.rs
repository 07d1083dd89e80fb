//! Where models run: never on the async threads, never more at once than there is room for.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use bundle::{Manifest, Params};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use infer::{Answer, Control, LoadError, Model, RunError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::models::Models;

/// Where models are loaded and run. A seam: the simulator runs them inline, tests by script.
///
/// # Contract
///
/// - At most [`Pool::threads`] calls are made at once; each carries the place that it takes, and gives it back when it
///   has truly ended.
/// - A panic comes back as an error and harms nothing else.
/// - Cancellation: a dropped future may leave its call running, and its place taken, until the call notices its
///   [`Control`].
pub trait Pool: Send + Sync + fmt::Debug {
    /// How many calls have room.
    fn threads(&self) -> usize;

    /// Runs a model.
    fn infer(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>>;

    /// Loads a model.
    fn load(&self, load: Load) -> BoxFuture<'_, Result<Arc<dyn Model>, LoadFault>>;
}

/// One run of one model.
pub struct Call {
    /// The model.
    pub model: Arc<dyn Model>,
    /// The whole input.
    pub input: Bytes,
    /// The job's parameters, checked.
    pub params: Params,
    /// Cancel from outside, progress from inside.
    pub control: Arc<Control>,
    /// Given back when the call is over.
    pub place: OwnedSemaphorePermit,
}

impl Call {
    /// Runs it, here and now.
    pub fn run(self) -> Result<Answer, CallError> {
        let Call { model, input, params, control, place } = self;
        let answer = catch(|| model.run(&input, &params, &control));
        drop(place);
        answer.ok_or(CallError::Panicked)?.map_err(CallError::Run)
    }
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The model says why.
    #[error(transparent)]
    Run(RunError),
    /// The model panicked.
    #[error("the model panicked")]
    Panicked,
}

/// One loading of one model.
pub struct Load {
    /// What loads it.
    pub models: Arc<dyn Models>,
    /// What its bundle says.
    pub manifest: Manifest,
    /// The bundle's files, their digests checked.
    pub files: HashMap<String, Bytes>,
    /// Given back when it is loaded.
    pub place: OwnedSemaphorePermit,
}

impl Load {
    /// Loads it, here and now.
    pub fn run(self) -> Result<Arc<dyn Model>, LoadFault> {
        let Load { models, manifest, files, place } = self;
        let model = catch(|| models.load(&manifest, &files));
        drop(place);
        let model = model.ok_or(LoadFault::Panicked)?.map_err(LoadFault::Load)?;
        Ok(Arc::from(model))
    }
}

/// Why a model was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// The engine says why.
    #[error(transparent)]
    Load(LoadError),
    /// The engine panicked.
    #[error("the engine panicked")]
    Panicked,
}

/// A model is shared by reference and has no state that a run could leave half changed, so it can be used again after
/// a panic.
fn catch<T>(call: impl FnOnce() -> T) -> Option<T> {
    // The panic hook has printed what it says.
    catch_unwind(AssertUnwindSafe(call)).ok()
}

type Task = Box<dyn FnOnce() + Send>;

/// Threads of its own. They are not joined: one that hangs in a model ends with the process, and the others when the
/// pool is dropped.
pub struct ThreadPool {
    threads: usize,
    tasks: mpsc::Sender<Task>,
}

impl ThreadPool {
    /// As many threads, which wait for work.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let (tasks, queue) = mpsc::channel::<Task>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("infer-{number}")).spawn(move || {
                loop {
                    // In its own statement, so that the lock is free while the task runs.
                    let task = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match task {
                        Ok(task) => task(),
                        Err(_) => return,
                    }
                }
            })?;
        }
        Ok(Self { threads, tasks })
    }

    fn submit<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        // So that lines from within, a panic's among them, say whose they are.
        let span = tracing::Span::current();
        let task: Task = Box::new(move || {
            let _in_span = span.enter();
            // Whoever asked may have gone; then nobody wants the answer.
            let _ = answer.send(task());
        });
        // A refused task is dropped with its sender, which the receiver notices.
        let _ = self.tasks.send(task);
        answered
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Pool for ThreadPool {
    fn threads(&self) -> usize {
        self.threads
    }

    fn infer(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>> {
        let answered = self.submit(move || call.run());
        async move { answered.await.unwrap_or(Err(CallError::Panicked)) }.boxed()
    }

    fn load(&self, load: Load) -> BoxFuture<'_, Result<Arc<dyn Model>, LoadFault>> {
        let answered = self.submit(move || load.run());
        async move { answered.await.unwrap_or(Err(LoadFault::Panicked)) }.boxed()
    }
}

/// Runs each call where it is awaited: for the simulator and for tests, whose every step must repeat.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlinePool;

impl Pool for InlinePool {
    fn threads(&self) -> usize {
        4
    }

    fn infer(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move { call.run() }.boxed()
    }

    fn load(&self, load: Load) -> BoxFuture<'_, Result<Arc<dyn Model>, LoadFault>> {
        async move { load.run() }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use tokio::sync::Semaphore;

    /// Says that it has begun, then waits to be let go.
    struct Gate {
        begun: Sender<()>,
        go: Mutex<Receiver<()>>,
    }

    impl Model for Gate {
        fn run(&self, input: &[u8], _: &Params, _: &Control) -> Result<Answer, RunError> {
            self.begun.send(()).unwrap();
            if self.go.lock().unwrap().recv().is_err() {
                panic!("nobody lets me go");
            }
            Ok(Answer { body: input.to_vec(), content_type: "application/json", extension: "json" })
        }
        fn memory_bytes(&self) -> u64 {
            0
        }
    }

    async fn call(model: Arc<dyn Model>, places: &Arc<Semaphore>) -> Call {
        let place = places.clone().acquire_owned().await.unwrap();
        Call { model, input: Bytes::from_static(b"1"), params: Params::default(), control: Arc::default(), place }
    }

    #[tokio::test]
    async fn answers_and_panics_come_back_and_so_do_their_places() {
        let (begun, _begun) = channel();
        let (go, gone) = channel();
        let model = Arc::new(Gate { begun, go: Mutex::new(gone) });
        let (pool, places) = (ThreadPool::new(1).unwrap(), Arc::new(Semaphore::new(1)));
        go.send(()).unwrap();
        assert_eq!(pool.infer(call(model.clone(), &places).await).await.unwrap().body, b"1");
        drop(go);
        for _ in 0..2 {
            let outcome = pool.infer(call(model.clone(), &places).await).await;
            assert!(matches!(outcome, Err(CallError::Panicked)));
        }
    }

    #[tokio::test]
    async fn a_place_is_taken_until_its_call_has_ended_even_if_nobody_waits() {
        let (begun, has_begun) = channel();
        let (go, gone) = channel();
        let model = Arc::new(Gate { begun, go: Mutex::new(gone) });
        let (pool, places) = (ThreadPool::new(2).unwrap(), Arc::new(Semaphore::new(1)));
        drop(pool.infer(call(model, &places).await));
        has_begun.recv().unwrap();
        assert_eq!(places.available_permits(), 0);
        go.send(()).unwrap();
        drop(places.acquire().await.unwrap());
    }
}
