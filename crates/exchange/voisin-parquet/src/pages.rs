//! Bounds on the pages of Parquet files from other programs, checked before memory is allocated for them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageReader as _};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::BATCH;

/// The largest decompressed page (bytes): writers make pages of 1 MB, or of one larger row, such as
/// all windows of a day's recording.
const MOST_OF_A_PAGE: u64 = 128 << 20;
/// The largest page of texts (bytes): for each such column one or two are in memory.
const MOST_TEXT_OF_A_PAGE: usize = 32 << 20;
/// Decoded rows in memory at once (bytes).
const MOST_OF_A_BATCH: usize = 64 << 20;
/// Most values of a list for each byte of the file, beyond one batch; vectors have less than one.
const VALUES_PER_BYTE: usize = 8;
/// Size of the levels of a value in a list, and of a view of a text (bytes).
const LEVELS: usize = 4;
const VIEW: usize = 16;

/// A file whose pages are no larger than [`MOST_OF_A_PAGE`]: the reader allocates the size in a page's header.
#[derive(Clone)]
pub(super) struct PageFile(Arc<File>);

impl PageFile {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(file))
    }
}

impl Length for PageFile {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for PageFile {
    type T = BufReader<File>;

    /// Called for the header of each page before the page is read, and sometimes for the page itself.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut reader = self.0.get_read(start)?;
        match page_size(reader.fill_buf()?) {
            Some(size) if size > MOST_OF_A_PAGE => Err(too_large(MOST_OF_A_PAGE, size)),
            _ => Ok(reader),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

fn too_large(most: u64, found: u64) -> ParquetError {
    let most = most >> 20;
    let found = found.div_ceil(1 << 20);
    ParquetError::General(format!(
        "expected a page of at most {most} MB, found one of {found} MB"
    ))
}

/// The decompressed size in a page's header: the second of its fields, both numbers in Thrift's compact form.
fn page_size(header: &[u8]) -> Option<u64> {
    let mut bytes = header.iter();
    let mut field = || {
        // The next field, a number of 32 bits.
        if *bytes.next()? != 0x15 {
            return None;
        }
        let mut value = 0;
        // A 32-bit number takes at most five bytes of seven bits.
        for shift in (0..35).step_by(7) {
            let byte = *bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // The lowest bit is the sign, and sizes are not negative.
                return (value & 1 == 0).then_some(value >> 1);
            }
        }
        None
    };
    field()?;
    field()
}

/// The number of rows of a group that fit into memory at once, with these columns. Refuses groups
/// whose pages hold another number of values than the file states, or more than their bytes can
/// hold.
pub(super) fn rows_at_once(
    file: &PageFile,
    group: &RowGroupMetaData,
    names: &[&str],
) -> Result<usize> {
    let file = Arc::new(file.clone());
    let rows = usize::try_from(group.num_rows())?;
    let mut bytes = 0;
    let mut bytes_of_a_row = 0;
    for column in group.columns() {
        let path = column.column_path();
        if !path
            .parts()
            .first()
            .is_some_and(|name| names.contains(&name.as_str()))
        {
            continue;
        }
        match column.compression() {
            Compression::UNCOMPRESSED
            | Compression::SNAPPY
            | Compression::LZ4_RAW
            | Compression::ZSTD(_) => {}
            Compression::GZIP(_) => check_gzip(&file, column, rows)?,
            other => {
                return Err(ParquetError::General(format!(
                    "column {path}: expected pages that are not compressed, or with snappy, lz4_raw, gzip or zstd, found {other}"
                )));
            }
        }
        let (values, longest) = values(&file, column, rows)?;
        // Bytes of a decoded value.
        let width = LEVELS
            + match column.column_type() {
                Type::BYTE_ARRAY => VIEW,
                Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.column_descr().type_length())?,
                _ => 8,
            };
        let packed = usize::try_from(column.compressed_size())?;
        // A list may have any number of values in a row, so only the bytes bound it: run-length
        // encoding lets a few bytes claim millions of equal values.
        let most = if column.column_descr().max_rep_level() > 0 {
            packed.min(usize::try_from(file.len())?) * VALUES_PER_BYTE + MOST_OF_A_BATCH / width
        } else {
            rows
        };
        if values > most {
            return Err(ParquetError::General(format!(
                "column {path}: expected at most {most} values in {packed} bytes, found {values}"
            )));
        }
        bytes += values * width;
        bytes_of_a_row += longest;
    }
    bytes_of_a_row += bytes / rows.max(1);
    // At least one row, however large: its pages have been bounded above.
    Ok((MOST_OF_A_BATCH / bytes_of_a_row.max(1)).clamp(1, BATCH))
}

/// Refuses pages that unpack to more than the limit: for gzip alone the reader ignores the size in their headers.
fn check_gzip(file: &Arc<PageFile>, column: &ColumnChunkMetaData, rows: usize) -> Result<()> {
    // The same column declared as not compressed: the page reader then hands out the pages as they
    // are stored, and they are unpacked below without being kept.
    let packed = column
        .clone()
        .into_builder()
        .set_compression(Compression::UNCOMPRESSED)
        .build()?;
    let mut pages = SerializedPageReader::new(Arc::clone(file), &packed, rows, None)?;
    while let Some(page) = pages.get_next_page()? {
        let levels = match page {
            Page::DataPageV2 {
                is_compressed: false,
                ..
            } => continue,
            // In pages of version 2 the levels stand before the values and are not compressed.
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => def_levels_byte_len as usize + rep_levels_byte_len as usize,
            _ => 0,
        };
        let values = page.buffer().get(levels..).unwrap_or_default();
        // One byte beyond the limit shows that there is more.
        let mut unpacked = MultiGzDecoder::new(values).take(MOST_OF_A_PAGE + 1);
        let size = std::io::copy(&mut unpacked, &mut std::io::sink())?;
        if size > MOST_OF_A_PAGE {
            return Err(too_large(MOST_OF_A_PAGE, size));
        }
    }
    Ok(())
}

/// The number of values in a column's pages, and the most bytes that one text allocates: texts with
/// shared prefixes are copied, not views into a page.
fn values(
    file: &Arc<PageFile>,
    column: &ColumnChunkMetaData,
    rows: usize,
) -> Result<(usize, usize)> {
    let mut pages = SerializedPageReader::new(Arc::clone(file), column, rows, None)?;
    let mut values = 0;
    let mut longest = 0;
    if column.column_type() == Type::BYTE_ARRAY {
        // Only a decompressed page shows how large its texts are and how they are encoded.
        while let Some(page) = pages.get_next_page()? {
            let size = page.buffer().len();
            if size > MOST_TEXT_OF_A_PAGE {
                return Err(too_large(MOST_TEXT_OF_A_PAGE as u64, size as u64));
            }
            if page.is_data_page() {
                values += page.num_values() as usize;
            }
            if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
                longest = longest.max(size);
            }
        }
    } else {
        // Numbers have a fixed width: the headers of their pages are enough.
        while let Some(page) = pages.peek_next_page()? {
            values += page.num_levels.unwrap_or(0);
            pages.skip_next_page()?;
        }
    }
    Ok((values, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_size_of_its_page() {
        // A dictionary page of 20 000 000 bytes in 938 000, as pyarrow writes it.
        let number = |mut value: u32| {
            value <<= 1;
            let mut bytes = Vec::new();
            while value > 0x7f {
                bytes.push((value & 0x7f | 0x80) as u8);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        let mut header = vec![0x15];
        header.extend(number(2));
        header.push(0x15);
        header.extend(number(20_000_000));
        assert_eq!(page_size(&header), Some(20_000_000));
        for cut in 0..header.len() {
            assert_eq!(page_size(&header[..cut]), None);
        }
        // A size below 0, one beyond 32 bits, and another first field.
        assert_eq!(page_size(&[0x15, 0, 0x15, 1]), None);
        assert_eq!(
            page_size(&[0x15, 0, 0x15, 0xff, 0xff, 0xff, 0xff, 0xff]),
            None
        );
        assert_eq!(page_size(&[0x25, 0, 0x15, 2]), None);
    }
}
