//! Pictures: from a file's bytes to pixels, to another size, and back to a file.
//!
//! - [`decode`] takes JPEG (baseline and progressive; grey, colour, CMYK and YCCK), PNG (every depth and colour type, interlaced or not)
//!   and WebP (lossy and lossless). Of an animation it takes the first frame, of an animated PNG the picture that viewers without
//!   animation show.
//! - What is transparent is laid over white. Samples of 16 bits are rounded to 8. Colour profiles are ignored: samples are
//!   taken for sRGB, as cameras write them; CMYK is converted by the plain formula.
//! - The EXIF orientation is honoured: [`Decoded::upright`] and [`Decoded::fit`] turn the picture as it is to be seen.
//!
//! Whatever the bytes are, there is an answer or an error within the limits: no pixel memory is taken before the header has shown the
//! picture's size; decoding takes at most some 16 bytes a pixel beside the file; and a file that is cut off is refused, not half
//! answered. (A JPEG that lacks data but has its end marker is decoded as libjpeg decodes it, the missing part flat.)

mod decode;
mod encode;
mod jpeg;
mod resize;
mod webp;

pub use decode::{Decoded, decode};
pub use encode::{Format, encode};
pub use resize::Filter;

/// A picture's samples: 8 bits each, row by row from the top, a pixel's channels side by side.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// What a pixel is made of.
    pub channels: Channels,
    /// height × width × channels.
    pub samples: Vec<u8>,
}

/// What a pixel is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// Its lightness.
    Grey,
    /// Red, green, blue.
    Rgb,
}

impl Channels {
    /// How many samples a pixel has.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {} {:?})", self.width, self.height, self.channels)
    }
}
