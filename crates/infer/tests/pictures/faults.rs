//! What is no whole picture is refused, whatever it is.

use bundle::InputError;
use infer::picture::decode;
use proptest::prelude::*;

use super::{MAX_PIXELS, file, folder};

fn refusal(bytes: &[u8]) -> InputError {
    decode(bytes, MAX_PIXELS).expect_err("it is no picture")
}

#[test]
fn what_is_no_picture_is_named() {
    let invalid = |bytes: &[u8]| match refusal(bytes) {
        InputError::Invalid(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(invalid(b"hello"), "the input is no picture; the model takes JPEG, PNG and WebP");
    assert_eq!(invalid(b"GIF89a"), "the input is a GIF; the model takes JPEG, PNG and WebP");
    assert_eq!(invalid(b"\0\0\0\x18ftypheic"), "the input is a HEIC picture; the model takes JPEG, PNG and WebP");
    assert!(matches!(refusal(b""), InputError::Empty(_)));
    for name in ["baseline.jpg", "rgb.png", "lossy.webp"] {
        let error = decode(&file(name), 37 * 29 - 1).unwrap_err();
        let expected = "the picture has 37 x 29 pixels; the model takes at most 1072 in all";
        assert_eq!(error, InputError::TooLarge(expected.to_owned()), "{name}");
    }
}

/// The names of the pictures.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".rgb") && !name.ends_with(".json")).collect()
}

#[test]
fn a_picture_that_is_cut_off_anywhere_is_refused() {
    for name in names() {
        let whole = file(&name);
        let pixels = decode(&whole, MAX_PIXELS).unwrap().upright();
        for end in 0..whole.len() {
            match decode(&whole[..end], MAX_PIXELS) {
                Err(InputError::Invalid(why)) => assert!(!why.is_empty()),
                Err(InputError::Empty(_)) => assert_eq!(end, 0),
                Err(other) => panic!("{name} cut off at {end}: {other:?}"),
                // Without what a PNG has after its pixels, or a WebP's padding, all of the picture is still there.
                Ok(decoded) => {
                    assert!(!name.ends_with(".jpg"), "{name} cut off at {end} of {}", whole.len());
                    assert_eq!(decoded.upright(), pixels, "{name} cut off at {end} of {}", whole.len());
                }
            }
        }
    }
}

/// A palette is of three bytes for each colour. The decoder of PNG panics on this one.
#[test]
fn a_palette_that_ends_within_a_colour_is_refused() {
    let mut png = file("palette-transparent.png");
    let at = png.windows(4).position(|kind| kind == b"PLTE").unwrap();
    let length = u32::from_be_bytes(*png[at - 4..].first_chunk().unwrap());
    let cut = length - 2;
    png[at - 4..at].copy_from_slice(&cut.to_be_bytes());
    let end = at + 4 + cut as usize;
    png.drain(end..end + 2);
    let mut crc = flate2::Crc::new();
    crc.update(&png[at..end]);
    png[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
    let InputError::Invalid(why) = refusal(&png) else { panic!("of another kind") };
    assert!(why.starts_with("the PNG picture is cut off, damaged or of an unknown variety: "), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn mutated_pictures_never_panic(
        which in any::<proptest::sample::Index>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let names = names();
        let mut bytes = file(&names[which.index(names.len())]);
        for (at, byte, kind) in &edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = *byte,
                1 => bytes.insert(at, *byte),
                _ => { bytes.remove(at); }
            }
        }
        // A limit of a megapixel, so that a header that promises more costs the test no time.
        if let Ok(decoded) = decode(&bytes, 1_000_000) {
            let picture = decoded.fit(16);
            prop_assert_eq!(picture.samples.len(), picture.width * picture.height * 3);
        }
    }
}
