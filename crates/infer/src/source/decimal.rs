//! Numbers from their digits, where that is quickly told; the rest is left to the standard library.

/// Powers of ten that f64 has exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// As many digits fit a u64.
const MAX_DIGITS: usize = 19;
/// Up to here, f64 has every integer.
const MAX_MANTISSA: u64 = 1 << 53;

/// Digits from a place on, appended to a number; and the place behind them. Whatever more than [`MAX_DIGITS`] digits make means nothing.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        at += 1;
    }
    (number, at)
}

/// Whether a number in a list ends there.
fn ends(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b',' | b']'))
}

/// The integer that an element of a list is, and its length.
#[inline]
pub(super) fn integer(bytes: &[u8]) -> Option<(i64, usize)> {
    let start = usize::from(bytes.first() == Some(&b'-'));
    let (number, end) = digits(bytes, start, 0);
    if end == start || end - start >= MAX_DIGITS || !ends(bytes, end) {
        return None;
    }
    let number = number as i64;
    Some((if start == 1 { -number } else { number }, end))
}

/// The float that an element of a list is, and its length.
///
/// The digits are an integer and a power of ten, both exact in f64: what comes of them is rounded once, so correctly.
#[inline]
pub(super) fn double(bytes: &[u8]) -> Option<(f64, usize)> {
    let start = usize::from(bytes.first() == Some(&b'-'));
    let (mut mantissa, mut end) = digits(bytes, start, 0);
    let (mut count, mut exponent) = (end - start, 0);
    if bytes.get(end) == Some(&b'.') {
        let point = end;
        (mantissa, end) = digits(bytes, point + 1, mantissa);
        exponent = -((end - point - 1) as i64);
        count += end - point - 1;
    }
    if count == 0 || count > MAX_DIGITS || mantissa > MAX_MANTISSA {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = bytes.get(end + 1);
        let first = end + 1 + usize::from(matches!(sign, Some(b'+' | b'-')));
        let (power, last) = digits(bytes, first, 0);
        if last == first || last - first > 4 {
            return None;
        }
        exponent += if sign == Some(&b'-') { -(power as i64) } else { power as i64 };
        end = last;
    }
    let power = *POWERS.get(exponent.unsigned_abs() as usize)?;
    if !ends(bytes, end) {
        return None;
    }
    let mantissa = mantissa as f64;
    let number = if exponent < 0 { mantissa / power } else { mantissa * power };
    Some((if start == 1 { -number } else { number }, end))
}

/// [`double`], rounded again. The result is that of rounding once, unless the first one fell on the middle between two neighbours.
#[inline]
pub(super) fn single(bytes: &[u8]) -> Option<(f32, usize)> {
    /// The bits that f32 lacks, and of them the middle.
    const MORE: u64 = (1 << 29) - 1;
    const MIDDLE: u64 = 1 << 28;
    let (number, len) = double(bytes)?;
    let normal = number == 0.0 || (f64::from(f32::MIN_POSITIVE)..f64::from(f32::MAX)).contains(&number.abs());
    (normal && number.to_bits() & MORE != MIDDLE).then_some((number as f32, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Whatever is told is what the standard library says, to the bit.
    #[test]
    fn numbers_are_the_standard_librarys() {
        let mut draw = SplitMix64::new(1);
        let (mut told, mut middles) = (0, 0);
        for at in 0..200_000 {
            let bits = draw.next_u64();
            let float = f32::from_bits(bits as u32);
            let text = match at % 6 {
                0 => format!("{float:e}"),
                1 => format!("{float:E}"),
                2 => format!("{}", bits as i32 as f32 / 1000.0),
                3 => format!("{}", f64::from_bits(bits)),
                // Between two neighbours, and a little beside.
                4 => {
                    format!("{}", f64::from(1.0 + (bits % 4096) as f32 * f32::EPSILON) + f64::from(f32::EPSILON) / 2.0)
                }
                _ => format!("{}{}", bits as i64, [".", "", ".5", "e3", "e-7", "E+2"][at / 6 % 6]),
            };
            let list = format!("{text}]");
            if let Some((number, len)) = single(list.as_bytes()) {
                assert_eq!((number.to_bits(), len), (text.parse::<f32>().unwrap().to_bits(), text.len()), "{text}");
                told += 1;
            } else {
                middles += usize::from(at % 6 == 4);
            }
            if let Some((number, _)) = double(list.as_bytes()) {
                assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
            }
            if let Some((number, _)) = integer(list.as_bytes()) {
                assert_eq!(Ok(number), text.parse(), "{text}");
            }
        }
        assert!(told > 40_000, "{told}");
        assert!(middles > 1000, "{middles}");
        for (text, number) in [("-0,", -0.0_f32), ("0.0]", 0.0), ("1E0]", 1.0), ("-2.5E-1,", -0.25)] {
            assert_eq!(single(text.as_bytes()).map(|(number, _)| number.to_bits()), Some(number.to_bits()), "{text}");
        }
        for text in ["", "-", ".", "1", "1 ]", "1e]", "--1]", "1.2.3]", "1-]", "nan]", "1e400]"] {
            assert_eq!(single(text.as_bytes()), None, "{text}");
        }
    }
}
