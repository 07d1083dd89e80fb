//! The part of the random load that uploads in parts.

use md5::{Digest, Md5};

use super::common::{Answer, Client};
use super::history::Condition;
use super::objects::{BUCKET, Log, Session, What, borrowed, headers_of, hold, md5_of, path, tag_in};

const PART_MIN_BYTES: usize = 5 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Open,
    AbortAsked,
    Aborted,
    /// By the attempt of this number.
    CompleteAsked(usize),
    Completed,
}

#[derive(Clone)]
pub struct Part {
    pub number: u32,
    body: Vec<u8>,
    etag: String,
    answered: bool,
}

#[derive(Clone)]
pub struct Upload {
    pub key: String,
    /// `None` if the connection broke before it was told.
    pub id: Option<String>,
    /// The part numbers that it is to have.
    numbers: Vec<u32>,
    /// In the order of sending; of two with one number the later counts.
    parts: Vec<Part>,
    pub fate: Fate,
}

impl Session {
    /// The next step of this client's upload.
    pub async fn multipart(&mut self, key: String) -> Option<()> {
        let Some(index) = self.upload else { return self.create_upload(key).await };
        let upload = hold(&self.log).uploads[index].clone();
        if let Some(number) = upload.numbers.get(upload.parts.len()) {
            return self.put_part(index, &upload, *number).await;
        }
        if self.dice.percent(15) {
            let again = *upload.numbers.last().expect("one at least");
            return self.put_part(index, &upload, again).await;
        }
        self.upload = None;
        if self.dice.percent(30) { self.abort(index, &upload).await } else { self.complete(index, &upload).await }
    }

    async fn create_upload(&mut self, key: String) -> Option<()> {
        let two_parts = self.largest_bytes > PART_MIN_BYTES as u64 && self.dice.percent(12);
        let numbers = if two_parts { vec![2, 7] } else { vec![1] };
        let index = {
            let mut log = hold(&self.log);
            log.uploads.push(Upload { key: key.clone(), id: None, numbers, parts: Vec::new(), fate: Fate::Open });
            log.uploads.len() - 1
        };
        let answer = self.client.try_s3("POST", &format!("{}?uploads", path(&key)), &[], b"").await.ok()?.expect(200);
        hold(&self.log).uploads[index].id = tag_in(&answer, "UploadId");
        self.upload = Some(index);
        Some(())
    }

    async fn put_part(&mut self, index: usize, upload: &Upload, number: u32) -> Option<()> {
        let mut body = self.body();
        if upload.numbers.last() != Some(&number) {
            body = body.iter().copied().cycle().take(PART_MIN_BYTES).collect();
        }
        let part = {
            let (etag, body) = (md5_of(&body), body.clone());
            let parts = &mut hold(&self.log).uploads[index].parts;
            parts.push(Part { number, body, etag, answered: false });
            parts.len() - 1
        };
        let path = format!("{}?partNumber={number}&uploadId={}", path(&upload.key), upload.id());
        self.client.try_s3("PUT", &path, &[], &body).await.ok()?.expect(200);
        hold(&self.log).uploads[index].parts[part].answered = true;
        Some(())
    }

