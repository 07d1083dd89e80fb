//! Sizes, and files that read back.

use infer::picture::{Channels, Format, Picture, decode, encode};
use proptest::prelude::*;

use super::{MAX_PIXELS, difference};

fn png(picture: &Picture) -> Vec<u8> {
    encode(picture, Format::Png).unwrap()
}

fn rgb(width: usize, height: usize, sample: impl Fn(usize, usize, usize) -> u8) -> Picture {
    let samples = (0..height * width * 3).map(|at| sample(at / 3 % width, at / 3 / width, at % 3)).collect();
    Picture { width, height, channels: Channels::Rgb, samples }
}

#[test]
fn only_larger_pictures_are_shrunk_and_none_vanishes() {
    let size = |width: usize, height: usize, max_side: usize| {
        let picture = decode(&png(&rgb(width, height, |_, _, _| 7)), MAX_PIXELS).unwrap().fit(max_side);
        assert!(picture.samples.iter().all(|sample| *sample == 7), "a plain picture stays plain");
        (picture.width, picture.height)
    };
    assert_eq!(size(40, 30, 64), (40, 30));
    assert_eq!(size(640, 480, 64), (64, 48));
    assert_eq!(size(30, 90, 64), (21, 64));
    assert_eq!(size(3000, 1, 64), (64, 1));
}

#[test]
fn jpeg_answers_are_close_and_keep_their_channels() {
    let picture = rgb(61, 33, |x, y, channel| (x * 2 + y * 3 + channel * 20) as u8);
    let grey = Picture {
        channels: Channels::Grey,
        samples: picture.samples.iter().step_by(3).copied().collect(),
        ..picture.clone()
    };
    for (picture, expected) in
        [(&picture, picture.samples.clone()), (&grey, grey.samples.iter().flat_map(|grey| [*grey; 3]).collect())]
    {
        let file = encode(picture, Format::Jpeg { quality: 95 }).unwrap();
        let back = decode(&file, MAX_PIXELS).unwrap().upright();
        assert_eq!((back.width, back.height), (61, 33));
        let (mean, _) = difference(&back.samples, &expected);
        assert!(mean < 3.0, "{mean}");
    }
    let wide = Picture { width: 70_000, height: 1, channels: Channels::Grey, samples: vec![0; 70_000] };
    assert_eq!(encode(&wide, Format::Jpeg { quality: 90 }).unwrap_err(), "the picture is too large for JPEG");
    assert!(encode(&wide, Format::Png).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn png_answers_read_back_as_they_were(width in 1..40_usize, height in 1..40_usize, grey in any::<bool>(), seed in any::<u64>()) {
        let channels = if grey { Channels::Grey } else { Channels::Rgb };
        let samples: Vec<u8> =
            (0..width * height * channels.count()).map(|at| (seed.wrapping_mul(at as u64 | 1) >> 56) as u8).collect();
        let picture = Picture { width, height, channels, samples: samples.clone() };
        let back = decode(&png(&picture), MAX_PIXELS).unwrap().upright();
        let expected = if grey { samples.iter().flat_map(|grey| [*grey; 3]).collect() } else { samples };
        prop_assert_eq!((back.width, back.height, back.samples), (width, height, expected));
    }
}
