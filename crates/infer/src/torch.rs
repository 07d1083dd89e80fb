//! Reads the weights in a file that PyTorch's `torch.save` wrote before version 1.6: a state dict of f32 tensors.
//!
//! Such a file is five pickles (a magic number, a version, facts about the machine, the object, the storages' keys) and then
//! each storage: a count as i64, and the numbers. A pickle is a program for a stack machine that can call anything in Python.
//! This reader knows the instructions that build dicts, lists, tuples, texts and numbers, and of all calls only those to
//! `OrderedDict` and to the two functions that describe a tensor; these it carries out itself. Anything else is refused by name. It
//! only serves to turn weights into a format without programs, when a model is added.
//!
//! The format is defined by `_legacy_save` in <https://github.com/pytorch/pytorch/blob/main/torch/serialization.py>, the
//! instructions by <https://github.com/python/cpython/blob/main/Lib/pickletools.py>.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TorchError {
    /// It doesn't begin as such a file does.
    #[error("not a file of PyTorch's")]
    NotTorch,
    /// The format since PyTorch 1.6.
    #[error(
        "a ZIP archive, as PyTorch writes since 1.6; save the weights with `safetensors.torch.save_file(model.state_dict(), ...)` instead"
    )]
    Zip,
    /// The bytes make no sense.
    #[error("malformed at byte {at}: {problem}")]
    Malformed {
        /// Offset into the file.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// It may be sound, but this reader doesn't read it.
    #[error("{0} is not supported; save the model's state dict of f32 tensors")]
    Unsupported(String),
}

/// Numbers in rows of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its dimensions, the slowest first.
    pub shape: Vec<usize>,
    /// As many as the dimensions' product.
    pub values: Vec<f32>,
}

/// 0x1950a86a20f9469cfc6c, as protocol 2 pickles it.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const ZIP: &[u8] = b"PK\x03\x04";
const VERSION: i64 = 1001;

/// A state dict's pickles hold names and shapes; no sensible one comes near.
const MAX_PICKLE_BYTES: usize = 1 << 18;

/// A convolution's weights have five at most. Without a limit, many views of one long shape would be as many copies of it.
const MAX_DIMENSIONS: usize = 8;

/// Tuples within tuples; what is read needs two.
const MAX_DEPTH: u8 = 4;

/// Whether a file looks like one that PyTorch wrote, in this format or in the one since 1.6.
#[must_use]
pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.starts_with(ZIP)
}

/// Reads the tensors of a state dict by their names.
///
/// # Errors
///
/// [`TorchError`]. Whatever the bytes are, nothing is executed, nothing panics, and memory stays within a small multiple of
/// their number, and some dozens of megabytes for the pickles.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, TorchError> {
    if bytes.starts_with(ZIP) {
        return Err(TorchError::Zip);
    }
    if !bytes.starts_with(MAGIC) {
        return Err(TorchError::NotTorch);
    }
    let mut reader = Reader { bytes, at: MAGIC.len() };
    match reader.pickle()? {
        Value::Int(VERSION) => {}
        _ => return Err(TorchError::Unsupported("a protocol version other than 1001".to_owned())),
    }
    let Value::Dict(machine) = reader.pickle()? else {
        return Err(reader.malformed("the facts about the machine are no dict"));
    };
    if !machine.iter().any(|(key, value)| &**key == "little_endian" && *value == Value::Bool(true)) {
        return Err(TorchError::Unsupported("a file from a big-endian machine".to_owned()));
    }
    let Value::Dict(entries) = reader.pickle()? else {
        return Err(TorchError::Unsupported("an object other than a dict".to_owned()));
    };
    let Value::List(keys) = reader.pickle()? else {
        return Err(reader.malformed("the storages' keys are no list"));
    };
    let mut storages = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else {
            return Err(reader.malformed("a storage's key is no text"));
        };
        let count = u64::from_le_bytes(reader.array()?);
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(size_of::<f32>()));
        let Some(length) = length else {
            return Err(reader.malformed("a storage is larger than memory"));
        };
        storages.insert(key, reader.take(length)?);
    }
    let mut tensors = BTreeMap::new();
    // Views can show a storage any number of times; what is read may not be more than what is there.
    let mut budget = bytes.len() / size_of::<f32>();
    for (name, value) in entries {
        let Value::Tensor(view) = value else {
            return Err(TorchError::Unsupported(format!("the entry {}, which is no tensor,", short(&name))));
        };
        let tensor = view.read(&storages).map_err(|problem| TorchError::Malformed { at: reader.at, problem })?;
        budget = budget
            .checked_sub(tensor.values.len())
            .ok_or_else(|| TorchError::Unsupported("a file whose tensors share their numbers".to_owned()))?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}

