//! One writer thread, several readers, over one SQLite database.
//!
//! Every change is a closure that runs on the writer thread inside a savepoint of its own. Closures that wait
//! at the same time share one transaction, and so one sync of the write-ahead log; the answer to each goes out only
//! after that commit. A closure that fails rolls back its own savepoint and nothing else.
//!
//! A commit can fail, with a full disk say. Then none of its changes is answered as made, and what its closures saw of
//! each other counts for nothing. If it failed because the disk is full, its last frame was not written, so that no
//! crash can bring it back; after other failures it can, until the next commit overwrites it.

use std::cell::{RefCell, RefMut};
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Savepoint, Transaction, TransactionBehavior};
use tokio::sync::{Semaphore, oneshot};

use super::blobs::StagedFile;
use super::error::{Result, StoreError};
use crate::chaos::Faults;

/// At most so many changes share one commit; it bounds how long the first of them waits.
const MAX_CHANGES_PER_COMMIT: usize = 128;
const READERS: usize = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Something to be done once a change is durable, and not at all if it is rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Wake the long polls of a queue.
    Wake(i64),
    /// Remove a blob that no record names any more.
    RemoveBlob(String),
}

/// A change under way: the savepoint, and what to do after the commit.
pub(crate) struct Change<'a> {
    savepoint: Savepoint<'a>,
    effects: RefCell<Vec<Effect>>,
    faults: &'a RefCell<Faults>,
    named: RefCell<Vec<StagedFile>>,
}

impl Change<'_> {
    /// Asks for `effect` after the commit.
    pub(crate) fn after_commit(&self, effect: Effect) {
        let mut effects = self.effects.borrow_mut();
        if !effects.contains(&effect) {
            effects.push(effect);
        }
    }

    /// The chances that messages take.
    pub(crate) fn faults(&self) -> RefMut<'_, Faults> {
        self.faults.borrow_mut()
    }

    /// Hands a blob over to the record that names it. If the change is not made, the blob is removed.
    pub(crate) fn name_blob(&self, blob: StagedFile) -> String {
        let name = blob.name().to_owned();
        self.named.borrow_mut().push(blob);
        name
    }
}

impl Deref for Change<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.savepoint
    }
}

/// Called with the fate of the commit; answers the caller and returns the effects that are due.
type Settle = Box<dyn FnOnce(Option<&str>) -> Vec<Effect> + Send>;
type Job = Box<dyn for<'a, 'b> FnOnce(&'a mut Transaction<'b>, &'a RefCell<Faults>) -> Option<Settle> + Send>;

/// The database: send changes to `write`, questions to `read`.
pub(crate) struct Db {
    path: PathBuf,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    idle_readers: Arc<Mutex<Vec<Connection>>>,
    reading: Arc<Semaphore>,
}

impl Db {
    /// Starts the writer thread over an open connection. `perform` carries out effects, on that thread, and all chances
    /// are drawn there.
    pub(crate) fn start(
        path: &Path,
        connection: Connection,
        faults: Faults,
        perform: impl Fn(Effect) + Send + 'static,
    ) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let writer = std::thread::Builder::new()
            .name("local-cloud-db".into())
            .spawn(move || write_loop(connection, &inbox, &RefCell::new(faults), &perform))?;
        Ok(Self {
            path: path.to_path_buf(),
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            idle_readers: Arc::default(),
            reading: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Runs `change` in a transaction and returns once it is durable.
    ///
    /// If the caller goes away (its future is dropped) before the change begins, the change is not made: a client
    /// that has hung up takes no messages.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Change<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |transaction, faults| {
            if reply.is_closed() {
                return None;
            }
            let outcome = in_savepoint(transaction, faults, change);
            Some(Box::new(move |commit_error| {
                // A caller that has gone away meanwhile does not undo what is committed.
                match (outcome, commit_error) {
                    (Ok(made), None) => {
                        let _ = reply.send(Ok(made.value));
                        made.named.into_iter().for_each(|blob| drop(blob.keep()));
                        made.effects
                    }
                    (Ok(made), Some(error)) => {
                        let _ = reply.send(Err(StoreError::Commit(error.to_owned())));
                        made.named.into_iter().map(|blob| Effect::RemoveBlob(blob.keep())).collect()
                    }
                    (Err(error @ StoreError::Sqlite(_)), _) | (Err(error), None) => {
                        let _ = reply.send(Err(error));
                        Vec::new()
                    }
                    // It was refused for what a change before it did, perhaps, which is undone.
                    (Err(_), Some(error)) => {
                        let _ = reply.send(Err(StoreError::Commit(error.to_owned())));
                        Vec::new()
                    }
                }
            }))
        });
        {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let sender = jobs.as_ref().ok_or(StoreError::Closed)?;
            sender.send(job).map_err(|_| StoreError::Closed)?;
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `question` against the last committed state, on a blocking thread.
    pub(crate) async fn read<T, F>(&self, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.reading).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle_readers);
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || {
            // Held to the end, even if the caller goes away: so many connections there are at most.
            let _permit = permit;
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match pooled {
                Some(connection) => connection,
                None => open_reader(&path)?,
            };
            let answer = question(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        })
        .await
        .map_err(|_| StoreError::Closed)?
    }

    /// Ends the writer thread after the changes that it already has; later calls answer `Closed`.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the database thread had panicked");
        }
        self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// A change that was made in its savepoint.
