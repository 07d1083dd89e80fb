//! JPEG, by zune-jpeg in its strict mode, behind a look at the file's markers.

use bundle::InputError;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::decode::{Limit, damaged};
use super::{Channels, Picture};

/// Encoders write some ten. Each scan is a pass over all pixels and may take ten bytes of the file.
const MAX_SCANS: usize = 64;
/// A colour profile has at most 255; long XMP a few more. The decoder looks at all of them once for each.
const MAX_SEGMENTS: usize = 4096;

pub(super) fn decode(bytes: &[u8], limits: Limit) -> Result<(Picture, Orientation), InputError> {
    check_markers(bytes).map_err(|why| damaged("JPEG", why))?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| damaged("JPEG", error))?;
    let info = decoder.info().ok_or_else(|| damaged("JPEG", "it has no header"))?;
    limits.check(info.width.into(), info.height.into())?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let size = decoder.output_buffer_size().ok_or_else(|| damaged("JPEG", "it has no header"))?;
    let mut samples = vec![0; size];
    decoder.decode_into(&mut samples).map_err(|error| damaged("JPEG", error))?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    if samples.len() != width * height * 3 {
        return Err(damaged("JPEG", "its colours are of an unknown kind"));
    }
    let picture = Picture { width, height, channels: Channels::Rgb, samples };
    Ok((picture, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Walks from marker to marker (ITU-T T.81, B.1): the file must reach its end, in a bounded number of scans and segments.
///
/// The decoder limits the scans of progressive pictures alone, and takes what lacks its last rows for whole.
fn check_markers(bytes: &[u8]) -> Result<(), &'static str> {
    const CUT_OFF: &str = "it ends too early";
    let (mut at, mut scans, mut segments) = (2, 0, 0);
    loop {
        // Within a scan, 0xff is followed by 0 or a restart marker; before a marker it may repeat.
        let rest = bytes.get(at..).unwrap_or_default();
        at += rest.iter().position(|byte| *byte == 0xff).ok_or(CUT_OFF)? + 1;
        match *bytes.get(at).ok_or(CUT_OFF)? {
            0xff => {}
            0 | 0x01 | 0xd0..=0xd8 => at += 1,
            0xd9 => return Ok(()),
            marker => {
                let length = bytes.get(at + 1..at + 3).and_then(|length| length.first_chunk()).ok_or(CUT_OFF)?;
                let length = usize::from(u16::from_be_bytes(*length));
                scans += usize::from(marker == 0xda);
                segments += 1;
                if length < 2 {
                    return Err("a segment has no length");
                } else if scans > MAX_SCANS {
                    return Err("it has too many scans");
                } else if segments > MAX_SEGMENTS {
                    return Err("it has too many segments");
                }
                at += 1 + length;
            }
        }
    }
}
