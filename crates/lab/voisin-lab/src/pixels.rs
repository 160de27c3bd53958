//! Pictures drawn at a multiple of their size and shrunk, for subpixel positions of letters.

use png::{BitDepth, ColorType, Encoder, EncodingError};

/// The factor in each direction.
pub const FINE: u32 = 3;

/// Encodes the picture `fine`, shrunk, as PNG (see [`shrink`]).
pub fn png(fine: &[u8], width: u32, height: u32) -> Result<Vec<u8>, EncodingError> {
    encode(&shrink(fine, width, height), width, height)
}

/// Encodes a picture as PNG.
///
/// - `pixels`: red, green, blue of each, row by row
pub fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// Means over squares of [`FINE`] by [`FINE`] pixels of a picture.
///
/// - `fine`: red, green, blue of each pixel, row by row, `FINE · width` by `FINE · height`
fn shrink(fine: &[u8], width: u32, height: u32) -> Vec<u8> {
    let width = width as usize;
    let height = height as usize;
    let n = FINE as usize;
    let mut out = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let at =
                    |dx: usize, dy: usize| 3 * ((y * n + dy) * n * width + x * n + dx) + channel;
                let sum: usize = (0..n * n)
                    .map(|i| usize::from(fine[at(i % n, i / n)]))
                    .sum();
                // Half of the divisor is added to round; a mean of bytes is a byte.
                out.push(((sum + n * n / 2) / (n * n)) as u8);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_their_means() {
        // Two pixels: the left one has one white column of three, the right one is red.
        let row: Vec<u8> = [
            [255, 255, 255],
            [0, 0, 0],
            [0, 0, 0],
            [255, 0, 0],
            [255, 0, 0],
            [255, 0, 0],
        ]
        .concat();
        assert_eq!(shrink(&row.repeat(3), 2, 1), [85, 85, 85, 255, 0, 0]);

        let bytes = png(&row.repeat(3), 2, 1).expect("encoded");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG file");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
        let info = reader.next_frame(&mut pixels).expect("whole");
        assert_eq!(
            (info.width, info.height, info.color_type),
            (2, 1, ColorType::Rgb)
        );
        assert_eq!(pixels, [85, 85, 85, 255, 0, 0]);
    }
}
