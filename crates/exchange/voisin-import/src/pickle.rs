//! Reads Python's pickles, as far as dictionaries of tensors use them.
//!
//! Nothing is executed: a pickle may call only the names of torch's tensors, storages and ordered
//! dictionaries, and any other is an error that names it. Values are in an arena and refer to each
//! other by index, so that a few bytes cannot expand to a deep or huge structure.

use std::collections::HashMap;

/// Index of a value in [`Pickle::values`].
pub(super) type ObjectId = usize;

/// Most values of a pickle, and most entries of its lists; a weights file has some thousands.
// The bound is on values, not bytes: one byte of a file can make a value of some tens of bytes in memory.
const MAX_VALUES: usize = 1 << 18;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<ObjectId>),
    List(Vec<ObjectId>),
    Dict(Vec<(ObjectId, ObjectId)>),
    /// A name that may be called: module and attribute.
    Global(&'static str),
    /// A reference to data outside of the pickle, as torch stores its tensors.
    Persistent(ObjectId),
    /// A known name, called with a tuple.
    Called {
        callable: &'static str,
        arguments: ObjectId,
    },
}

/// A read pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) root: ObjectId,
    /// Its length in bytes.
    pub(super) length: usize,
}

/// Allowed names; all others are refused.
// A storage's name includes the type of its numbers; the others are functions by which torch builds a tensor.
const KNOWN: [&str; 20] = [
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    "torch.float32",
    "torch.float64",
    "torch.float16",
    "torch.bfloat16",
    "torch.int64",
    "torch.device",
];

pub(super) const ORDERED_DICT: &str = KNOWN[0];
pub(super) const REBUILD_TENSOR: [&str; 2] = [KNOWN[1], KNOWN[2]];
pub(super) const REBUILD_PARAMETER: &str = KNOWN[3];

impl Pickle {
    pub(super) fn value(&self, id: ObjectId) -> &Value {
        // ids are only made by `Machine::make`, so the fallback is never taken
        self.values.get(id).unwrap_or(&Value::None)
    }

    pub(super) fn text(&self, id: ObjectId) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: ObjectId) -> Option<i64> {
        match self.value(id) {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, id: ObjectId) -> Option<&[ObjectId]> {
        match self.value(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }
}

/// Reads the first pickle of `bytes`; the error describes the bytes found.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        listed: 0,
    };
    loop {
        let start = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok(Pickle {
                    values: machine.values,
                    root,
                    length: machine.at,
                });
            }
            Err(reason) => return Err(format!("{reason} (pickle, byte {start})")),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<ObjectId>,
    marks: Vec<usize>,
    memo: HashMap<u32, ObjectId>,
    /// Entries of tuples, lists and dictionaries: one byte may add a value again.
    listed: usize,
}

