//! What an operator sees: the events that are counted, and the log lines.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use job::envelope::ObjectVersion;
use job::{Code, Input, Ticket, TraceParent, Work};
use serde_json::value::RawValue;
use worker::observer::UNKNOWN_MODEL;
use worker::{Ended, Event, Observer, Processor, SweepReport, Verdict};

use crate::bench::{Bench, first, put};
use crate::log::Log;

/// Writes events down, but for the times, which are looked at by themselves.
#[derive(Debug, Default)]
struct Notes {
    events: Mutex<Vec<String>>,
    waited: Mutex<Vec<Option<Duration>>>,
}

impl Observer for Notes {
    fn observe(&self, event: &Event<'_>) {
        let note = match event {
            Event::Message(verdict) => format!("message {}", format!("{verdict:?}").split('(').next().unwrap()),
            Event::Begun { model } => format!("begun {model}"),
            Event::Over { model } => format!("over {model}"),
            Event::Failed { model, code } => format!("failed {model} {code}"),
            Event::Ended(Ended { model, state, code, waited, .. }) => {
                self.waited.lock().unwrap().push(*waited);
                format!("ended {model} {state} {}", code.map_or("-", Code::as_str))
            }
            Event::Loaded { model, .. } => format!("loaded {model}"),
            Event::GivenUp => "given up".to_owned(),
            Event::Swept(SweepReport { expired, silent, dropped, .. }) => format!("swept {expired} {silent} {dropped}"),
        };
        self.events.lock().unwrap().push(note);
    }
}

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

fn observed(bench: &Bench) -> (Processor, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let processor = Arc::into_inner(bench.processor()).expect("nobody else has it").observed_by(notes.clone());
    (processor, notes)
}

fn work_of(ticket: &Ticket) -> Work {
    Work::Run { job: ticket.job, etag: None, bucket: None, trace: ticket.trace }
}

