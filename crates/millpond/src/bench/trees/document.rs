//! XGBoost's model files as documents: read from UBJ, and written as UBJ or JSON to the byte as XGBoost 3 writes them.
//!
//! `infer` reads such files without ever holding a document. Here one is needed: the same model goes to engines that take other
//! formats, and models grown here are to be files that XGBoost takes for its own.

use std::fmt::Write;

use anyhow::{Context, bail};

/// A value in a model file.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    Text(String),
    Integer(i64),
    Object(Vec<(String, Document)>),
    List(Vec<Document>),
    // Lists of one type, which UBJ says once.
    Bytes(Vec<u8>),
    Words(Vec<i32>),
    Longs(Vec<i64>),
    Floats(Vec<f32>),
}

impl Document {
    /// Reads a file in UBJ, of the types that XGBoost writes.
    pub fn from_ubj(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut reader = Reader { rest: bytes };
        let document = reader.value().context("the model is no UBJ as XGBoost writes it")?;
        anyhow::ensure!(reader.rest.is_empty(), "the model's file goes on after its end");
        Ok(document)
    }

    /// As UBJ.
    pub fn to_ubj(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_ubj(&mut out);
        out
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// What lies within objects under these keys.
    pub fn at(&self, path: &[&str]) -> anyhow::Result<&Self> {
        path.iter().try_fold(self, |document, key| {
            let Self::Object(members) = document else { bail!("the model has no object around {key}") };
            let found = members.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value).with_context(|| format!("the model has no {key}"))
        })
    }

    pub fn text(&self) -> anyhow::Result<&str> {
        if let Self::Text(text) = self { Ok(text) } else { bail!("the model has something else in place of a text") }
    }

    pub fn list(&self) -> anyhow::Result<&[Self]> {
        if let Self::List(list) = self { Ok(list) } else { bail!("the model has something else in place of a list") }
    }

    pub fn floats(&self) -> anyhow::Result<&[f32]> {
        if let Self::Floats(list) = self { Ok(list) } else { bail!("the model has something else in place of floats") }
    }

    /// Whole numbers, however they are stored.
    pub fn integers(&self) -> anyhow::Result<Vec<i64>> {
        Ok(match self {
            Self::Bytes(list) => list.iter().map(|value| i64::from(*value)).collect(),
            Self::Words(list) => list.iter().map(|value| i64::from(*value)).collect(),
            Self::Longs(list) => list.clone(),
            Self::List(list) => list
                .iter()
                .map(
                    |value| {
                        if let Self::Integer(value) = value { Ok(*value) } else { bail!("a list is not of integers") }
                    },
                )
                .collect::<anyhow::Result<_>>()?,
            _ => bail!("the model has something else in place of integers"),
        })
    }

    fn write_ubj(&self, out: &mut Vec<u8>) {
        fn length(out: &mut Vec<u8>, length: usize) {
            out.push(b'L');
            out.extend((length as i64).to_be_bytes());
        }
        fn typed<const N: usize>(out: &mut Vec<u8>, kind: u8, items: impl ExactSizeIterator<Item = [u8; N]>) {
            out.extend([b'[', b'$', kind, b'#']);
            length(out, items.len());
            out.extend(items.flatten());
        }
        match self {
            Self::Text(text) => {
                out.push(b'S');
                length(out, text.len());
                out.extend(text.bytes());
            }
            Self::Integer(value) => {
                // XGBoost leaves the ends of each range to the next wider type.
                if let Some(value) = i8::try_from(*value).ok().filter(|value| !matches!(*value, i8::MIN | i8::MAX)) {
                    out.push(b'i');
                    out.extend(value.to_be_bytes());
                } else if let Some(value) =
                    i16::try_from(*value).ok().filter(|value| !matches!(*value, i16::MIN | i16::MAX))
                {
                    out.push(b'I');
                    out.extend(value.to_be_bytes());
                } else if let Some(value) =
                    i32::try_from(*value).ok().filter(|value| !matches!(*value, i32::MIN | i32::MAX))
                {
                    out.push(b'l');
                    out.extend(value.to_be_bytes());
                } else {
                    out.push(b'L');
                    out.extend(value.to_be_bytes());
                }
            }
            Self::Object(members) => {
                out.push(b'{');
                for (key, value) in members {
                    length(out, key.len());
                    out.extend(key.bytes());
                    value.write_ubj(out);
                }
                out.push(b'}');
            }
            Self::List(items) => {
                out.extend(b"[#");
                length(out, items.len());
                items.iter().for_each(|item| item.write_ubj(out));
            }
            Self::Bytes(items) => typed(out, b'U', items.iter().map(|item| item.to_be_bytes())),
            Self::Words(items) => typed(out, b'l', items.iter().map(|item| item.to_be_bytes())),
            Self::Longs(items) => typed(out, b'L', items.iter().map(|item| item.to_be_bytes())),
            Self::Floats(items) => typed(out, b'd', items.iter().map(|item| item.to_be_bytes())),
        }
    }

