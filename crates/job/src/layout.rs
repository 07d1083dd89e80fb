//! Which keys exist in the inbox and the outbox, built and taken apart in this one place.

use crate::id::{AttemptId, JobId, ModelName};

/// The longest key that S3 takes, in bytes of UTF-8.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
pub const MAX_KEY_BYTES: usize = 1024;

/// Inbox prefix of presigned uploads.
pub const UPLOADS: &str = "uploads/";
/// Inbox prefix under which every file is a job.
pub const DROP: &str = "drop/";
/// Outbox prefix of a job's documents.
pub const JOBS: &str = "jobs/";

/// What an inbox key means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboxKey {
    /// `uploads/<job>/<filename>`: the input of one job.
    Upload {
        /// The job it belongs to.
        job: JobId,
    },
    /// `drop/<model>/<path>`: a file that becomes a job.
    Drop {
        /// The folder's name, which may not be a valid model name: that is the job's error to report.
        model: String,
        /// What follows the model's folder.
        path: String,
    },
    /// `drop/<file>` outside any model's folder: a job that fails with `no_model`.
    DropWithoutModel,
    /// A key ending in `/`: consoles make one, empty, for a folder. Nobody's input if it is empty.
    Folder,
    /// Nothing of ours.
    Foreign,
}

impl InboxKey {
    /// Takes an inbox key apart.
    pub fn parse(key: &str) -> Self {
        if let Some(rest) = key.strip_prefix(DROP) {
            return match rest.split_once('/') {
                _ if rest.is_empty() || rest.ends_with('/') => Self::Folder,
                Some((model, path)) => Self::Drop { model: model.to_owned(), path: path.to_owned() },
                None => Self::DropWithoutModel,
            };
        }
        let Some((job, filename)) = key.strip_prefix(UPLOADS).and_then(|rest| rest.split_once('/')) else {
            return if key.ends_with('/') { Self::Folder } else { Self::Foreign };
        };
        match job.parse() {
            Ok(job) if !filename.is_empty() => Self::Upload { job },
            _ if key.ends_with('/') => Self::Folder,
            _ => Self::Foreign,
        }
    }
}

/// The key that a client's presigned PUT writes.
pub fn upload_key(job: JobId, filename: &str) -> String {
    format!("{UPLOADS}{job}/{filename}")
}

/// The job's record, written once when it is accepted.
pub fn ticket_key(job: JobId) -> String {
    format!("{JOBS}{job}/ticket.json")
}

/// How far the current attempt is; advisory.
pub fn progress_key(job: JobId) -> String {
    format!("{JOBS}{job}/progress.json")
}

/// The commit record: written once, never changed.
pub fn outcome_key(job: JobId) -> String {
    format!("{JOBS}{job}/outcome.json")
}

/// The job whose ticket a listed key is, if it is one.
pub fn ticket_of(key: &str) -> Option<JobId> {
    key.strip_prefix(JOBS)?.strip_suffix("/ticket.json")?.parse().ok()
}

/// A large output of one attempt; attempts never share a key, so a late one cannot touch a committed result.
pub fn result_key(job: JobId, attempt: AttemptId, name: &str) -> String {
    format!("results/{job}/{attempt}/{name}")
}

/// Where the record of a given-up message lies.
pub fn dead_key(message_id: &str) -> String {
    let safe: String =
        message_id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("dead/{safe}.json")
}

/// Outbox prefix of the records of given-up messages.
pub const DEAD: &str = "dead/";

/// The two places where a dropped file's answer may appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorKeys {
    /// `mirror/<model>/<path>.result.<extension>`
    pub result: String,
    /// `mirror/<model>/<path>.error.json`
    pub error: String,
}

impl MirrorKeys {
    /// The mirror of `drop/<model>/<path>`; `extension` is the result's, without the dot. An empty `model` stands for a
    /// file dropped outside any model's folder.
    pub fn new(model: &str, path: &str, extension: &str) -> Self {
        let stem = if model.is_empty() { format!("mirror/{path}") } else { format!("mirror/{model}/{path}") };
        Self { result: format!("{stem}.result.{extension}"), error: format!("{stem}.error.json") }
    }

    /// Whether S3 takes both keys.
    pub fn fit(&self) -> bool {
        self.result.len() <= MAX_KEY_BYTES && self.error.len() <= MAX_KEY_BYTES
    }
}

/// The inbox key of a file dropped for `model`.
pub fn drop_key(model: &ModelName, path: &str) -> String {
    format!("{DROP}{model}/{path}")
}

/// The rule that a client's filename breaks, or `None` if it can be the last part of a key.
pub fn filename_fault(filename: &str) -> Option<&'static str> {
    if filename.is_empty() {
        Some("a filename must not be empty")
    } else if filename.len() > 255 {
        Some("a filename must not be longer than 255 bytes of UTF-8")
    } else if filename.contains(['/', '\\']) {
        Some("a filename must not contain a slash or a backslash")
    } else if filename.chars().any(char::is_control) {
        Some("a filename must not contain control characters")
    } else if filename == "." || filename == ".." {
        Some("a filename must not be a relative path")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> JobId {
        JobId::from_random([7; 16])
    }

    proptest! {
        #[test]
        fn an_upload_key_leads_back_to_its_job(bytes: [u8; 16], name in "[^/]{1,60}") {
            let job = JobId::from_random(bytes);
            prop_assert_eq!(InboxKey::parse(&upload_key(job, &name)), InboxKey::Upload { job });
        }

        #[test]
        fn any_key_parses(key in "\\PC{0,80}") {
            InboxKey::parse(&key);
        }

        #[test]
        fn a_dropped_key_leads_back_to_its_path(path in "\\PC{0,60}[^/]") {
            let model: ModelName = "m".parse().unwrap();
            let parsed = InboxKey::parse(&drop_key(&model, &path));
            prop_assert_eq!(parsed, InboxKey::Drop { model: "m".into(), path });
        }
    }

    #[test]
    fn keys_of_neither_prefix_are_foreign() {
        assert_eq!(InboxKey::parse("elsewhere/x"), InboxKey::Foreign);
        assert_eq!(InboxKey::parse("uploads/short/x"), InboxKey::Foreign);
        assert_eq!(InboxKey::parse("drop/x.json"), InboxKey::DropWithoutModel);
        assert_eq!(InboxKey::parse("drop/m/"), InboxKey::Folder);
        assert_eq!(InboxKey::parse("drop/"), InboxKey::Folder);
        assert_eq!(InboxKey::parse(&format!("uploads/{}/", id())), InboxKey::Folder);
    }

    #[test]
    fn tickets_are_found_in_a_listing() {
        assert_eq!(ticket_of(&ticket_key(id())), Some(id()));
        assert_eq!(ticket_of(&outcome_key(id())), None);
    }

    #[test]
    fn a_mirror_key_has_s3_s_limit() {
        assert!(MirrorKeys::new("m", &"x".repeat(900), "json").fit());
        assert!(!MirrorKeys::new("m", &"x".repeat(1010), "json").fit());
    }
}