struct Made<T> {
    value: T,
    effects: Vec<Effect>,
    named: Vec<StagedFile>,
}

fn in_savepoint<T>(
    transaction: &mut Transaction<'_>,
    faults: &RefCell<Faults>,
    change: impl FnOnce(&Change<'_>) -> Result<T>,
) -> Result<Made<T>> {
    let (effects, named) = (RefCell::default(), RefCell::default());
    let change_under_way = Change { savepoint: transaction.savepoint()?, effects, named, faults };
    let value = change(&change_under_way)?;
    let Change { savepoint, effects, named, .. } = change_under_way;
    savepoint.commit()?;
    Ok(Made { value, effects: effects.into_inner(), named: named.into_inner() })
}

/// How a transaction ended that was not committed.
enum Failure {
    /// It is undone for good.
    Undone(String),
    /// A crash before the next commit may bring it back.
    Doubtful(String),
}

fn write_loop(
    mut connection: Connection,
    inbox: &mpsc::Receiver<Job>,
    faults: &RefCell<Faults>,
    perform: &dyn Fn(Effect),
) {
    // Blobs that a doubtful transaction names, to be removed once it is overwritten.
    let mut doubtful: Vec<Effect> = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut settles = Vec::new();
        let jobs = std::iter::once(first).chain(inbox.try_iter().take(MAX_CHANGES_PER_COMMIT - 1));
        let committed = transact(&mut connection, faults, jobs, &mut settles, !doubtful.is_empty());
        let (failure, effects_of_doubt) = match committed {
            Ok(()) => (None, None),
            Err(Failure::Undone(error)) => (Some(error), None),
            Err(Failure::Doubtful(error)) => (Some(error), Some(&mut doubtful)),
        };
        if let Some(error) = &failure {
            tracing::error!(%error, "a transaction could not be committed");
        }
        let effects = settles.into_iter().flat_map(|settle: Settle| settle(failure.as_deref()));
        match effects_of_doubt {
            Some(doubtful) => doubtful.extend(effects),
            None => effects.for_each(perform),
        }
        if failure.is_none() {
            doubtful.drain(..).for_each(perform);
        }
    }
}

