//! Where a large picture is cut.

use std::ops::Range;

/// A tile along one axis, in pixels of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Where what the net sees begins.
    pub(super) start: usize,
    /// How much the net sees.
    pub(super) length: usize,
    /// What is kept of the answer.
    pub(super) keep: Range<usize>,
}

/// How an axis is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Starts and lengths are multiples of it.
    pub(super) multiple: usize,
    /// The longest tile.
    pub(super) longest: usize,
    /// How far a tile reaches into its neighbours.
    pub(super) overlap: usize,
    /// Whether every tile must have the longest tile's length, beyond the picture's end if need be.
    pub(super) exact: bool,
}

impl Cut {
    /// Cuts an axis of `side` pixels. What is kept of all tiles together is the axis; what is kept of one is `overlap` or more from where its view
    /// ends within the picture.
    pub(super) fn spans(self, side: usize) -> Vec<Span> {
        let Self { multiple, longest, overlap, exact } = self;
        let padded = side.next_multiple_of(multiple);
        if padded <= longest {
            let length = if exact { longest } else { padded };
            return vec![Span { start: 0, length, keep: 0..side }];
        }
        let count = (padded - 2 * overlap).div_ceil(longest - 2 * overlap);
        // Tiles of one length: the last of unequal ones would see the picture twice.
        let even = (padded + 2 * overlap * (count - 1)).div_ceil(count).next_multiple_of(multiple);
        let length = if exact { longest } else { even };
        let start = |at: usize| (at * (length - 2 * overlap)).min(padded - length);
        let from = |at: usize| if at == 0 { 0 } else { start(at) + overlap };
        let to = |at: usize| if at + 1 == count { side } else { from(at + 1) };
        (0..count).map(|at| Span { start: start(at), length, keep: from(at)..to(at) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_pictures_are_one_tile() {
        let cut = Cut { multiple: 8, longest: 64, overlap: 8, exact: false };
        assert_eq!(cut.spans(60), [Span { start: 0, length: 64, keep: 0..60 }]);
        assert_eq!(cut.spans(1), [Span { start: 0, length: 8, keep: 0..1 }]);
        let exact = Cut { exact: true, ..cut };
        assert_eq!(exact.spans(1), [Span { start: 0, length: 64, keep: 0..1 }]);
        let spans = cut.spans(100);
        assert_eq!(spans[0], Span { start: 0, length: 64, keep: 0..48 });
        assert_eq!(spans[1], Span { start: 40, length: 64, keep: 48..100 });
        assert_eq!(spans.len(), 2);
    }

    proptest! {
        #[test]
        fn tiles_cover_the_axis_once_and_see_enough(
            side in 1..5000_usize, multiple in 1..33_usize, overlap in 0..6_usize, room in 1..20_usize, exact in any::<bool>(),
        ) {
            let overlap = overlap * multiple;
            let cut = Cut { multiple, longest: 2 * overlap + room * multiple, overlap, exact };
            let spans = cut.spans(side);
            let padded = side.next_multiple_of(multiple);
            let mut covered = 0;
            for (at, span) in spans.iter().enumerate() {
                let end = span.start + span.length;
                prop_assert_eq!(span.keep.start, covered);
                prop_assert!(span.keep.end > span.keep.start);
                covered = span.keep.end;
                prop_assert!(span.start < side, "a tile begins within the picture");
                prop_assert!(span.start % multiple == 0 && span.length % multiple == 0 && span.length <= cut.longest);
                prop_assert!(!exact || span.length == cut.longest);
                prop_assert!(end <= padded || (exact && spans.len() == 1));
                prop_assert!(at == 0 || span.keep.start >= span.start + overlap);
                prop_assert!(at + 1 == spans.len() || span.keep.end + overlap <= end);
                prop_assert!(at > 0 || span.start == 0);
            }
            prop_assert_eq!(covered, side);
        }
    }
}
