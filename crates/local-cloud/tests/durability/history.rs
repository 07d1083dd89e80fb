//! Is what clients saw of one key linearizable?
//!
//! The events of a key tell in which order its writes took effect, so nothing has to be searched for. An order of the
//! writes explains a history if each write found the state that its condition asks for, none comes before one that had
//! been answered when it began, and each read can be put between two writes such that the same holds for it.

use std::time::Instant;

/// From before the request was sent until after its answer had come.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: Instant,
    pub end: Instant,
}

impl Span {
    fn is_before(self, other: Self) -> bool {
        self.end < other.start
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Always,
    IfAbsent,
    IfMatch(String),
    /// A deletion that has an event had something to delete.
    IfPresent,
}

/// A write that took effect.
#[derive(Debug, Clone)]
pub struct Write {
    pub span: Span,
    pub condition: Condition,
    /// The ETag of what it wrote; `None` for a deletion.
    pub leaves: Option<String>,
}

/// What an answer tells of the state of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sees {
    Absent,
    /// Something is there.
    Present,
    /// This is there, by its ETag.
    Exactly(String),
    /// Something else than this is there.
    Other(String),
}

#[derive(Debug, Clone)]
pub struct Read {
    pub span: Span,
    pub sees: Sees,
}

impl Sees {
    fn agrees_with(&self, state: Option<&str>) -> bool {
        match self {
            Self::Absent => state.is_none(),
            Self::Present => state.is_some(),
            Self::Exactly(etag) => state == Some(etag),
            Self::Other(etag) => state.is_some_and(|state| state != etag),
        }
    }
}

impl Condition {
    fn holds(&self, state: Option<&str>) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => state.is_none(),
            Self::IfMatch(etag) => state == Some(etag),
            Self::IfPresent => state.is_some(),
        }
    }
}

/// Says why `writes`, in this order, do not explain what was seen, if they do not.
pub fn judge(initial: Option<&str>, writes: &[Write], mut reads: Vec<Read>) -> Result<(), String> {
    // The state after none of the writes, after the first, ...
    let mut states = vec![initial];
    let mut latest_start: Option<Span> = None;
    for (n, write) in writes.iter().enumerate() {
        let state = states[n];
        if !write.condition.holds(state) {
            return Err(format!("{write:?} took effect, though the state before it was {state:?}"));
        }
        if latest_start.is_some_and(|earlier| write.span.is_before(earlier)) {
            return Err(format!("{write:?} took effect after one that began when it had been answered"));
        }
        latest_start = latest_start.filter(|earlier| earlier.start >= write.span.start).or(Some(write.span));
        states.push(write.leaves.as_deref());
    }

    reads.sort_by_key(|read| read.span.start);
    let mut placed: Vec<(Span, usize)> = Vec::new();
    for read in reads {
        let after_writes = writes.iter().rposition(|write| write.span.is_before(read.span)).map_or(0, |n| n + 1);
        let after_reads = placed.iter().filter(|(span, _)| span.is_before(read.span)).map(|(_, state)| *state).max();
        let first = after_writes.max(after_reads.unwrap_or(0));
        let last = writes.iter().position(|write| read.span.is_before(write.span)).unwrap_or(writes.len());
        // The first that will do leaves most to the reads that follow.
        let state = (first..=last).find(|&n| read.sees.agrees_with(states[n]));
        let Some(state) = state else {
            let possible = states.get(first..=last).unwrap_or_default();
            return Err(format!("{read:?}, while the state was one of {possible:?}"));
        };
        placed.push((read.span, state));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn span(start: u64, end: u64) -> Span {
        // One origin for all.
        static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let origin = *ORIGIN.get_or_init(Instant::now);
        Span { start: origin + Duration::from_millis(start), end: origin + Duration::from_millis(end) }
    }

    fn write(start: u64, end: u64, condition: Condition, leaves: &str) -> Write {
        Write { span: span(start, end), condition, leaves: (!leaves.is_empty()).then(|| leaves.to_owned()) }
    }

    fn read(start: u64, end: u64, sees: Sees) -> Read {
        Read { span: span(start, end), sees }
    }

    fn exactly(etag: &str) -> Sees {
        Sees::Exactly(etag.into())
    }

    #[test]
    fn what_can_be_put_in_order_is_accepted() {
        let writes = [
            write(0, 10, Condition::IfAbsent, "a"),
            write(5, 20, Condition::IfMatch("a".into()), "b"),
            write(15, 30, Condition::IfPresent, ""),
        ];
        let reads = vec![
            read(0, 2, Sees::Absent),
            read(6, 9, exactly("a")),
            read(11, 12, exactly("a")),
            read(11, 21, exactly("b")),
            read(11, 21, Sees::Other("a".into())),
            read(14, 40, Sees::Absent),
        ];
        assert_eq!(judge(None, &writes, reads), Ok(()));
    }

    #[test]
    fn a_condition_that_did_not_hold_is_found() {
        let twice = [write(0, 10, Condition::IfAbsent, "a"), write(0, 10, Condition::IfAbsent, "b")];
        assert!(judge(None, &twice, vec![]).is_err());
        let stale = [write(0, 10, Condition::Always, "b"), write(0, 10, Condition::IfMatch("a".into()), "c")];
        assert!(judge(Some("a"), &stale, vec![]).is_err());
        assert!(judge(None, &[write(0, 1, Condition::IfPresent, "")], vec![]).is_err());
    }

    #[test]
    fn writes_out_of_order_are_found() {
        let swapped = [write(5, 9, Condition::Always, "a"), write(0, 4, Condition::Always, "b")];
        assert!(judge(None, &swapped, vec![]).is_err());
        let apart = [write(5, 9, Condition::Always, "a"), write(0, 7, Condition::Always, "x"), swapped[1].clone()];
        assert!(judge(None, &apart, vec![]).is_err());
    }

    #[test]
    fn reads_of_what_is_past_or_to_come_are_found() {
        let writes = [write(10, 20, Condition::Always, "a"), write(30, 40, Condition::Always, "b")];
        let found = |read| judge(None, &writes, vec![read]).is_err();
        assert!(found(read(21, 25, Sees::Absent)), "a lost write");
        assert!(found(read(41, 45, exactly("a"))), "an old value");
        assert!(found(read(21, 25, exactly("b"))), "a value before it was written");
        assert!(found(read(0, 50, exactly("c"))), "a value that nobody wrote");
        assert!(found(read(21, 25, Sees::Other("a".into()))), "a refusal without a reason");
    }

    #[test]
    fn reads_that_go_back_in_time_are_found() {
        let writes = [write(0, 100, Condition::Always, "a")];
        assert!(judge(None, &writes, vec![read(10, 20, exactly("a")), read(30, 40, Sees::Absent)]).is_err());
        assert!(judge(None, &writes, vec![read(10, 20, Sees::Absent), read(30, 40, exactly("a"))]).is_ok());
        assert!(judge(None, &writes, vec![read(10, 35, exactly("a")), read(30, 40, Sees::Absent)]).is_ok());
    }
}
