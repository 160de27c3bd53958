//! Protocol buffers' wire format, as far as graphs use it: fields of a message, without copying.

use std::collections::HashMap;

use crate::{ImportError, WeightFormat};

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: WireValue<'a>,
}

/// The value of a field, by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum WireValue<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Message<'a> {
    format: WeightFormat,
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn new(format: WeightFormat, bytes: &'a [u8]) -> Self {
        Self {
            format,
            rest: bytes,
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        // Ten bytes of seven bits hold 64; a longer run is refused rather than shifted out of the
        // number.
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number > 0)?;
        let value = match key & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => WireValue::Fixed64(*self.take(8)?.first_chunk()?),
            2 => {
                let length = self.varint()?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => WireValue::Fixed32(*self.take(4)?.first_chunk()?),
            _ => return None, // groups: no longer used, never in graphs
        };
        Some(Field { number, value })
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Result<Field<'a>, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let left = self.rest.len();
        let field = self.field();
        // after a malformed field the boundaries of all later ones are unknown
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| {
            ImportError::damaged(
                self.format,
                format!("expected a field of a message, found none {left} bytes before its end"),
            )
        }))
    }
}

impl<'a> WireValue<'a> {
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn int(self) -> Option<i64> {
        match self {
            // int64 is written as its two's complement; only sint64 zigzags, and graphs have none.
            Self::Varint(value) => Some(value as i64),
            _ => None,
        }
    }

    pub(super) fn text(self) -> Option<String> {
        self.bytes()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Appends integers: one, or a packed run.
    pub(super) fn push_ints(
        self,
        format: WeightFormat,
        into: &mut Vec<i64>,
    ) -> Result<(), ImportError> {
        match self {
            Self::Varint(value) => into.push(value as i64),
            Self::Bytes(bytes) => {
                let mut message = Message::new(format, bytes);
                while !message.rest.is_empty() {
                    let value = message.varint();
                    into.push(value.ok_or_else(|| {
                        ImportError::damaged(format, "an integer that does not end")
                    })? as i64);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends 32-bit floats: one, or a packed run.
    pub(super) fn push_floats(self, into: &mut Vec<f32>) {
        match self {
            Self::Fixed32(bytes) => into.push(f32::from_le_bytes(bytes)),
            Self::Bytes(bytes) => {
                into.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
            }
            _ => {}
        }
    }

    /// A 32-bit float.
    pub(super) fn float(self) -> Option<f32> {
        match self {
            Self::Fixed32(bytes) => Some(f32::from_le_bytes(bytes)),
            _ => None,
        }
    }
}

/// Attributes of a node of a graph, by name; each is a message.
pub(super) type Attributes<'a> = HashMap<String, Message<'a>>;

/// Field `number` of an attribute; the last one if there are several, as protocol buffers require.
/// ONNX: 2 float, 3 integer, 4 text, 5 tensor; TensorFlow: 2 text, 4 float, 8 tensor.
pub(super) fn attribute<'a>(
    attributes: &Attributes<'a>,
    key: &str,
    number: u32,
) -> Result<Option<WireValue<'a>>, ImportError> {
    let mut found = None;
    for field in attributes.get(key).cloned().into_iter().flatten() {
        let field = field?;
        if field.number == number {
            found = Some(field.value);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Vec<Option<Field<'_>>> {
        Message::new(WeightFormat::Onnx, bytes)
            .map(Result::ok)
            .collect()
    }

    #[test]
    fn fields_of_every_wire_type() {
        // 1: 150; 2: "testing"; 3: fixed32; 4: fixed64; 16: -1
        let bytes =
            b"\x08\x96\x01\x12\x07testing\x1d\x00\x00\x80\x3f\x21\x01\x02\x03\x04\x05\x06\x07\x08\x80\x01\
            \xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let found = fields(bytes);
        let value = |i: usize| found[i].unwrap().value;
        assert_eq!(value(0).int(), Some(150));
        assert_eq!(value(1).text().unwrap(), "testing");
        assert_eq!(value(2).float(), Some(1.0));
        assert_eq!(value(3), WireValue::Fixed64([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!((found[4].unwrap().number, value(4).int()), (16, Some(-1)));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn a_malformed_field_is_one_error_and_the_last_field() {
        for bytes in [
            &b"\x08"[..],
            b"\x12\x05abc",
            b"\x1d\x00",
            b"\x00\x00",
            b"\x0b\x0c",
            &[0xff; 20],
        ] {
            assert_eq!(fields(bytes), [None], "{bytes:?}");
        }
        // A length that would overflow.
        assert_eq!(
            fields(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            [None]
        );
    }
}
