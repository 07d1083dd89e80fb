//! The span that joins the log lines about one job: which job, which attempt, which trace.
//!
//! It is as severe as an error, so that no filter that lets a line through takes these away from it.

use job::trace::TraceParent;
use job::{AttemptId, JobId, Ticket, Work};
use tracing::field::{Empty, display};
use tracing::{Span, error_span};

/// Of one part of a message.
pub(crate) fn of_work(work: &Work, receive_count: u32) -> Span {
    let span = error_span!("job", job = Empty, attempt = Empty, trace_id = Empty, receive_count);
    record_work(&span, work);
    span
}

/// Of a message as a whole, whose job is still to be seen.
pub(crate) fn of_message(id: &str, receive_count: u32) -> Span {
    error_span!("message", message_id = id, job = Empty, trace_id = Empty, receive_count)
}

/// Of a job that no message has led to.
pub(crate) fn of_job(job: JobId) -> Span {
    error_span!("job", job = %job, trace_id = Empty)
}

/// Says which part of a message it goes on with.
pub(crate) fn is_about_work(work: &Work) {
    record_work(&Span::current(), work);
}

/// Says what the ticket knows beyond the message that led to it.
pub(crate) fn is_about(work: &Work, ticket: &Ticket) {
    if matches!(work, Work::Dropped(_)) {
        Span::current().record("job", display(ticket.job));
    }
    if !matches!(work, Work::Run { trace: Some(_), .. }) {
        has_trace(ticket);
    }
}

/// Says which trace the job belongs to.
pub(crate) fn has_trace(ticket: &Ticket) {
    record_trace(&Span::current(), ticket.trace.as_ref());
}

/// Says which attempt it is.
pub(crate) fn is_attempt(attempt: AttemptId) {
    Span::current().record("attempt", display(attempt));
}

// A field is recorded once: where lines are text, a second value stands beside the first.
fn record_work(span: &Span, work: &Work) {
    if let Work::Run { job, trace, .. } = work {
        span.record("job", display(job));
        record_trace(span, trace.as_ref());
    }
}

fn record_trace(span: &Span, trace: Option<&TraceParent>) {
    if let Some(trace) = trace {
        span.record("trace_id", display(trace.trace_id()));
    }
}
