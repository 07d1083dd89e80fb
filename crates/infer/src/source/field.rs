//! Fields of objects, as XGBoost writes them.

/// What a field's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Integer,
    Object,
    /// A list of u8.
    Bytes,
    /// A list of i32.
    Integers,
    /// A list of i64.
    Longs,
    /// A list of f32.
    Singles,
}

impl Form {
    /// What stands in UBJ between the key and the value's own bytes, or a text's or list's length.
    pub(crate) const fn opening(self) -> &'static [u8] {
        match self {
            Self::Text => b"SL",
            // As small as it can be.
            Self::Integer => b"",
            Self::Object => b"{",
            Self::Bytes => b"[$U#L",
            Self::Integers => b"[$l#L",
            Self::Longs => b"[$L#L",
            Self::Singles => b"[$d#L",
        }
    }

    /// The type of a list's numbers in UBJ.
    pub(super) const fn marker(self) -> u8 {
        self.opening()[2]
    }
}

/// A field that comes where it is expected: all bytes before its value are known, and are compared at once.
pub(crate) struct Field {
    pub(crate) form: Form,
    pub(crate) json: &'static [u8],
    pub(crate) ubj: &'static [u8],
}

/// The field with this key, a literal, and this form, a constant.
macro_rules! field {
    ($key:literal, $form:ident) => {{
        use $crate::source::{Field, Form, joined};
        const KEY: &[u8] = $key.as_bytes();
        const OPENING: &[u8] = Form::$form.opening();
        const JSON: [u8; KEY.len() + 3] = joined(&[b"\"", KEY, b"\":"]);
        const UBJ: [u8; KEY.len() + OPENING.len() + 9] =
            joined(&[b"L", &(KEY.len() as u64).to_be_bytes(), KEY, OPENING]);
        &Field { form: Form::$form, json: &JSON, ubj: &UBJ }
    }};
}
pub(crate) use field;

/// All parts in turn, which are `N` bytes.
pub(crate) const fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let (mut all, mut at, mut part) = ([0; N], 0, 0);
    while part < parts.len() {
        let mut byte = 0;
        while byte < parts[part].len() {
            all[at] = parts[part][byte];
            (at, byte) = (at + 1, byte + 1);
        }
        part += 1;
    }
    assert!(at == N, "another length");
    all
}
