//! Vectors of other programs in files: a `.npy` array, and the table of their tracks.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::ReadNpyExt;
use ndarray_npy::npy::header::Header;

use super::EngineError;
use voisin_audio::tags;
use voisin_base::regular_file;
use voisin_base::table::Table;
use voisin_base::text::fold;
use voisin_library::TrackTags;
use voisin_library::scan::playlist::path_in_table;

/// Largest `.npy` file that is read: ten million vectors of 512 numbers.
const LARGEST_NPY: u64 = 20 << 30;

/// Reads `[rows, dimension]` from a `.npy` of float32 or float64.
pub fn read_directions(path: &Path) -> Result<Array2<f32>, EngineError> {
    let bytes = regular_file::read(path, LARGEST_NPY).map_err(EngineError::unread(path))?;
    let expected = "expected a two-dimensional .npy of float32 or float64";
    parse_vectors(&bytes)
        .map_err(|found| EngineError::file(path, format!("{expected}, found {found}")))
}

/// Parses a `.npy` file; an error names the content found instead.
///
/// The header is checked against the number of bytes before anything is allocated for it.
fn parse_vectors(bytes: &[u8]) -> Result<Array2<f32>, String> {
    /// NumPy reads no longer header either.
    const LONGEST_HEADER: usize = 10_000;
    // The header's length has two bytes in version 1, later four.
    let length = match bytes.get(..12) {
        Some([0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..]) => {
            10 + usize::from(u16::from_le_bytes([*low, *high]))
        }
        Some([0x93, b'N', b'U', b'M', b'P', b'Y', _, _, size @ ..]) => 12_usize
            .saturating_add(u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize),
        _ => return Err("a file without its signature".to_owned()),
    };
    let header = bytes.get(..length).filter(|_| length <= LONGEST_HEADER);
    let mut header = header.ok_or_else(|| format!("a header of {length} bytes"))?;
    // A real header has one bracket (the shape) within another; the parser is recursive, so a
    // header of brackets alone could overflow the stack.
    if header[10..]
        .iter()
        .filter(|byte| b"([{".contains(byte))
        .count()
        > 2
    {
        return Err("a header of nested values".to_owned());
    }
    let header = Header::from_reader(&mut header).map_err(|error| error.to_string())?;
    let [rows, columns] = header.shape[..] else {
        return Err(format!("an array of {} dimensions", header.shape.len()));
    };
    if columns == 0 {
        return Err("vectors of no numbers".to_owned());
    }
    let values = (bytes.len() - length) as u128;
    let kind = header.type_descriptor.as_string();
    let kind = kind.map_or("several", String::as_str);
    let width = match kind {
        "<f4" | ">f4" => 4,
        "<f8" | ">f8" => 8,
        _ => return Err(format!("an array of the type {kind:.100?}")),
    };
    // a header may state any two 64-bit numbers
    let expected = rows as u128 * columns as u128;
    if expected.checked_mul(width) != Some(values) {
        return Err(format!(
            "a header of {rows} x {columns} numbers and {values} bytes of them"
        ));
    }
    let numbers = match width {
        4 => Array2::read_npy(bytes),
        _ => Array2::<f64>::read_npy(bytes).map(|numbers| numbers.mapv(|x| x as f32)),
    };
    numbers.map_err(|error| error.to_string())
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorTrack {
    pub path: PathBuf,
    pub tags: TrackTags,
}

/// Reads a table with the column `path`, and optionally `title`, `artist`, `album`, `album_artist`, `composer`, `genre` or
/// `genres` (several between `;`) and `year`: a row for each of `rows` vectors, in their order.
pub fn read_vector_tracks(path: &Path, rows: usize) -> Result<Vec<VectorTrack>, EngineError> {
    let table = Table::read(path).map_err(EngineError::unread(path))?;
    let (header, lines) = (table.header, table.rows);
    let wrong = |line, problem: String| EngineError::table(path, line, &problem);
    let folded: Vec<String> = header.iter().map(|name| fold(name)).collect();
    let column = |name: &str| folded.iter().position(|header| header == name);
    let Some(path_at) = column("path") else {
        let found = header.join(",");
        return Err(wrong(1, format!("expected the column path, found {found}")));
    };
    if lines.len() != rows {
        let found = lines.len();
        return Err(wrong(
            1,
            format!("expected {rows} rows, one for each vector, found {found}"),
        ));
    }
    let one = |(line, row): &(u64, Vec<String>)| {
        // Without repeated separators, with which a file would be two tracks.
        let path: PathBuf = path_in_table(&row[path_at]).components().collect();
        // Paths in a library must not depend on the folder of the command.
        if !path.is_absolute() {
            let found = &row[path_at];
            return Err(wrong(
                *line,
                format!("expected an absolute path, found \"{found}\""),
            ));
        }
        let cell = |name: &str| {
            let text = column(name).map(|at| row[at].clone());
            text.filter(|text| !text.is_empty())
        };
        let mut genres: Vec<String> = Vec::new();
        for cell in [cell("genre"), cell("genres")].iter().flatten() {
            for name in cell.split(';').map(str::trim) {
                if !name.is_empty() && !genres.iter().any(|known| known == name) {
                    genres.push(name.to_owned());
                }
            }
        }
        let tags = TrackTags {
            title: cell("title"),
            artist: cell("artist"),
            album: cell("album"),
            album_artist: cell("album artist"),
            composer: cell("composer"),
            genres,
            year: cell("year").as_deref().and_then(tags::year),
            ..TrackTags::default()
        };
        Ok(VectorTrack { path, tags })
    };
    lines.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use ndarray_npy::WriteNpyExt as _;

    use super::*;

    fn npy(header: &str) -> Vec<u8> {
        let header = format!("{header:<117}\n");
        [
            b"\x93NUMPY\x01\0",
            &(header.len() as u16).to_le_bytes()[..],
            header.as_bytes(),
        ]
        .concat()
    }

    /// Without the check, the first would allocate 800 GB, and the second would not end.
    #[test]
    fn a_header_is_checked_against_the_size_of_its_file() {
        let npy_of_shape = |shape: &str| {
            npy(&format!(
                "{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}"
            ))
        };
        for (shape, words) in [
            ("100000000, 2000", "100000000 x 2000 numbers and 0 bytes"),
            ("1000000000, 0", "vectors of no numbers"),
            (
                "18446744073709551615, 18446744073709551615",
                "bytes of them",
            ),
            ("5,", "1 dimensions"),
            ("5, 5, 5", "3 dimensions"),
        ] {
            let found = parse_vectors(&npy_of_shape(shape)).unwrap_err();
            assert!(found.contains(words), "{shape}: {found}");
        }
        let deep = npy(&format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': {}",
            "(".repeat(9000)
        ));
        assert!(parse_vectors(&deep).unwrap_err().contains("nested"));
        let long = [&b"\x93NUMPY\x02\0\xff\xff\xff\xff"[..], &[0; 100]].concat();
        assert!(
            parse_vectors(&long)
                .unwrap_err()
                .contains("4294967307 bytes")
        );
        for cut in [&b""[..], b"\x93NUMPY\x01\0"] {
            assert!(parse_vectors(cut).is_err());
        }
        for kind in ["|b1", "|O", "<i8", "<c8"] {
            let header =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (1, 1), }}");
            let found = parse_vectors(&npy(&header)).unwrap_err();
            assert!(found.contains(&format!("type \"{kind}\"")), "{found}");
        }
    }

    #[test]
    fn all_widths_of_numbers_are_read() {
        let expected = ndarray::arr2(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let mut single = Vec::new();
        let mut double = Vec::new();
        expected.write_npy(&mut single).unwrap();
        expected.mapv(f64::from).write_npy(&mut double).unwrap();
        assert_eq!(parse_vectors(&single).unwrap(), expected);
        assert_eq!(parse_vectors(&double).unwrap(), expected);
        assert!(parse_vectors(&single[..single.len() - 1]).is_err());
    }
}
