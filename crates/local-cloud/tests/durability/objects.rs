//! Clients that do random things to a few keys of a bucket, and write down what they asked for and what was answered.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use s3s::crypto::{Checksum as _, Crc64Nvme};

use super::common::{Answer, Client};
use super::dice::Dice;
use super::history::Condition;
use super::uploads::Upload;

pub const BUCKET: &str = "crash";

/// One request about an object.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub key: String,
    pub what: What,
    pub start: Instant,
    /// `None` if the connection broke.
    pub answer: Option<Answered>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Put(String, Condition),
    /// A body that is not what its Content-MD5 says.
    PutWrongly,
    Copy(Condition),
    Complete(String, Condition),
    Delete,
    Get,
}

#[derive(Debug, Clone)]
pub struct Answered {
    pub end: Instant,
    pub status: u16,
    pub etag: Option<String>,
    pub request_id: String,
}

/// What all clients asked for and saw.
#[derive(Default)]
pub struct Log {
    pub attempts: Vec<Attempt>,
    pub uploads: Vec<Upload>,
    /// The MD5 of the bytes that each ETag stands for.
    pub contents: HashMap<String, String>,
}

impl Log {
    /// What was logged since the last taking. Objects live on, and so does what their ETags stand for.
    pub fn take(&mut self) -> Self {
        Self {
            attempts: std::mem::take(&mut self.attempts),
            uploads: std::mem::take(&mut self.uploads),
            contents: self.contents.clone(),
        }
    }
}

pub type SharedLog = Arc<Mutex<Log>>;

pub fn hold(log: &SharedLog) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client at work.
pub struct Session {
    pub client: Client,
    pub log: SharedLog,
    pub dice: Dice,
    pub keys: Vec<String>,
    /// Makes its bodies unlike all others.
    pub tag: String,
    pub largest_bytes: u64,
    bodies: usize,
    seen: BTreeMap<String, String>,
    /// The upload under way, by its number in the log.
    pub upload: Option<usize>,
}

impl Session {
    pub fn new(client: Client, log: SharedLog, dice: Dice, keys: Vec<String>, tag: String, largest_bytes: u64) -> Self {
        Self { client, log, dice, keys, tag, largest_bytes, bodies: 0, seen: BTreeMap::new(), upload: None }
    }

    /// Works until so many requests have been answered, or the connection breaks.
    pub async fn work(mut self, requests: usize) {
        for _ in 0..requests {
            if self.step().await.is_none() {
                return;
            }
        }
    }

    async fn step(&mut self) -> Option<()> {
        let key = self.dice.pick(&self.keys).clone();
        match self.dice.below(100) {
            0..22 => self.put(key, Condition::Always).await,
            22..34 => self.put(key, Condition::IfAbsent).await,
            34..46 => {
                let etag = self.seen.get(&key).cloned().unwrap_or_else(|| "0".repeat(32));
                self.put(key, Condition::IfMatch(etag)).await
            }
            46..50 => self.put_wrongly(key).await,
            50..58 => self.copy(key).await,
            58..66 => self.delete(key).await,
            66..78 => self.get(key).await,
            _ => self.multipart(key).await,
        }
    }

    /// A body that no one else sends.
    pub fn body(&mut self) -> Vec<u8> {
        self.bodies += 1;
        let unique = format!("{} {};", self.tag, self.bodies);
        let size = match self.dice.below(20) {
            0..16 => self.dice.within(1..4096),
            16..19 => self.dice.within(60 << 10..70 << 10),
            _ => self.dice.within(1 << 20..8 << 20),
        };
        let size = usize::try_from(size.min(self.largest_bytes)).expect("fits").max(unique.len());
        unique.as_bytes().iter().copied().cycle().take(size).collect()
    }

    pub fn begin(&self, key: &str, what: What) -> usize {
        let mut log = hold(&self.log);
        log.attempts.push(Attempt { key: key.to_owned(), what, start: Instant::now(), answer: None });
        log.attempts.len() - 1
    }

