//! Which of two versions is the higher one.

use std::cmp::Ordering;

use job::id::Version;

/// `9` before `10`, `1.9` before `1.10`, `2-rc1` before `2`: runs of digits compare as numbers, everything else as text, and
/// what begins with a hyphen comes before the end, as in semantic versioning.
pub fn version_order(a: &Version, b: &Version) -> Ordering {
    natural_order(a.as_str(), b.as_str())
}

fn natural_order(a: &str, b: &str) -> Ordering {
    fn part(part: &[u8]) -> (u8, usize, &str) {
        let part = std::str::from_utf8(part).expect("a version is ASCII");
        let digits = part.trim_start_matches('0');
        match part.as_bytes()[0] {
            b'-' => (0, 0, part),
            b'0'..=b'9' => (2, digits.len(), digits),
            _ => (3, 0, part),
        }
    }
    fn parts(text: &str) -> impl Iterator<Item = (u8, usize, &str)> {
        let end = (1, 0, "");
        text.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()).map(part).chain([end])
    }
    parts(a).cmp(parts(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_people_read_them() {
        let mut versions =
            ["10", "2", "1.10", "1.9", "1", "a", "2-rc1", "2-rc10", "2-rc9", "2.0", "2026-05-01", "2026-11-01"];
        versions.sort_by(|a, b| natural_order(a, b));
        let expected =
            ["1", "1.9", "1.10", "2-rc1", "2-rc9", "2-rc10", "2", "2.0", "10", "2026-05-01", "2026-11-01", "a"];
        assert_eq!(versions, expected);
    }
}