const ENDS: &str = "the pickle ends within an instruction";

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|&end| end <= self.bytes.len())
            .ok_or(ENDS)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(*self.take(N)?.first_chunk().ok_or(ENDS)?)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            // No name in `KNOWN` is that long; without a bound, each name in a file without
            // newlines would be searched to the file's end.
            .take(256)
            .position(|&byte| byte == b'\n')
            .ok_or("a name that does not end")?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn text(&mut self, length: usize) -> Result<Value, String> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "text that is not UTF-8")?;
        Ok(Value::Text(text.to_owned()))
    }

    fn make(&mut self, value: Value) -> Result<ObjectId, String> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.values.push(value);
        Ok(self.values.len() - 1)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        let id = self.make(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// The topmost value, which must be above the last mark.
    fn pop(&mut self) -> Result<ObjectId, String> {
        // Values below the mark belong to an outer tuple or list that is still being written.
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err("an instruction that needs more values than the stack has".to_owned());
        }
        self.stack.pop().ok_or_else(|| ENDS.to_owned())
    }

    fn top(&self) -> Result<ObjectId, String> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| "an instruction that needs a value on an empty stack".to_owned())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<ObjectId>, String> {
        let mark = self
            .marks
            .pop()
            // `pop` never goes below a mark, so this holds; `split_off` would panic if it ever did
            // not.
            .filter(|&mark| mark <= self.stack.len())
            .ok_or("a mark that is not there")?;
        // `2` and `h` put one value on the stack many times: `values` alone does not bound these
        // lists.
        self.listed += self.stack.len() - mark;
        if self.listed > MAX_VALUES {
            return Err("too many values".to_owned());
        }
        Ok(self.stack.split_off(mark))
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let full = format!("{module}.{name}");
        // A pickle can run code only through a name, and only these names are accepted.
        match KNOWN.iter().find(|&&known| known == full) {
            Some(known) => self.push(Value::Global(known)),
            None => Err(format!(
                "expected tensors and dictionaries only, found \"{}\"",
                full.chars()
                    .filter(|c| !c.is_control())
                    .take(80)
                    .collect::<String>()
            )),
        }
    }

    fn append(&mut self, items: Vec<ObjectId>) -> Result<(), String> {
        let list = self.top()?;
        match self.values.get_mut(list) {
            Some(Value::List(all)) => all.extend(items),
            _ => return Err("items for something that is no list".to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[ObjectId]) -> Result<(), String> {
        let dict = self.top()?;
        match self.values.get_mut(dict) {
            Some(Value::Dict(all)) => {
                // A key without a value at the end is dropped: its tensor is then missing, which is
                // an error.
                all.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("entries for something that is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), String> {
        let id = *self.memo.get(&slot).ok_or("a memo that was never set")?;
        self.stack.push(id);
        // A reference costs one byte, so the stack is bounded as the values are.
        if self.stack.len() > MAX_VALUES {
            Err("too many values".to_owned())
        } else {
            Ok(())
        }
    }

    /// One instruction; the root if it was the last.
    fn step(&mut self) -> Result<Option<ObjectId>, String> {
        let [code] = self.number()?;
        match code {
            // PROTO. torch writes protocol 2 by default.
            0x80 => {
                let [protocol] = self.number()?;
                if protocol > 5 {
                    return Err(format!("expected protocol 5 or less, found {protocol}"));
                }
            }
            0x95 => drop(self.take(8)?), // FRAME
            // STOP. Bytes may follow: older torch files are several pickles in a row.
            b'.' => return self.pop().map(Some),
            b'(' => {
                self.marks.push(self.stack.len());
                if self.marks.len() > MAX_VALUES {
                    return Err("too many marks".to_owned());
                }
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                if self.stack.len() > MAX_VALUES {
                    return Err("too many values".to_owned());
                }
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let value = i32::from_le_bytes(self.number()?);
                self.push(Value::Int(value.into()))?;
            }
            b'K' => {
                let [value] = self.number()?;
                self.push(Value::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.number()?);
                self.push(Value::Int(value.into()))?;
            }
            // LONG1: sizes and counters beyond 32 bits.
            0x8a => {
                let [length] = self.number()?;
                let bytes = self.take(length.into())?;
                self.push(long(bytes))?;
            }
            // BINFLOAT, the only big-endian number in a pickle.
            b'G' => {
                let value = f64::from_be_bytes(self.number()?);
                self.push(Value::Float(value))?;
            }
            0x8c => {
                let [length] = self.number()?;
                let text = self.text(length.into())?;
                self.push(text)?;
            }
            b'X' => {
                let length = u32::from_le_bytes(self.number()?);
                let text = self.text(length as usize)?;
                self.push(text)?;
            }
            // SHORT_BINSTRING of Python 2 and SHORT_BINBYTES; below, their long forms.
            b'U' | b'C' => {
                let [length] = self.number()?;
                let bytes = self.take(length.into())?.to_vec();
                self.push_string(code == b'C', bytes)?;
            }
            b'T' | b'B' => {
                let length = u32::from_le_bytes(self.number()?);
                let bytes = self.take(length as usize)?.to_vec();
                self.push_string(code == b'B', bytes)?;
            }
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set(&items)?;
            }
            // TUPLE1 to TUPLE3: the code is 0x84 plus the length.
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..code {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Value::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            b'q' => {
                let [slot] = self.number()?;
                self.remember(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.number()?);
                self.remember(slot)?;
            }
            // MEMOIZE uses the next free number, the count of memos so far.
            0x94 => {
                let slot = u32::try_from(self.memo.len()).map_err(|_| "too many memos")?;
                self.remember(slot)?;
            }
            b'h' => {
                let [slot] = self.number()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.number()?);
                self.recall(slot)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(&module, &name)?;
            }
            // STACK_GLOBAL: as `c`, with both names on the stack (protocol 4 and later).
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let text = |id: ObjectId| match self.values.get(id) {
                    Some(Value::Text(text)) if text.len() <= 256 => Some(text.clone()),
                    _ => None,
                };
                let (Some(module), Some(name)) = (text(module), text(name)) else {
                    return Err("a name that is no text".to_owned());
                };
                self.global(&module, &name)?;
            }
            b'R' => {
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, arguments)?;
            }
            b'b' => {
                // The state of an ordered dictionary is torch's table of versions: not needed.
                self.pop()?;
                let object = self.top()?;
                if !matches!(self.values.get(object), Some(Value::Dict(_))) {
                    return Err("a state for something that is no dictionary".to_owned());
                }
            }
            // BINPERSID: torch's reference to a tensor's bytes, which are outside of the pickle.
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            other => {
                return Err(format!(
                    "instruction 0x{other:02x}, which no dictionary of tensors needs"
                ));
            }
        }
        Ok(None)
    }

    /// Python 2's strings are read as text if they are valid UTF-8.
    fn push_string(&mut self, bytes: bool, content: Vec<u8>) -> Result<(), String> {
        let value = match String::from_utf8(content) {
            Ok(text) if !bytes => Value::Text(text),
            Ok(text) => Value::Bytes(text.into_bytes()),
            Err(error) => Value::Bytes(error.into_bytes()),
        };
        self.push(value)
    }

    fn call(&mut self, callable: ObjectId, arguments: ObjectId) -> Result<(), String> {
        let Some(Value::Global(name)) = self.values.get(callable) else {
            return Err("a call of something that is no name".to_owned());
        };
        let name = *name;
        let Some(Value::Tuple(items)) = self.values.get(arguments) else {
            return Err("a call without a tuple of arguments".to_owned());
        };
        if name == ORDERED_DICT {
            if items.is_empty() {
                return self.push(Value::Dict(Vec::new()));
            }
            return Err("an ordered dictionary with arguments".to_owned());
        }
        // Nothing runs: the call is stored as data, from which the torch reader takes the tensor's shape.
        self.push(Value::Called {
            callable: name,
            arguments,
        })
    }
}

/// Python's long integers: little-endian two's complement. One that does not fit is no valid size.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Bytes(bytes.to_vec());
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_value_in_too_many_places_is_refused() {
        let list = |places: usize| {
            let mut bytes = b"\x80\x02](N".to_vec();
            bytes.resize(bytes.len() + places - 1, b'2');
            bytes.extend(b"e.");
            read(&bytes).map(|pickle| pickle.length)
        };
        assert_eq!(list(1000), Ok(1006));
        // Each list is short enough, and there are several.
        let mut bytes = b"\x80\x02".to_vec();
        for _ in 0..3 {
            bytes.extend(b"](N");
            bytes.resize(bytes.len() + MAX_VALUES / 2, b'2');
            bytes.extend(b"e0");
        }
        bytes.extend(b"N.");
        let refused = read(&bytes).err().unwrap();
        assert!(refused.contains("too many values"), "{refused}");
    }

    #[test]
    fn values_of_all_kinds() {
        // {"a": (1, -2, 1.5), "b": [None, True]}, protocol 2
        let bytes =
            b"\x80\x02}(X\x01\x00\x00\x00aK\x01J\xfe\xff\xff\xffG\x3f\xf8\x00\x00\x00\x00\x00\x00\x87\
            X\x01\x00\x00\x00b](N\x88eu.tail";
        let pickle = read(bytes).unwrap();
        assert_eq!(&bytes[pickle.length..], b"tail");
        let Value::Dict(entries) = pickle.value(pickle.root) else {
            panic!()
        };
        assert_eq!(pickle.text(entries[0].0), Some("a"));
        let items = pickle.tuple(entries[0].1).unwrap();
        assert_eq!(
            (pickle.int(items[0]), pickle.int(items[1])),
            (Some(1), Some(-2))
        );
        assert_eq!(pickle.value(items[2]), &Value::Float(1.5));
        let Value::List(items) = pickle.value(entries[1].1) else {
            panic!()
        };
        assert_eq!(
            (pickle.value(items[0]), pickle.value(items[1])),
            (&Value::None, &Value::Bool(true))
        );
        assert_eq!(long(&[0xff, 0x00]), Value::Int(255));
        assert_eq!(long(&[0xff]), Value::Int(-1));
        assert_eq!(long(&[]), Value::Int(0));
    }

    #[test]
    fn only_known_names_are_called() {
        for bytes in [
            &b"cos\nsystem\n(X\x02\x00\x00\x00lstR."[..],
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        ] {
            let message = read(bytes).unwrap_err();
            assert!(message.contains("os.system"), "{message}");
        }
        assert!(read(b"(iposix\nsystem\n.").unwrap_err().contains("0x69"));
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [
            &b""[..],
            b"\x80",
            b"\x80\x09",
            b".",
            b"t.",
            b"(t",
            b"}s.",
            b"K\x01K\x02s.",
            b"h\x07.",
            b"X\xff\xff\xff\xff",
            b"q\x00.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn copies_of_copies_stay_small() {
        // [[…], […]] thirty times over, each level twice the one before: a billion lists if they were copied.
        let mut bytes = b"\x80\x02]q\x00".to_vec();
        for level in 0..30u8 {
            bytes.extend([b']', b'q', level + 1, b'h', level, b'a', b'h', level, b'a']);
        }
        bytes.push(b'.');
        assert!(read(&bytes).unwrap().values.len() < 100);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