    async fn complete(&mut self, index: usize, upload: &Upload) -> Option<()> {
        let condition = if self.dice.percent(30) { Condition::IfAbsent } else { Condition::Always };
        let parts: Vec<&Part> = upload.numbers.iter().map(|number| upload.last_of(*number).expect("sent")).collect();
        let (mut bytes, mut etags, mut listed) = (Md5::new(), Md5::new(), String::new());
        for Part { number, body, etag, .. } in &parts {
            bytes.update(body);
            etags.update(Md5::digest(body));
            listed += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        let etag = format!("{}-{}", hex::encode(etags.finalize()), parts.len());
        let of_whole = hex::encode(bytes.finalize());
        let known = [(etag.clone(), of_whole.clone()), (of_whole.clone(), of_whole)];
        // A copy is one whole.
        hold(&self.log).contents.extend(known);
        let headers = headers_of(&condition);
        let attempt = self.begin(&upload.key, What::Complete(etag, condition));
        hold(&self.log).uploads[index].fate = Fate::CompleteAsked(attempt);
        let body = format!("<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>");
        let path = format!("{}?uploadId={}", path(&upload.key), upload.id());
        let answer = self.client.try_s3("POST", &path, &borrowed(&headers), body.as_bytes()).await.ok()?;
        let etag = tag_in(&answer, "ETag");
        // Refused by its condition, the upload stays.
        hold(&self.log).uploads[index].fate = if answer.status == 200 { Fate::Completed } else { Fate::Open };
        self.end(attempt, &answer, etag);
        Some(())
    }

    async fn abort(&mut self, index: usize, upload: &Upload) -> Option<()> {
        hold(&self.log).uploads[index].fate = Fate::AbortAsked;
        let path = format!("{}?uploadId={}", path(&upload.key), upload.id());
        self.client.try_s3("DELETE", &path, &[], b"").await.ok()?.expect(204);
        hold(&self.log).uploads[index].fate = Fate::Aborted;
        Some(())
    }
}

impl Upload {
    fn id(&self) -> &str {
        self.id.as_deref().expect("told")
    }

    fn last_of(&self, number: u32) -> Option<&Part> {
        self.parts.iter().rfind(|part| part.number == number)
    }
}

/// Compares the uploads that the server knows with those in the log, and aborts them. `took_effect` tells of an
/// attempt whose answer was not seen.
pub async fn check(client: &Client, log: &Log, took_effect: impl Fn(usize) -> bool) {
    let listed = client.s3("GET", &format!("/{BUCKET}?uploads"), &[], b"").await.expect(200);
    let listed: Vec<(String, String)> =
        all_between(&listed, "Key").into_iter().zip(all_between(&listed, "UploadId")).collect();
    for upload in &log.uploads {
        let Some(id) = &upload.id else { continue };
        let is_there = listed.contains(&(upload.key.clone(), id.clone()));
        match upload.fate {
            Fate::Open => assert!(is_there, "the upload {id} of {} is gone", upload.key),
            Fate::Aborted | Fate::Completed => assert!(!is_there, "the upload {id} of {} is back", upload.key),
            Fate::AbortAsked => {}
            Fate::CompleteAsked(attempt) => {
                assert_eq!(is_there, !took_effect(attempt), "an upload is there until its object is: {}", upload.key);
            }
        }
        if is_there {
            check_parts(client, upload).await;
        }
    }
    for (key, id) in &listed {
        let known =
            log.uploads.iter().any(|upload| upload.key == *key && upload.id.as_ref().is_none_or(|told| told == id));
        assert!(known, "nobody began the upload {id} of {key}");
        client.s3("DELETE", &format!("{}?uploadId={id}", path(key)), &[], b"").await.expect(204);
    }
}

async fn check_parts(client: &Client, upload: &Upload) {
    let listed =
        client.s3("GET", &format!("{}?uploadId={}", path(&upload.key), upload.id()), &[], b"").await.expect(200);
    let numbers = all_between(&listed, "PartNumber").into_iter().map(|number| number.parse().expect("a number"));
    let listed: Vec<(u32, String)> = numbers.zip(all_between(&listed, "ETag")).collect();
    for number in &upload.numbers {
        let sent: Vec<&Part> = upload.parts.iter().filter(|part| part.number == *number).collect();
        let answered = sent.iter().rposition(|part| part.answered);
        // The last that was answered, or one whose answer was not seen.
        let possible: Vec<&str> = sent[answered.unwrap_or(0)..].iter().map(|part| part.etag.as_str()).collect();
        match listed.iter().find(|(listed, _)| listed == number) {
            Some((_, etag)) => {
                assert!(possible.contains(&etag.as_str()), "part {number} is {etag}, not of {possible:?}")
            }
            None => assert!(answered.is_none(), "part {number} of {} is lost", upload.key),
        }
    }
}

fn all_between(answer: &Answer, tag: &str) -> Vec<String> {
    let text = answer.text().replace("&quot;", "").replace('"', "");
    let open = format!("<{tag}>");
    text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once("</")?.0.to_owned())).collect()
}