    fn write_json(&self, out: &mut String) {
        fn list<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        fn plain<T: std::fmt::Display>(out: &mut String, item: &T) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{item}");
        }
        match self {
            Self::Text(text) => plain(out, &serde_json::Value::from(text.as_str())),
            Self::Integer(value) => plain(out, value),
            Self::Object(members) => {
                out.push('{');
                for (at, (key, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    plain(out, &serde_json::Value::from(key.as_str()));
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
            Self::List(items) => list(out, items, |out, item| item.write_json(out)),
            Self::Bytes(items) => list(out, items, plain),
            Self::Words(items) => list(out, items, plain),
            Self::Longs(items) => list(out, items, plain),
            Self::Floats(items) => list(out, items, |out, item| plain(out, &format_args!("{item:E}"))),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> anyhow::Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().context("it ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> anyhow::Result<usize> {
        anyhow::ensure!(self.take()? == *b"L", "a length is not of 8 bytes");
        let length = usize::try_from(i64::from_be_bytes(self.take()?))?;
        anyhow::ensure!(length <= self.rest.len(), "a length is beyond the file's");
        Ok(length)
    }

    fn text(&mut self) -> anyhow::Result<String> {
        let length = self.length()?;
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(String::from_utf8(text.to_vec())?)
    }

    fn value(&mut self) -> anyhow::Result<Document> {
        Ok(match self.take()? {
            [b'S'] => Document::Text(self.text()?),
            [b'i'] => Document::Integer(i8::from_be_bytes(self.take()?).into()),
            [b'I'] => Document::Integer(i16::from_be_bytes(self.take()?).into()),
            [b'l'] => Document::Integer(i32::from_be_bytes(self.take()?).into()),
            [b'L'] => Document::Integer(i64::from_be_bytes(self.take()?)),
            [b'{'] => {
                let mut members = Vec::new();
                while self.rest.first() != Some(&b'}') {
                    members.push((self.text()?, self.value()?));
                }
                self.take::<1>()?;
                Document::Object(members)
            }
            [b'['] if self.rest.first() == Some(&b'$') => {
                let [_, kind, count] = self.take()?;
                anyhow::ensure!(count == b'#', "a list has no length");
                let items = 0..self.length()?;
                match kind {
                    b'U' => {
                        Document::Bytes(items.map(|_| self.take().map(u8::from_be_bytes)).collect::<Result<_, _>>()?)
                    }
                    b'l' => {
                        Document::Words(items.map(|_| self.take().map(i32::from_be_bytes)).collect::<Result<_, _>>()?)
                    }
                    b'L' => {
                        Document::Longs(items.map(|_| self.take().map(i64::from_be_bytes)).collect::<Result<_, _>>()?)
                    }
                    b'd' => {
                        Document::Floats(items.map(|_| self.take().map(f32::from_be_bytes)).collect::<Result<_, _>>()?)
                    }
                    other => bail!("a list is of type {other}"),
                }
            }
            [b'['] => {
                anyhow::ensure!(self.take()? == *b"#", "a list has no length");
                let items = 0..self.length()?;
                Document::List(items.map(|_| self.value()).collect::<Result<_, _>>()?)
            }
            [other] => bail!("it has a value of type {other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn reference(file: &str) -> Vec<u8> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infer/tests/reference/3.2.0");
        std::fs::read(folder.join(file)).unwrap()
    }

    /// XGBoost saved these models in both formats.
    #[test]
    fn files_are_written_as_xgboost_writes_them() {
        for name in ["softprob", "categorical"] {
            let ubj = reference(&format!("{name}.ubj"));
            let document = Document::from_ubj(&ubj).unwrap();
            assert!(document.to_ubj() == ubj, "{name}.ubj");
            assert!(document.to_json().as_bytes() == reference(&format!("{name}.json")), "{name}.json");
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let ubj = reference("softprob.ubj");
        for end in [0, 1, 20, 400, ubj.len() - 1] {
            assert!(Document::from_ubj(&ubj[..end]).is_err(), "the first {end} bytes");
        }
        assert!(Document::from_ubj(&[ubj.as_slice(), b"}"].concat()).is_err());
    }
}