#[tokio::test(start_paused = true)]
async fn attempts_and_endings_are_counted() {
    let bench = Bench::new().await;
    let (processor, notes) = observed(&bench);
    let good = bench.inline(1, "[1]").await;
    tokio::time::advance(Duration::from_secs(7)).await;
    processor.process(&work_of(&good), &first()).await;
    assert_eq!(notes.take(), ["begun m", "loaded m", "ended m succeeded -", "over m"]);
    assert_eq!(*notes.waited.lock().unwrap(), [Some(Duration::from_secs(7))]);
    // Found ended: nothing is counted twice.
    processor.process(&work_of(&good), &first()).await;
    assert_eq!(notes.take(), Vec::<String>::new());

    let bad = bench.inline(2, r#""panic""#).await;
    for _ in 0..2 {
        processor.process(&work_of(&bad), &first()).await;
        assert_eq!(notes.take(), ["begun m", "failed m model_panicked", "over m"]);
    }
    processor.process(&work_of(&bad), &first()).await;
    assert_eq!(notes.take(), ["begun m", "ended m failed model_panicked", "over m"]);
    // It had waited on purpose.
    assert_eq!(notes.waited.lock().unwrap().last(), Some(&None));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_broken_off_is_over() {
    let bench = Bench::new().await;
    let (processor, notes) = observed(&bench);
    let slow = bench.inline(1, r#"{"do":"hang"}"#).await;
    let broken_off = tokio::time::timeout(Duration::from_secs(3), processor.process(&work_of(&slow), &first())).await;
    assert!(broken_off.is_err());
    assert_eq!(notes.take(), ["begun m", "loaded m", "over m"]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_there_is_not_has_no_name() {
    let bench = Bench::new().await;
    let (processor, notes) = observed(&bench);
    put(&*bench.inbox, "drop/whatever/a.json", "[1]").await;
    let file =
        ObjectVersion { bucket: "inbox".into(), key: "drop/whatever/a.json".into(), etag: None, size_bytes: None };
    processor.process(&Work::Dropped(file), &first()).await;
    let (begun, ended) = (format!("begun {UNKNOWN_MODEL}"), format!("ended {UNKNOWN_MODEL} failed unknown_model"));
    assert_eq!(notes.take(), [begun, ended, format!("over {UNKNOWN_MODEL}")]);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_and_sweeps_are_counted() {
    let bench = Bench::new().await;
    let notes = Arc::new(Notes::default());
    let ticket = bench.inline(1, "[1]").await;
    let letter = worker::BatchMessage {
        id: "a".into(),
        receipt: None,
        body: job::Message::new(job::envelope::Order::Run { job: ticket.job, etag: None, trace: None }).to_body(),
        receive_count: 11,
        sent_at: None,
    };
    let handler = bench.dead_letters().observed_by(notes.clone());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    assert!(handler.handle_batch(&[letter], deadline).await.is_empty());
    assert_eq!(notes.take(), ["given up", "ended m failed worker_lost"]);

    bench.inline(2, "[1]").await;
    tokio::time::advance(Duration::from_secs(86_401)).await;
    bench.sweep().observed_by(notes.clone()).sweep_once().await;
    assert_eq!(notes.take(), ["ended m expired queue_expired", "swept 1 0 0"]);
}

#[tokio::test(start_paused = true)]
async fn messages_are_counted_by_their_verdicts() {
    let bench = Bench::new().await;
    let (processor, notes) = observed(&bench);
    let letter = |body: &str| worker::BatchMessage {
        id: "a".into(),
        receipt: None,
        body: body.into(),
        receive_count: 1,
        sent_at: None,
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
    worker::handle_batch(&processor, &[letter("no job"), letter(r#"{"Event":"s3:TestEvent"}"#)], deadline).await;
    assert_eq!(notes.take(), ["message Reject", "message Done"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_one_line_that_says_whose_it_is() {
    let bench = Bench::new().await;
    let (processor, _) = observed(&bench);
    let (log, _guard) = Log::start();
    let traced = async |number: u8, input: &str, params: &str| {
        let input = Input::Inline(RawValue::from_string(input.into()).unwrap());
        let params = RawValue::from_string(params.into()).unwrap();
        let trace = Some(TraceParent::from_random([number; 24]));
        let job = job::JobId::from_random([number + 100; 16]);
        let ticket = Ticket { job, trace, params, ..bench.ticket(number, input).await };
        bench.ledger.accept(&ticket).await.unwrap();
        ticket
    };
    let cases = [
        (traced(1, r#""panic""#, "{}").await, "model_panicked", "the model panicked"),
        (
            traced(2, "[1]", r#"{"all":"a client's text"}"#).await,
            "invalid_params",
            "the parameters do not fit the model",
        ),
    ];
    for (ticket, code, said) in cases {
        // The message knows the trace, or only the ticket does.
        for work in [work_of(&ticket), Work::Run { job: ticket.job, etag: None, bucket: None, trace: None }] {
            processor.process(&work, &first()).await;
            let lines = log.take();
            // The second time, what was permanent has its outcome.
            let [line] = &lines[..] else {
                assert!(lines.is_empty() && code == "invalid_params", "{lines:?}");
                continue;
            };
            assert_eq!((line["code"].as_str(), line["message"].as_str()), (Some(code), Some(said)), "{line}");
            assert_eq!(line["span"]["job"], ticket.job.to_string(), "{line}");
            assert_eq!(line["span"]["trace_id"], ticket.trace.unwrap().trace_id().to_string(), "{line}");
            assert_eq!(line["span"]["attempt"].as_str().map(str::len), Some(16), "{line}");
            assert!(!line.to_string().contains("a client's text"), "{line}");
        }
    }

    // What has no ticket has no attempt, but a job and a trace.
    let trace = TraceParent::from_random([9; 24]);
    let job = job::JobId::from_random([9; 16]);
    let work = Work::Run { job, etag: None, bucket: None, trace: Some(trace) };
    assert_eq!(processor.process(&work, &first()).await, Verdict::Reject);
    let lines = log.take();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["span"]["job"], job.to_string());
    assert_eq!(line["span"]["trace_id"], trace.trace_id().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_given_up_is_one_line_without_its_text() {
    let bench = Bench::new().await;
    let (log, _guard) = Log::start();
    let letter = worker::BatchMessage {
        id: "the-message".into(),
        receipt: None,
        body: r#"{"millpond":1,"run":{"job":"a client's text"}}"#.into(),
        receive_count: 11,
        sent_at: None,
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    assert!(bench.dead_letters().handle_batch(&[letter], deadline).await.is_empty());
    let lines = log.take();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    // The template's alarm counts these words.
    assert!(line["message"].as_str().unwrap().starts_with("message given up"), "{line}");
    assert_eq!(line["span"]["message_id"], "the-message");
    assert!(!line.to_string().contains("a client's text"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_preloaded_model_is_not_loaded_again() {
    let bench = Bench::new().await;
    let (processor, notes) = observed(&bench);
    assert!(processor.preload(&"m".parse().unwrap()).await);
    assert_eq!(notes.take(), ["loaded m"]);
    let job = bench.inline(1, "[1]").await;
    processor.process(&work_of(&job), &first()).await;
    assert_eq!(notes.take(), ["begun m", "ended m succeeded -", "over m"]);

    assert!(!processor.preload(&"absent".parse().unwrap()).await);
    put(&*bench.models, "m/1/model.ubj", "damaged").await;
    assert!(!observed(&bench).0.preload(&"m".parse().unwrap()).await);
}
