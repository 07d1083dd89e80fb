//! Every kind of picture against Pillow's pixels.

use std::collections::BTreeMap;

use infer::picture::{Channels, decode};

use super::{MAX_PIXELS, difference, file};

/// How far a kind of picture may be from Pillow's pixels: in the mean, and at most.
///
/// Lossless kinds equal them. Other decoders of lossy kinds round the inverse transform and the upsampling of colours otherwise, the latter
/// the most at edges; and what is transparent is rounded once here, after Pillow has rounded it once already in a lossy one.
fn tolerance(name: &str) -> (f64, u8) {
    match name {
        "lossy.webp" | "lossy-alpha.webp" => (1.0, 12),
        name if name.ends_with(".jpg") => (1.0, 8),
        _ => (0.0, 0),
    }
}

#[test]
fn every_kind_of_picture_has_the_pixels_that_pillow_sees() {
    let sizes: BTreeMap<String, [usize; 2]> = serde_json::from_slice(&file("reference.json")).unwrap();
    assert!(sizes.len() > 40);
    let mut faults = Vec::new();
    for (name, [width, height]) in sizes {
        let picture = match decode(&file(&name), MAX_PIXELS) {
            Ok(decoded) => decoded.upright(),
            Err(error) => {
                faults.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert_eq!((picture.width, picture.height, picture.channels), (width, height, Channels::Rgb), "{name}");
        let (mean, most) = difference(&picture.samples, &file(&format!("{name}.rgb")));
        let (max_mean, max_most) = tolerance(&name);
        println!("{name}: mean {mean:.3}, at most {most}");
        if mean > max_mean || most > max_most {
            faults.push(format!("{name}: mean {mean:.3}, at most {most}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn shrinking_and_turning_can_be_done_in_either_order() {
    for orientation in 1..=8 {
        let bytes = file(&format!("orientation-{orientation}.jpg"));
        let decoded = decode(&bytes, MAX_PIXELS).unwrap();
        let upright = decoded.clone().upright();
        let same = decoded.clone().fit(37);
        assert_eq!(same, upright, "what fits keeps its size");
        let small = decoded.fit(16);
        assert_eq!(small.width.max(small.height), 16);
        assert_eq!(small.width < small.height, upright.width < upright.height);
    }
}
