//! How the document's place is written.

use std::path::PathBuf;
use std::str::FromStr;

/// Where the document is: a file, or `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An object.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
}

/// The text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a file's path nor s3://bucket/keys.json")]
pub struct InvalidPlace(String);

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let invalid = || InvalidPlace(text.to_owned());
        match text.strip_prefix("s3://") {
            None if text.is_empty() => Err(invalid()),
            None => Ok(Self::File(text.into())),
            Some(rest) => match rest.split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() && !key.ends_with('/') => {
                    Ok(Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
                }
                _ => Err(invalid()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert_eq!("a/keys.json".parse(), Ok(Place::File("a/keys.json".into())));
        let object = Place::Object { bucket: "b".into(), key: "x/keys.json".into() };
        assert_eq!("s3://b/x/keys.json".parse(), Ok(object));
        for bad in ["", "s3://", "s3://b", "s3://b/", "s3:///k", "s3://b/folder/"] {
            assert_eq!(bad.parse::<Place>(), Err(InvalidPlace(bad.to_owned())), "{bad}");
        }
    }
}
