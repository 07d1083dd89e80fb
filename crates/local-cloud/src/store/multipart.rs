//! Multipart uploads.

use std::collections::{BTreeMap, HashMap};

use md5::{Digest, Md5};
use rusqlite::{Connection, OptionalExtension, params};
use s3s::checksum::ChecksumHasher;

use super::Store;
use super::blobs::{FinishedBlob, StagedBlob};
use super::buckets::bucket_id;
use super::db::{Change, Effect};
use super::error::{Result, StoreError};
use super::objects::{self, Condition, Head, NewObject};
use crate::events::ObjectEvent;

/// Every part but the last is at least this long, as in S3.
const PART_MIN_BYTES: u64 = 5 << 20;

#[derive(Debug, Clone)]
pub(crate) struct UploadRecord {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) created_ms: i64,
    pub(crate) head: Head,
    /// The checksum algorithm that was asked for (`CRC32`, ...).
    pub(crate) algorithm: Option<String>,
    /// The object's checksum is one of all its bytes, rather than one of its parts' checksums.
    pub(crate) full_object: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct PartRecord {
    pub(crate) number: i32,
    blob: String,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
    pub(crate) checksums: BTreeMap<String, String>,
    pub(crate) modified_ms: i64,
}

/// A part as the client names it on completion.
#[derive(Debug, Clone)]
pub(crate) struct CompletedPart {
    pub(crate) number: i32,
    pub(crate) etag: String,
    pub(crate) checksums: BTreeMap<String, String>,
}

/// The parts to join, checked, and the object that they make.
pub(crate) struct CheckedParts {
    pub(crate) upload: UploadRecord,
    pub(crate) parts: Vec<PartRecord>,
    pub(crate) etag: String,
}

impl Store {
    pub(crate) async fn create_upload(&self, bucket: String, upload: UploadRecord) -> Result<()> {
        self.db
            .write(move |change| {
                let bucket = bucket_id(change, &bucket)?;
                change.execute(
                    "INSERT INTO uploads (id, bucket, key, created_ms, head, algorithm, full_object)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        upload.id,
                        bucket,
                        upload.key,
                        upload.created_ms,
                        serde_json::to_string(&upload.head)?,
                        upload.algorithm,
                        upload.full_object
                    ],
                )?;
                Ok(())
            })
            .await
    }

    pub(crate) fn new_upload(&self, key: String, head: Head) -> UploadRecord {
        let id = uuid::Uuid::new_v4().simple().to_string();
        UploadRecord { id, key, created_ms: self.now_ms(), head, algorithm: None, full_object: false }
    }

    pub(crate) async fn upload(&self, bucket: String, key: String, id: String) -> Result<UploadRecord> {
        self.db.read(move |db| find_upload(db, &bucket, &key, &id)).await
    }

    pub(crate) async fn uploads(&self, bucket: String, prefix: String) -> Result<Vec<UploadRecord>> {
        self.db
            .read(move |db| {
                let bucket = bucket_id(db, &bucket)?;
                let mut statement = db.prepare_cached(
                    "SELECT id, key, created_ms, head, algorithm, full_object FROM uploads
                     WHERE bucket = ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY key, created_ms",
                )?;
                let rows = statement.query_map(params![bucket, prefix], upload_row)?;
                rows.map(|row| parse_upload(row?)).collect()
            })
            .await
    }

    /// Records a part; a part of the same number is replaced.
    pub(crate) async fn put_part(
        &self,
        (bucket, key, upload): (String, String, String),
        number: i32,
        blob: FinishedBlob,
        checksums: BTreeMap<String, String>,
    ) -> Result<()> {
        let now_ms = self.now_ms();
        let FinishedBlob { staged, size_bytes, md5, .. } = blob;
        let blobs = self.blobs.clone();
        let staged = objects::blocking(move || blobs.in_file(staged)).await?;
        self.db
            .write(move |change| {
                find_upload(change, &bucket, &key, &upload)?;
                let old: Option<String> = change
                    .query_row(
                        "SELECT blob FROM parts WHERE upload = ?1 AND number = ?2",
                        params![upload, number],
                        |row| row.get(0),
                    )
                    .optional()?;
                let size = i64::try_from(size_bytes).map_err(|_| StoreError::Invalid("too large".into()))?;
                let (etag, checksums) = (hex::encode(md5), serde_json::to_string(&checksums)?);
                change.execute(
                    "INSERT OR REPLACE INTO parts (upload, number, blob, size, etag, checksums, modified_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![upload, number, change.name_blob(staged), size, etag, checksums, now_ms],
                )?;
                if let Some(old) = old {
                    change.after_commit(Effect::RemoveBlob(old));
                }
                Ok(())
            })
            .await
    }

    pub(crate) async fn parts(
        &self,
        bucket: String,
        key: String,
        upload: String,
    ) -> Result<(UploadRecord, Vec<PartRecord>)> {
        self.db
            .read(move |db| {
                let record = find_upload(db, &bucket, &key, &upload)?;
                Ok((record, parts_of(db, &upload)?))
            })
            .await
    }

    pub(crate) async fn abort_upload(&self, bucket: String, key: String, upload: String) -> Result<()> {
        self.db
            .write(move |change| {
                find_upload(change, &bucket, &key, &upload)?;
                remove_upload(change, &upload)
            })
            .await
    }

    /// Checks the parts that a client lists against those that were uploaded.
    pub(crate) async fn check_parts(
        &self,
        bucket: String,
        key: String,
        upload: String,
        listed: Vec<CompletedPart>,
    ) -> Result<CheckedParts> {
        let (upload, stored) = self.parts(bucket, key, upload).await?;
        if listed.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let mut by_number: HashMap<i32, PartRecord> = stored.into_iter().map(|part| (part.number, part)).collect();
        let mut parts = Vec::with_capacity(listed.len());
        let mut etags = Md5::new();
        for claim in &listed {
            let part = by_number.remove(&claim.number).ok_or(StoreError::InvalidPart)?;
            let checksums_hold = claim
                .checksums
                .iter()
                .all(|(algorithm, value)| part.checksums.get(algorithm).is_none_or(|known| known == value));
            if part.etag != claim.etag || !checksums_hold {
                return Err(StoreError::InvalidPart);
            }
            etags.update(hex::decode(&part.etag).map_err(|_| StoreError::InvalidPart)?);
            parts.push(part);
        }
        let (_, all_but_last) = parts.split_last().ok_or(StoreError::InvalidPart)?;
        if all_but_last.iter().any(|part| part.size_bytes < PART_MIN_BYTES) {
            return Err(StoreError::PartTooSmall);
        }
        let etag = format!("{}-{}", hex::encode(etags.finalize()), parts.len());
        Ok(CheckedParts { upload, parts, etag })
    }

    /// Joins the bytes of the parts.
    pub(crate) async fn join_parts(&self, parts: &[PartRecord], checksums: ChecksumHasher) -> Result<FinishedBlob> {
        let names: Vec<String> = parts.iter().map(|part| part.blob.clone()).collect();
        let blobs = self.blobs.clone();
        objects::blocking(move || blobs.concatenate(&names, checksums)).await
    }

    /// Records the object that the joined parts make, and forgets the upload.
    pub(crate) async fn complete_upload(
        &self,
        checked: CheckedParts,
        (bucket, staged, size_bytes): (String, StagedBlob, u64),
        head: Head,
        condition: Condition,
        request_id: String,
    ) -> Result<i64> {
        let (now, region) = (self.now(), self.region.clone());
        self.db
            .write(move |change| {
                let CheckedParts { upload, parts, etag } = checked;
                // Aborted, completed or changed by someone else while the parts were being joined?
                find_upload(change, &bucket, &upload.key, &upload.id)?;
                let current = parts_of(change, &upload.id)?;
                let unchanged = parts
                    .iter()
                    .all(|part| current.iter().any(|now| now.number == part.number && now.blob == part.blob));
                if !unchanged {
                    return Err(StoreError::InvalidPart);
                }
                let object = NewObject {
                    bucket,
                    key: upload.key,
                    staged,
                    size_bytes,
                    etag,
                    head,
                    condition,
                    event: ObjectEvent::CompleteMultipartUpload,
                    request_id,
                };
                let modified_ms = objects::record(change, object, now, &region)?;
                remove_upload(change, &upload.id)?;
                Ok(modified_ms)
            })
            .await
    }
}

