//! The fields of a header, listed once for writing and reading: little-endian numbers of 64 bits,
//! and bytes after their number.

/// Fields being written into a file, or read from one.
pub(crate) enum HeaderFields<'a> {
    Write(Vec<u8>),
    /// The remaining bytes to read.
    Read(&'a [u8]),
}

/// `None` if a file ends too early or a number does not fit.
pub(crate) type FieldResult = Option<()>;

impl HeaderFields<'_> {
    fn word(&mut self, value: &mut u64) -> FieldResult {
        match self {
            Self::Write(bytes) => bytes.extend_from_slice(&value.to_le_bytes()),
            Self::Read(bytes) => {
                let (word, rest) = bytes.split_first_chunk()?;
                (*value, *bytes) = (u64::from_le_bytes(*word), rest);
            }
        }
        Some(())
    }

    /// A number.
    pub(crate) fn number<T: Copy + TryInto<u64> + TryFrom<u64>>(
        &mut self,
        value: &mut T,
    ) -> FieldResult {
        let mut word = (*value).try_into().ok()?;
        self.word(&mut word)?;
        *value = word.try_into().ok()?;
        Some(())
    }

    /// Numbers.
    pub(crate) fn numbers(&mut self, values: &mut [usize]) -> FieldResult {
        values.iter_mut().try_for_each(|value| self.number(value))
    }

    /// A float, which may be NaN.
    pub(crate) fn real(&mut self, value: &mut f64) -> FieldResult {
        let mut word = value.to_bits();
        self.word(&mut word)?;
        *value = f64::from_bits(word);
        Some(())
    }

    /// A float of single precision.
    pub(crate) fn single(&mut self, value: &mut f32) -> FieldResult {
        let mut real = f64::from(*value);
        self.real(&mut real)?;
        *value = real as f32;
        Some(())
    }

    /// Bytes.
    pub(crate) fn bytes(&mut self, value: &mut Vec<u8>) -> FieldResult {
        let mut length = value.len();
        self.number(&mut length)?;
        match self {
            Self::Write(bytes) => bytes.extend_from_slice(value),
            Self::Read(bytes) => {
                let (part, rest) = bytes.split_at_checked(length)?;
                *value = part.to_vec();
                *bytes = rest;
            }
        }
        Some(())
    }

    /// A text.
    pub(crate) fn text(&mut self, value: &mut String) -> FieldResult {
        let mut bytes = std::mem::take(value).into_bytes();
        self.bytes(&mut bytes)?;
        *value = String::from_utf8(bytes).ok()?;
        Some(())
    }

    /// One of `all`, by its position.
    pub(crate) fn one_of<T: Copy + PartialEq>(&mut self, all: &[T], value: &mut T) -> FieldResult {
        let mut place = all.iter().position(|choice| choice == value)?;
        self.number(&mut place)?;
        *value = *all.get(place)?;
        Some(())
    }

    /// The bytes that `pass` writes.
    pub(crate) fn written(
        pass: impl FnOnce(&mut HeaderFields<'static>) -> FieldResult,
    ) -> std::io::Result<Vec<u8>> {
        let mut fields = HeaderFields::Write(Vec::new());
        match (pass(&mut fields), fields) {
            (Some(()), HeaderFields::Write(bytes)) => Ok(bytes),
            _ => Err(std::io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Reads all of `bytes`; `None` if they do not match `pass`.
    pub(crate) fn read_all(
        bytes: &[u8],
        pass: impl FnOnce(&mut HeaderFields<'_>) -> FieldResult,
    ) -> FieldResult {
        let mut fields = HeaderFields::Read(bytes);
        pass(&mut fields)?;
        matches!(fields, HeaderFields::Read([])).then_some(())
    }
}
