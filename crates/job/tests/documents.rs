//! Every stored document, whatever its values, comes back from its JSON as it was written.

use jiff::Timestamp;
use job::documents::V1;
use job::envelope::{ObjectVersion, Order, decode};
use job::{
    AttemptId, Code, ETag, Ending, Input, JobId, Limits, Message, Outcome, Problem, Progress, Sha256, StoredResult,
    Tenant, Ticket, TraceParent, Version, Work,
};
use proptest::option;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

fn job() -> impl Strategy<Value = JobId> {
    any::<[u8; 16]>().prop_map(JobId::from_random)
}

/// Neither of whose ids is all zeros, which would be none.
fn trace() -> impl Strategy<Value = TraceParent> {
    any::<[u8; 24]>().prop_map(|bytes| TraceParent::from_random(bytes.map(|byte| byte | 1)))
}

fn attempt() -> impl Strategy<Value = AttemptId> {
    any::<[u8; 8]>().prop_map(AttemptId::from_random)
}

fn digest() -> impl Strategy<Value = Sha256> {
    any::<[u8; 8]>().prop_map(|bytes| Sha256::of(&bytes))
}

/// All of jiff's years, and fractions of seconds.
fn time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond())
        .prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).expect("within jiff's range"))
}

/// Any text: control characters, quotes and astral planes included.
fn text() -> impl Strategy<Value = String> {
    "(?s).{0,20}"
}

/// JSON as a client may have written it: spaces, digits that no f64 keeps, names twice.
fn raw() -> impl Strategy<Value = Box<RawValue>> {
    let json = prop_oneof![
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?",
        text().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        "\\[ ?(null|true|\\{\"a\" ?: ?1, ?\"a\":2\\})\n?\\]",
    ];
    json.prop_map(|text| RawValue::from_string(text).expect("JSON"))
}

fn etag() -> impl Strategy<Value = ETag> {
    prop_oneof!["\"[a-f0-9]{1,8}\"".boxed(), text().boxed()].prop_map(ETag::new)
}

fn input() -> impl Strategy<Value = Input> {
    let names = (text(), text(), text());
    let upload = (names, any::<u64>(), option::of(digest()), option::of(etag()));
    let upload = upload.prop_map(|((key, filename, content_type), size_bytes, sha256, etag)| Input::Upload {
        key,
        filename,
        content_type,
        size_bytes,
        sha256,
        etag,
    });
    let drop = (text(), text(), etag(), any::<u64>(), option::of(text()), time());
    let drop = drop.prop_map(|(key, path, etag, size_bytes, content_type, last_modified)| Input::Drop {
        key,
        path,
        etag,
        size_bytes,
        content_type,
        last_modified,
    });
    prop_oneof![raw().prop_map(Input::Inline), upload, drop]
}

fn ticket() -> impl Strategy<Value = Ticket> {
    let tenant = "[!-~]{1,128}".prop_map(|text| text.parse::<Tenant>().expect("printable"));
    let version = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}".prop_map(|text| text.parse::<Version>().expect("a version"));
    let limits = any::<[u64; 2]>().prop_map(|[max_input_bytes, max_seconds]| Limits { max_input_bytes, max_seconds });
    let whose = (job(), tenant, text(), option::of(version), option::of(digest()));
    let what = (raw(), input(), limits, option::of(job()), option::of(digest()), option::of(trace()));
    let when = (time(), option::of(time()), time(), time());
    (whose, what, when).prop_map(|(whose, what, when)| {
        let (job, tenant, model, version, model_digest) = whose;
        let (params, input, limits, retry_of, request_digest, trace) = what;
        let (created_at, upload_deadline, queue_deadline, retained_until) = when;
        Ticket {
            v: V1,
            job,
            tenant,
            model,
            version,
            model_digest,
            params,
            input,
            limits,
            created_at,
            upload_deadline,
            queue_deadline,
            retained_until,
            retry_of,
            request_digest,
            trace,
        }
    })
}

fn problem() -> impl Strategy<Value = Problem> {
    (proptest::sample::select(Code::ALL), text(), text(), any::<bool>())
        .prop_map(|(code, title, detail, retryable)| Problem { code, title, detail, retryable })
}

fn progress() -> impl Strategy<Value = Progress> {
    let all = (attempt(), [time(), time()], any::<(u64, Option<u64>, u32)>(), option::of(problem()));
    all.prop_map(|(attempt, [started_at, beat_at], (done, total, failures), last_error)| Progress {
        v: V1,
        attempt,
        started_at,
        beat_at,
        done,
        total,
        failures,
        last_error,
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let object = (text(), any::<u64>(), digest(), text(), text());
    let object = object.prop_map(|(key, size_bytes, sha256, content_type, extension)| StoredResult::Object {
        key,
        size_bytes,
        sha256,
        content_type,
        extension,
    });
    let result = prop_oneof![raw().prop_map(StoredResult::Inline), object];
    let ending = prop_oneof![
        result.prop_map(|result| Ending::Succeeded { result }),
        problem().prop_map(|error| Ending::Failed { error }),
        Just(Ending::Cancelled),
        problem().prop_map(|error| Ending::Expired { error }),
    ];
    let all = (job(), attempt(), time(), option::of(time()), option::of(0.0..1e9_f64), ending);
    all.prop_map(|(job, writer, at, started_at, infer_ms, ending)| Outcome {
        job,
        writer,
        at,
        started_at,
        infer_ms,
        ending,
    })
}

/// The document from its JSON, and both as `Debug` shows them: every field, texts quoted, numbers to the last digit.
fn again<T: Serialize + DeserializeOwned + std::fmt::Debug>(document: &T) -> (String, String) {
    let json = serde_json::to_vec(document).expect("it is written");
    let again: T = serde_json::from_slice(&json).expect("it is read");
    (format!("{again:?}"), format!("{document:?}"))
}

proptest! {
    #[test]
    fn a_ticket_survives(ticket in ticket()) {
        let (again, ticket) = again(&ticket);
        prop_assert_eq!(again, ticket);
    }

    #[test]
    fn progress_survives(progress in progress()) {
        let (again, progress) = again(&progress);
        prop_assert_eq!(again, progress);
    }

    #[test]
    fn an_outcome_survives(outcome in outcome()) {
        let (again, outcome) = again(&outcome);
        prop_assert_eq!(again, outcome);
    }

    #[test]
    fn our_message_for_a_dropped_file_survives(
        bucket in text(), key in text(), etag in option::of(etag()), size_bytes: Option<u64>
    ) {
        let object = ObjectVersion { bucket, key, etag, size_bytes };
        let body = Message::new(Order::Dropped(object.clone())).to_body();
        prop_assert_eq!(decode(&body).expect("our own"), vec![Work::Dropped(object)]);
    }
}