    pub fn end(&mut self, attempt: usize, answer: &Answer, etag: Option<String>) {
        let end = Instant::now();
        assert!(!answer.status.is_server_error(), "{}: {}", answer.status, answer.text());
        let request_id = answer.headers["x-amz-request-id"].to_str().expect("text").to_owned();
        let mut log = hold(&self.log);
        let attempt = &mut log.attempts[attempt];
        if let Some(etag) = &etag {
            self.seen.insert(attempt.key.clone(), etag.clone());
        }
        attempt.answer = Some(Answered { end, status: answer.status.as_u16(), etag, request_id });
    }

    async fn put(&mut self, key: String, condition: Condition) -> Option<()> {
        let body = self.body();
        let etag = md5_of(&body);
        hold(&self.log).contents.insert(etag.clone(), etag.clone());
        let headers = headers_of(&condition);
        let attempt = self.begin(&key, What::Put(etag, condition));
        let answer = self.client.try_s3("PUT", &path(&key), &borrowed(&headers), &body).await.ok()?;
        let etag = etag_of(&answer);
        self.end(attempt, &answer, etag);
        Some(())
    }

    async fn put_wrongly(&mut self, key: String) -> Option<()> {
        let body = self.body();
        let digest = BASE64.encode(Md5::digest(b"something else"));
        let attempt = self.begin(&key, What::PutWrongly);
        let answer = self.client.try_s3("PUT", &path(&key), &[("content-md5", &digest)], &body).await.ok()?;
        self.end(attempt, &answer, None);
        Some(())
    }

    async fn copy(&mut self, key: String) -> Option<()> {
        let others: Vec<String> = self.keys.iter().filter(|other| **other != key).cloned().collect();
        if others.is_empty() {
            return Some(());
        }
        let source: &String = self.dice.pick(&others);
        let source = path(source);
        let condition = if self.dice.percent(30) { Condition::IfAbsent } else { Condition::Always };
        let mut headers = headers_of(&condition);
        headers.push(("x-amz-copy-source", source));
        let attempt = self.begin(&key, What::Copy(condition));
        let answer = self.client.try_s3("PUT", &path(&key), &borrowed(&headers), b"").await.ok()?;
        let etag = tag_in(&answer, "ETag");
        self.end(attempt, &answer, etag);
        Some(())
    }

    async fn delete(&mut self, key: String) -> Option<()> {
        let attempt = self.begin(&key, What::Delete);
        let answer = self.client.try_s3("DELETE", &path(&key), &[], b"").await.ok()?;
        self.end(attempt, &answer, None);
        Some(())
    }

    /// Reads a key, and checks that its bytes are whole.
    pub async fn get(&mut self, key: String) -> Option<()> {
        let attempt = self.begin(&key, What::Get);
        let headers = [("x-amz-checksum-mode", "ENABLED")];
        let answer = self.client.try_s3("GET", &path(&key), &headers, b"").await.ok()?;
        let etag = etag_of(&answer);
        if answer.status == 200 {
            let etag = etag.as_deref().expect("an ETag");
            let bytes = hold(&self.log).contents.get(etag).cloned();
            assert_eq!(bytes, Some(md5_of(&answer.body)), "the bytes of {key} are those of its ETag, {etag}");
            let checksum = answer.headers["x-amz-checksum-crc64nvme"].to_str().expect("text");
            assert_eq!(checksum, BASE64.encode(Crc64Nvme::checksum(&answer.body)), "{key}");
        }
        self.end(attempt, &answer, etag);
        Some(())
    }
}

pub fn path(key: &str) -> String {
    format!("/{BUCKET}/{key}")
}

pub fn md5_of(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

pub fn headers_of(condition: &Condition) -> Vec<(&'static str, String)> {
    match condition {
        Condition::Always | Condition::IfPresent => Vec::new(),
        Condition::IfAbsent => vec![("if-none-match", "*".into())],
        Condition::IfMatch(etag) => vec![("if-match", format!("\"{etag}\""))],
    }
}

pub fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn etag_of(answer: &Answer) -> Option<String> {
    Some(answer.headers.get("etag")?.to_str().ok()?.trim_matches('"').to_owned())
}

/// What is between the first two tags of this name, without quotes.
pub fn tag_in(answer: &Answer, tag: &str) -> Option<String> {
    let text = answer.text();
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once("</")?.0.replace("&quot;", "").replace('"', ""))
}
