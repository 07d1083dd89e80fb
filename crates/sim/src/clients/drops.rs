//! Clients that drop files into the bucket.

use cloud::{Condition, ObjectStore};
use job::JobId;
use tokio::time::sleep;

use super::Client;

impl Client {
    /// Drops a file, overwrites it, deletes it, as it comes.
    pub(super) async fn drop_files(&self) {
        let number = self.number;
        let key = match self.chance.between(0..=19) {
            0 => format!("drop/nobody/{number}.json"),
            1 => format!("drop/{number}.json"),
            2 => format!("drop/m/{number}/"),
            _ => format!("drop/m/a b+c/한글 {number}.json"),
        };
        if key.ends_with('/') {
            self.put(&key, "", Condition::None).await;
            return;
        }
        let versions = self.chance.one_of(&[1, 1, 1, 2, 2, 3, 4]);
        for nth in 0..versions {
            let bad = self.chance.happens(0.06);
            let input = if bad { format!("no script {number} {nth}") } else { self.input(self.script(), nth) };
            if nth + 1 == versions {
                self.drop_one(&key, input).await;
            } else {
                self.put(&key, &input, Condition::None).await;
                sleep(self.some_seconds(30)).await;
            }
        }
    }

    /// Drops a file, and follows its job or deletes the file.
    pub(super) async fn drop_one(&self, key: &str, input: String) {
        self.put(key, &input, Condition::None).await;
        let Ok(meta) = self.world.inbox.head(key).await else { return };
        let job = JobId::for_dropped_file("inbox", key, &meta.etag, meta.last_modified);
        if self.chance.happens(0.15) {
            sleep(self.some_seconds(30)).await;
            self.world.history.note("somebody", || format!("deletes {key}"));
            self.world.oracle.input_deleted(key, self.world.elapsed());
            self.world.inbox.delete(key).await.expect("a bucket in memory");
        } else if self.chance.happens(0.6) {
            self.follow(job).await;
        }
    }
}