fn remove_upload(change: &Change<'_>, upload: &str) -> Result<()> {
    for part in parts_of(change, upload)? {
        change.after_commit(Effect::RemoveBlob(part.blob));
    }
    change.execute("DELETE FROM uploads WHERE id = ?1", [upload])?;
    Ok(())
}

type UploadRow = (String, String, i64, String, Option<String>, bool);

fn upload_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<UploadRow> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn parse_upload((id, key, created_ms, head, algorithm, full_object): UploadRow) -> Result<UploadRecord> {
    Ok(UploadRecord { id, key, created_ms, head: serde_json::from_str(&head)?, algorithm, full_object })
}

fn find_upload(db: &Connection, bucket: &str, key: &str, id: &str) -> Result<UploadRecord> {
    let bucket = bucket_id(db, bucket)?;
    let row = db
        .prepare_cached(
            "SELECT id, key, created_ms, head, algorithm, full_object FROM uploads
             WHERE id = ?1 AND bucket = ?2 AND key = ?3",
        )?
        .query_row(params![id, bucket, key], upload_row)
        .optional()?;
    parse_upload(row.ok_or(StoreError::NoSuchUpload)?)
}

fn parts_of(db: &Connection, upload: &str) -> Result<Vec<PartRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT number, blob, size, etag, checksums, modified_ms FROM parts WHERE upload = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([upload])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        let (size, checksums): (i64, String) = (row.get(2)?, row.get(4)?);
        parts.push(PartRecord {
            number: row.get(0)?,
            blob: row.get(1)?,
            size_bytes: size.unsigned_abs(),
            etag: row.get(3)?,
            checksums: serde_json::from_str(&checksums)?,
            modified_ms: row.get(5)?,
        });
    }
    Ok(parts)
}
