//! What each of the five models is asked.

/// A model, and what lies of it in the folder of samples.
#[derive(Debug)]
pub struct Sample {
    pub model: &'static str,
    pub input: &'static str,
    pub content_type: &'static str,
    pub expected: &'static str,
}

pub const NAMES: [&str; 5] = ["wine-quality", "moons", "names", "reviews", "line-art"];

pub static SAMPLES: [Sample; 5] = [
    Sample {
        model: NAMES[0],
        input: "wine-quality/wines.json",
        content_type: "application/json",
        expected: "wine-quality/expected.json",
    },
    Sample {
        model: NAMES[1],
        input: "moons/point.json",
        content_type: "application/json",
        expected: "moons/expected.json",
    },
    Sample {
        model: NAMES[2],
        input: "names/russian.json",
        content_type: "application/json",
        expected: "names/expected.json",
    },
    Sample {
        model: NAMES[3],
        input: "reviews/reviews.json",
        content_type: "application/json",
        expected: "reviews/expected.json",
    },
    Sample {
        model: NAMES[4],
        input: "line-art/grace-hopper.jpg",
        content_type: "image/jpeg",
        expected: "line-art/expected.png",
    },
];

/// Those with these names; all if there are no names.
pub fn chosen(names: &[String]) -> impl Iterator<Item = &'static Sample> {
    SAMPLES.iter().filter(move |sample| names.is_empty() || names.iter().any(|name| name == sample.model))
}
