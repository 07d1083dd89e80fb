//! What a WebP file's chunks say, before it is decoded.

use bundle::InputError;

use super::decode::{Limit, damaged};

/// Holds every chunk to the file's end and every frame to the limit. The decoder believes a chunk's length, and decodes a frame before
/// it compares the frame's size with the picture's (<https://developers.google.com/speed/webp/docs/riff_container>).
pub(super) fn check(bytes: &[u8], limits: Limit) -> Result<(), InputError> {
    let riff = field(bytes, 4).ok_or_else(cut_off)?;
    // Some writers forget that odd chunks are padded, so bytes may be missing or follow.
    if (bytes.len() as u64) < u64::from(riff) + 8 - 1 {
        return Err(cut_off());
    }
    chunks(&bytes[12..], limits, true)
}

fn chunks(mut bytes: &[u8], limits: Limit, outer: bool) -> Result<(), InputError> {
    while let Some((kind, rest)) = bytes.split_first_chunk::<4>() {
        let Some(length) = field(rest, 0) else { break };
        let length = length as usize;
        let body = rest[4..].get(..length).ok_or_else(cut_off)?;
        match kind {
            b"VP8 " => {
                // RFC 6386, 9.1: three bytes, a start code of three, then width and height, each in 14 bits.
                let sides = body.get(6..10).ok_or_else(cut_off)?;
                let side = |at: usize| u64::from(u16::from_le_bytes([sides[at], sides[at + 1]]) & 0x3fff);
                limits.check(side(0), side(2))?;
            }
            // A frame of an animation: where it lies and how long, then its own chunks.
            b"ANMF" if outer => chunks(body.get(16..).ok_or_else(cut_off)?, limits, false)?,
            _ => {}
        }
        bytes = rest[4..].get(length + length % 2..).unwrap_or_default();
    }
    Ok(())
}

fn field(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn cut_off() -> InputError {
    damaged("WebP", "it ends too early")
}