/// What the stack machine handles. Cloning takes no more than a count: the parts of tuples are shared.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    None,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    Tuple(u8, Rc<[Value]>),
    List(Vec<Value>),
    Dict(Vec<(Rc<str>, Value)>),
    Global(Global),
    Storage(Rc<str>),
    Tensor(Rc<View>),
    /// Something whose content is of no use here.
    Opaque,
}

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    FloatStorage,
    RebuildTensor,
}

/// A tensor: a part of a storage, and its shape.
#[derive(Debug, PartialEq)]
struct View {
    storage: Rc<str>,
    offset: usize,
    shape: Vec<usize>,
}

impl View {
    fn read(&self, storages: &HashMap<Rc<str>, &[u8]>) -> Result<Tensor, &'static str> {
        let storage = storages.get(&self.storage).ok_or("a tensor's storage is missing")?;
        let count = self.shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        let range = count.and_then(|count| {
            let start = self.offset.checked_mul(size_of::<f32>())?;
            let length = count.checked_mul(size_of::<f32>())?;
            storage.get(start..start.checked_add(length)?)
        });
        let (numbers, []) = range.ok_or("a tensor is larger than its storage")?.as_chunks::<4>() else {
            return Err("a storage ends within a number");
        };
        let values = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        Ok(Tensor { shape: self.shape.clone(), values })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn malformed(&self, problem: &'static str) -> TorchError {
        TorchError::Malformed { at: self.at, problem }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TorchError> {
        let end = self.at.checked_add(length);
        let taken =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.malformed("the file ends early"))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TorchError> {
        self.take(N)?.first_chunk().copied().ok_or_else(|| self.malformed("the file ends early"))
    }

    fn byte(&mut self) -> Result<u8, TorchError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn long(&mut self) -> Result<usize, TorchError> {
        let long = u32::from_le_bytes(self.array()?);
        usize::try_from(long).map_err(|_| self.malformed("a length is larger than memory"))
    }

    /// Up to the next line feed, which is passed over.
    fn line(&mut self) -> Result<&'a str, TorchError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.malformed("a line has no end"))?;
        let line = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| self.malformed("a name is not UTF-8"))
    }

    /// Runs one pickle; what it leaves is its value.
    fn pickle(&mut self) -> Result<Value, TorchError> {
        let end = self.at.saturating_add(MAX_PICKLE_BYTES).min(self.bytes.len());
        let mut machine = Machine {
            code: Reader { bytes: &self.bytes[..end], at: self.at },
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let value = machine.run()?;
        self.at = machine.code.at;
        Ok(value)
    }
}

struct Machine<'a> {
    code: Reader<'a>,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
}

