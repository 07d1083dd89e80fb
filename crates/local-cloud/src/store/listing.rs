//! Listing the keys of a bucket in order, rolled up at a delimiter.

use rusqlite::params;

use super::Store;
use super::buckets::bucket_id;
use super::error::Result;
use super::objects::Head;

#[derive(Debug, Clone)]
pub(crate) struct ListingQuery {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    pub(crate) delimiter: Option<String>,
    /// Only what comes after this: a key, or a common prefix that was listed last.
    pub(crate) after: String,
    pub(crate) max_keys: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListingEntry {
    Object {
        key: String,
        size_bytes: u64,
        etag: String,
        modified_ms: i64,
        /// The algorithms of its checksums.
        algorithms: Vec<String>,
        /// The checksums are of checksums of parts, not of the whole.
        composite: bool,
    },
    CommonPrefix(String),
}

impl ListingEntry {
    /// What to pass as `after` to go on behind this entry.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<ListingEntry>,
    pub(crate) truncated: bool,
}

impl Store {
    pub(crate) async fn list(&self, query: ListingQuery) -> Result<Listing> {
        self.db
            .read(move |db| {
                let bucket = bucket_id(db, &query.bucket)?;
                // Two forms, so that each walks the primary key from its first match on.
                let mut inclusive = db.prepare_cached(
                    "SELECT key, size, etag, modified_ms, head FROM objects
                     WHERE bucket = ?1 AND key >= ?2 ORDER BY key LIMIT 1000",
                )?;
                let mut exclusive = db.prepare_cached(
                    "SELECT key, size, etag, modified_ms, head FROM objects
                     WHERE bucket = ?1 AND key > ?2 ORDER BY key LIMIT 1000",
                )?;
                let mut listing = Listing::default();
                if query.max_keys == 0 {
                    return Ok(listing);
                }
                let mut from = From::of(&query);
                'pages: loop {
                    let (statement, bound) = match &from {
                        From::At(key) => (&mut inclusive, key),
                        From::After(key) => (&mut exclusive, key),
                    };
                    let mut rows = statement.query(params![bucket, bound])?;
                    let mut last = None;
                    while let Some(row) = rows.next()? {
                        let key: String = row.get(0)?;
                        if !key.starts_with(&query.prefix) {
                            break 'pages;
                        }
                        let rolled_up = common_prefix(&key, &query);
                        // Behind a common prefix that was the last entry of the page before.
                        if let Some(group) = &rolled_up
                            && *group == query.after
                        {
                            match successor(group) {
                                Some(next) => from = From::At(next),
                                None => break 'pages,
                            }
                            continue 'pages;
                        }
                        if listing.entries.len() == query.max_keys {
                            listing.truncated = true;
                            break 'pages;
                        }
                        if let Some(group) = rolled_up {
                            let next = successor(&group);
                            listing.entries.push(ListingEntry::CommonPrefix(group));
                            match next {
                                Some(next) => from = From::At(next),
                                None => break 'pages,
                            }
                            continue 'pages;
                        }
                        let size: i64 = row.get(1)?;
                        let head: Head = serde_json::from_str(&row.get::<_, String>(4)?)?;
                        listing.entries.push(ListingEntry::Object {
                            key: key.clone(),
                            size_bytes: size.unsigned_abs(),
                            etag: row.get(2)?,
                            modified_ms: row.get(3)?,
                            algorithms: head.checksums.into_keys().collect(),
                            composite: head.composite,
                        });
                        last = Some(key);
                    }
                    match last {
                        Some(key) => from = From::After(key),
                        None => break,
                    }
                }
                Ok(listing)
            })
            .await
    }
}

enum From {
    At(String),
    After(String),
}

impl From {
    fn of(query: &ListingQuery) -> Self {
        if query.after < query.prefix { Self::At(query.prefix.clone()) } else { Self::After(query.after.clone()) }
    }
}

fn common_prefix(key: &str, query: &ListingQuery) -> Option<String> {
    let delimiter = query.delimiter.as_deref()?;
    let rest = &key[query.prefix.len()..];
    let end = rest.find(delimiter)? + delimiter.len();
    Some(key[..query.prefix.len() + end].to_owned())
}

/// The smallest string above everything that begins with `prefix`, if there is one.
fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_is_above_all_that_begins_with_it() {
        assert_eq!(successor("a/").as_deref(), Some("a0"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }
}