/// Runs `jobs` in one transaction and commits it. With `overwrite`, it writes something in any case.
fn transact(
    connection: &mut Connection,
    faults: &RefCell<Faults>,
    jobs: impl Iterator<Item = Job>,
    settles: &mut Vec<Settle>,
    overwrite: bool,
) -> Result<(), Failure> {
    let undone = |error: rusqlite::Error| Failure::Undone(error.to_string());
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(undone)?;
    if overwrite {
        transaction.execute("UPDATE sequencer SET next = next + 1", []).map_err(undone)?;
    }
    for job in jobs {
        // A change that panics rolls back its savepoint as it unwinds, and its caller is told `Closed`.
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| job(&mut transaction, faults)));
        settles.extend(ran.ok().flatten());
        // After some errors SQLite rolls back all of the transaction. Another change would then commit by itself.
        if transaction.is_autocommit() {
            return Err(Failure::Undone("the database rolled the transaction back".into()));
        }
    }
    transaction.commit().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Failure::Undone(error.to_string()),
        _ => Failure::Doubtful(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::blobs::{Blobs, StagedBlob};
    use super::super::schema;
    use super::*;
    use crate::Chaos;

    fn open() -> (tempfile::TempDir, Db) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("db");
        let connection = schema::open(&path).expect("opens");
        let db = Db::start(&path, connection, Faults::new(Chaos::default()), |_| {}).expect("starts");
        (directory, db)
    }

    async fn insert(db: &Db, name: &'static str, then: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        db.write(move |change| {
            change.execute("INSERT INTO buckets (name, created_ms) VALUES (?1, 0)", [name])?;
            then()
        })
        .await
    }

    async fn names(db: &Db) -> Vec<String> {
        let names = db.read(|db| {
            let mut statement = db.prepare("SELECT name FROM buckets ORDER BY name")?;
            let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(names)
        });
        names.await.expect("reads")
    }

    #[tokio::test]
    async fn a_change_that_fails_or_panics_undoes_itself_alone() {
        let (_directory, db) = open();
        let outcomes = futures::join!(
            insert(&db, "a", || Ok(())),
            insert(&db, "b", || Err(StoreError::NoSuchKey)),
            insert(&db, "c", || panic!("on purpose")),
            insert(&db, "d", || Ok(())),
        );
        assert!(matches!(outcomes.0, Ok(())));
        assert!(matches!(outcomes.1, Err(StoreError::NoSuchKey)));
        assert!(matches!(outcomes.2, Err(StoreError::Closed)));
        assert!(matches!(outcomes.3, Ok(())));
        assert_eq!(names(&db).await, ["a", "d"]);
        db.close();
        assert!(matches!(insert(&db, "e", || Ok(())).await, Err(StoreError::Closed)));
    }

    /// Makes the changes that `also` begins share a transaction.
    async fn together<T>(db: &Db, also: impl Future<Output = T>) -> T {
        let (hold, held) = mpsc::channel::<()>();
        let mut first = Box::pin(db.write(move |_| {
            let _ = held.recv();
            Ok(())
        }));
        assert!(futures::poll!(first.as_mut()).is_pending());
        let mut also = Box::pin(also);
        assert!(futures::poll!(also.as_mut()).is_pending());
        hold.send(()).expect("still held");
        // Its own fate is that of the others.
        let _ = first.await;
        also.await
    }

    #[tokio::test]
    async fn a_refusal_counts_only_if_what_it_saw_is_committed() {
        let (_directory, db) = open();
        let broken = db.write(|change| {
            // Found out at the commit.
            change.execute_batch("PRAGMA defer_foreign_keys = ON")?;
            change.execute("INSERT INTO uploads VALUES ('u', 4711, 'k', 0, '', NULL, 0)", [])?;
            Ok(())
        });
        let refused = insert(&db, "a", || Err(StoreError::PreconditionFailed));
        let outcomes = together(&db, async { futures::join!(broken, refused) }).await;
        assert!(matches!(outcomes, (Err(StoreError::Commit(_)), Err(StoreError::Commit(_)))), "{outcomes:?}");
        insert(&db, "b", || Ok(())).await.expect("made");
        assert_eq!(names(&db).await, ["b"]);
    }

    #[tokio::test]
    async fn the_blob_of_a_change_that_is_not_committed_goes_once_nothing_can_bring_the_change_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (path, blobs) = (directory.path().join("db"), Blobs::open(directory.path()).expect("opens"));
        let remover = blobs.clone();
        let perform = move |effect| match effect {
            Effect::RemoveBlob(name) => remover.remove(&name),
            Effect::Wake(_) => {}
        };
        let connection = schema::open(&path).expect("opens");
        let db = Db::start(&path, connection, Faults::new(Chaos::default()), perform).expect("starts");
        let staged = blobs.in_file(StagedBlob::Small(b"x".to_vec())).expect("written");
        let broken = db.write(move |change| {
            change.name_blob(staged);
            change.execute_batch("PRAGMA defer_foreign_keys = ON")?;
            change.execute("INSERT INTO uploads VALUES ('u', 4711, 'k', 0, '', NULL, 0)", [])?;
            Ok(())
        });
        assert!(matches!(broken.await, Err(StoreError::Commit(_))));
        assert!(blobs.any().expect("read"), "a crash now could bring its record back");
        insert(&db, "next", || Ok(())).await.expect("made");
        // Removed after the answer to the change before, and so before the one to this.
        insert(&db, "last", || Ok(())).await.expect("made");
        assert!(!blobs.any().expect("read"));
    }

    #[tokio::test]
    async fn when_sqlite_rolls_everything_back_nothing_else_of_the_group_is_made() {
        let (_directory, db) = open();
        let full = db.write(|change| {
            let pages: i64 = change.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let _: i64 = change.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))?;
            change.execute("INSERT INTO buckets (name, created_ms) VALUES (?1, 0)", ["x".repeat(100_000)])?;
            Ok(())
        });
        let all = async { futures::join!(insert(&db, "a", || Ok(())), full, insert(&db, "b", || Ok(()))) };
        let (before, full, after) = together(&db, all).await;
        assert!(matches!(full, Err(StoreError::Sqlite(_))), "{full:?}");
        assert!(matches!(before, Err(StoreError::Commit(_))), "{before:?}");
        assert_eq!(names(&db).await, if after.is_ok() { vec!["b"] } else { vec![] }, "{after:?}");
    }

    #[tokio::test]
    async fn a_change_whose_caller_has_gone_is_not_made() {
        let (_directory, db) = open();
        let (hold, held) = mpsc::channel::<()>();
        let mut first = Box::pin(insert(&db, "first", move || {
            let _ = held.recv();
            Ok(())
        }));
        let mut gone = Box::pin(insert(&db, "gone", || Ok(())));
        // Polling once hands each change to the writer, which is busy with the first.
        assert!(futures::poll!(first.as_mut()).is_pending());
        assert!(futures::poll!(gone.as_mut()).is_pending());
        drop(gone);
        hold.send(()).expect("still held");
        first.await.expect("made");
        insert(&db, "last", || Ok(())).await.expect("made");
        assert_eq!(names(&db).await, ["first", "last"]);
    }

    #[tokio::test]
    async fn questions_whose_callers_have_gone_still_count_as_reading() {
        let (_directory, db) = open();
        let open_now = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..3 * READERS {
            let (open_now, held) = (Arc::clone(&open_now), Arc::clone(&held));
            let question = db.read(move |_| {
                open_now.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
                Ok(())
            });
            // Begun, and then given up.
            assert!(futures::poll!(std::pin::pin!(question)).is_pending());
        }
        drop(hold);
        db.read(|_| Ok(())).await.expect("answered");
        assert!(open_now.load(std::sync::atomic::Ordering::SeqCst) <= READERS);
    }
}