impl Machine<'_> {
    fn malformed(&self, problem: &'static str) -> TorchError {
        self.code.malformed(problem)
    }

    fn run(&mut self) -> Result<Value, TorchError> {
        loop {
            let instruction = self.code.byte()?;
            let pushed = match instruction {
                // PROTO: which instructions there may be; each is judged by itself.
                0x80 => {
                    self.code.byte()?;
                    continue;
                }
                b'.' => return self.pop(),
                b'(' => {
                    self.marks.push(self.stack.len());
                    continue;
                }
                b'N' => Value::None,
                0x88 => Value::Bool(true),
                0x89 => Value::Bool(false),
                b'K' => Value::Int(self.code.byte()?.into()),
                b'M' => Value::Int(u16::from_le_bytes(self.code.array()?).into()),
                b'J' => Value::Int(i32::from_le_bytes(self.code.array()?).into()),
                0x8a => self.long_integer()?,
                b'G' => {
                    self.code.array::<8>()?;
                    Value::Opaque
                }
                b'X' => {
                    let length = self.code.long()?;
                    let text = std::str::from_utf8(self.code.take(length)?);
                    Value::Text(text.map_err(|_| self.malformed("a text is not UTF-8"))?.into())
                }
                b'}' => Value::Dict(Vec::new()),
                b']' => Value::List(Vec::new()),
                b')' => Value::Tuple(1, Rc::new([])),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.stack.len() - self.mark()?;
                    self.tuple(items)?
                }
                b'c' => self.global()?,
                b'R' => self.call()?,
                b'Q' => self.storage()?,
                b'q' | b'r' => {
                    let place = if instruction == b'q' { self.code.byte()?.into() } else { self.code.long()? };
                    self.remember(place)?;
                    continue;
                }
                b'h' | b'j' => {
                    let place = if instruction == b'h' { self.code.byte()?.into() } else { self.code.long()? };
                    self.memo.get(&place).cloned().ok_or_else(|| self.malformed("nothing was remembered there"))?
                }
                b'a' | b'e' => {
                    let from = if instruction == b'a' { self.stack.len().saturating_sub(1) } else { self.mark()? };
                    self.append(from)?;
                    continue;
                }
                b's' | b'u' => {
                    let from = if instruction == b's' { self.stack.len().saturating_sub(2) } else { self.mark()? };
                    self.set(from)?;
                    continue;
                }
                // BUILD: attributes of the object below, such as a state dict's versions.
                b'b' => {
                    self.pop()?;
                    continue;
                }
                other => return Err(TorchError::Unsupported(format!("the pickle instruction 0x{other:02x}"))),
            };
            self.stack.push(pushed);
        }
    }

    fn pop(&mut self) -> Result<Value, TorchError> {
        // What lies below a mark is not this instruction's.
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.malformed("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.malformed("the stack is empty"))
    }

    /// The height of the stack at the last mark, which is taken away.
    fn mark(&mut self) -> Result<usize, TorchError> {
        self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(|| self.malformed("there is no mark"))
    }

    /// The values above a height of the stack.
    fn above(&mut self, from: usize) -> Vec<Value> {
        self.stack.split_off(from.min(self.stack.len()))
    }

    fn tuple(&mut self, items: usize) -> Result<Value, TorchError> {
        let Some(from) = self.stack.len().checked_sub(items) else {
            return Err(self.malformed("the stack is empty"));
        };
        let items = self.above(from);
        let depth = items.iter().map(|item| if let Value::Tuple(depth, _) = item { *depth } else { 0 }).max();
        let depth = depth.unwrap_or(0) + 1;
        // Without this, dropping a tuple in a tuple in a tuple ... would exhaust the program's own stack.
        if depth > MAX_DEPTH {
            return Err(self.malformed("tuples are nested too deep"));
        }
        // The same for what has lists and dicts in it, which no tensor's description needs.
        let flat = items.into_iter().map(|item| match item {
            Value::List(_) | Value::Dict(_) => Value::Opaque,
            other => other,
        });
        Ok(Value::Tuple(depth, flat.collect()))
    }

    fn long_integer(&mut self) -> Result<Value, TorchError> {
        let length = usize::from(self.code.byte()?);
        let digits = self.code.take(length)?;
        if length > 8 {
            return Ok(Value::Opaque);
        }
        // Two's complement: the sign fills what is not there.
        let negative = digits.last().is_some_and(|digit| *digit >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        whole[..length].copy_from_slice(digits);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    fn global(&mut self) -> Result<Value, TorchError> {
        let (module, name) = (self.code.line()?, self.code.line()?);
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Value::Global(Global::OrderedDict)),
            ("torch", "FloatStorage") => Ok(Value::Global(Global::FloatStorage)),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Ok(Value::Global(Global::RebuildTensor)),
            _ => Err(TorchError::Unsupported(format!("{} of {}", short(name), short(module)))),
        }
    }

    fn call(&mut self) -> Result<Value, TorchError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        match (function, arguments) {
            (Value::Global(Global::OrderedDict), Value::Tuple(_, arguments)) if arguments.is_empty() => {
                Ok(Value::Dict(Vec::new()))
            }
            (Value::Global(Global::RebuildTensor), Value::Tuple(_, arguments)) => match &*arguments {
                [Value::Storage(storage), Value::Int(offset), shape, strides, ..] => {
                    let offset = usize::try_from(*offset).map_err(|_| self.malformed("an offset is negative"))?;
                    let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
                    if !contiguous(&shape, &strides) {
                        return Err(TorchError::Unsupported("a transposed or strided tensor".to_owned()));
                    }
                    Ok(Value::Tensor(Rc::new(View { storage: storage.clone(), offset, shape })))
                }
                _ => Err(self.malformed("a tensor is not described as one")),
            },
            _ => Err(self.malformed("what is called is no function")),
        }
    }

    fn sizes(&self, value: &Value) -> Result<Vec<usize>, TorchError> {
        let Value::Tuple(_, items) = value else {
            return Err(self.malformed("a shape is no tuple"));
        };
        if items.len() > MAX_DIMENSIONS {
            return Err(TorchError::Unsupported(format!("a tensor of {} dimensions", items.len())));
        }
        let size = |item: &Value| match item {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        items.iter().map(size).collect::<Option<_>>().ok_or_else(|| self.malformed("a shape has no sizes"))
    }

    /// BINPERSID: `("storage", type, key, location, count, view)`.
    fn storage(&mut self) -> Result<Value, TorchError> {
        let Value::Tuple(_, id) = self.pop()? else {
            return Err(self.malformed("a storage is no tuple"));
        };
        match &*id {
            [Value::Text(word), Value::Global(Global::FloatStorage), Value::Text(key), _, _, rest @ ..]
                if &**word == "storage" && matches!(rest, [] | [Value::None]) =>
            {
                Ok(Value::Storage(key.clone()))
            }
            _ => Err(TorchError::Unsupported("a storage that is a view of another or not of f32".to_owned())),
        }
    }

    fn remember(&mut self, place: usize) -> Result<(), TorchError> {
        let value = match self.stack.last() {
            // They may still change, and nothing that is read here is in two places.
            Some(Value::List(_) | Value::Dict(_)) => Value::Opaque,
            Some(value) => value.clone(),
            None => return Err(self.malformed("the stack is empty")),
        };
        self.memo.insert(place, value);
        Ok(())
    }

    fn append(&mut self, from: usize) -> Result<(), TorchError> {
        let items = self.above(from);
        match self.stack.last_mut() {
            Some(Value::List(list)) => list.extend(items.into_iter().map(leaf)),
            _ => return Err(self.malformed("what is appended to is no list")),
        }
        Ok(())
    }

    fn set(&mut self, from: usize) -> Result<(), TorchError> {
        let mut items = self.above(from).into_iter();
        let Some(Value::Dict(dict)) = self.stack.last_mut() else {
            return Err(self.malformed("what is set in is no dict"));
        };
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let Value::Text(key) = key else {
                return Err(TorchError::Unsupported("a dict whose keys are no texts".to_owned()));
            };
            dict.push((key, leaf(value)));
        }
        Ok(())
    }
}

/// What a list or a dict keeps of a value: nothing that has parts of its own.
fn leaf(value: Value) -> Value {
    match value {
        Value::List(_) | Value::Dict(_) | Value::Tuple(..) => Value::Opaque,
        other => other,
    }
}

/// Whether a tensor's numbers lie one after another, the last dimension the fastest.
fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1_usize;
    shape.len() == strides.len()
        && shape.iter().zip(strides).rev().all(|(size, stride)| {
            // With one place to be in, the stride says nothing.
            let fits = *size == 1 || *stride == expected;
            expected = expected.saturating_mul(*size);
            fits
        })
}

/// A name from a model file, quoted and cut to a readable length.
pub(crate) fn short(name: &str) -> String {
    let cut: String = name.chars().take(64).collect();
    format!("{cut:?}")
}
