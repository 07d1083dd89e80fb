use std::time::Duration;

use cloud::ObjectStore;
use job::{Input, Ticket, Work};
use worker::Verdict;

use crate::bench::{Bench, MANIFEST, answer, code, first, put};

#[tokio::test(start_paused = true)]
async fn an_upload_is_run_by_its_event() {
    let bench = Bench::new().await;
    let running = bench.start();
    let (job, key) = bench.awaiting(1, "[1]").await;
    put(&*bench.inbox, &key, "[1]").await;
    assert_eq!(answer(&bench.ended(job).await), "[1]");
    running.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_upload_must_be_what_was_announced() {
    let cases = [("[1]", "[10]", "size_mismatch"), ("[1]", "[2]", "digest_mismatch"), ("", "", "empty_input")];
    for (announced, uploaded, expected) in cases {
        let bench = Bench::new().await;
        let (job, key) = bench.awaiting(1, announced).await;
        put(&*bench.inbox, &key, uploaded).await;
        assert_eq!(bench.run_once(job, None).await, Verdict::Done);
        assert_eq!(code(&bench.ended(job).await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn another_version_is_input_replaced_and_none_is_input_gone() {
    let bench = Bench::new().await;
    let (job, key) = bench.awaiting(1, "[1]").await;
    let etag = put(&*bench.inbox, &key, "[1]").await;
    put(&*bench.inbox, &key, "[2]").await;
    assert_eq!(bench.run_once(job, Some(etag.clone())).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "input_replaced");

    let (job, key) = bench.awaiting(2, "[1]").await;
    put(&*bench.inbox, &key, "[1]").await;
    bench.inbox.delete(&key).await.unwrap();
    assert_eq!(bench.run_once(job, Some(etag)).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "input_gone");
}

#[tokio::test(start_paused = true)]
async fn a_retry_runs_on_the_first_job_s_version() {
    let bench = Bench::new().await;
    let etag = put(&*bench.inbox, "uploads/x/f.json", "[1]").await;
    let input = Input::Upload {
        key: "uploads/x/f.json".into(),
        filename: "f.json".into(),
        content_type: "application/json".into(),
        size_bytes: 3,
        sha256: None,
        etag: Some(etag),
    };
    let job = bench.ticket(1, input).await.job;
    put(&*bench.inbox, "uploads/x/f.json", "[2]").await;
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "input_replaced");
}

#[tokio::test(start_paused = true)]
async fn a_message_before_the_upload_is_acknowledged_and_changes_nothing() {
    let bench = Bench::new().await;
    let (job, _) = bench.awaiting(1, "[1]").await;
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert!(bench.ledger.outcome(job).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_names_no_job_of_ours_is_rejected() {
    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    assert_eq!(bench.run_once(job::JobId::from_random([9; 16]), None).await, Verdict::Reject);
    let foreign = Work::Run { job, etag: None, bucket: Some("elsewhere".into()), trace: None };
    assert_eq!(bench.processor().process(&foreign, &first()).await, Verdict::Reject);
}

#[tokio::test(start_paused = true)]
async fn past_its_retention_a_job_is_acknowledged_unrun() {
    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    tokio::time::advance(Duration::from_secs(31 * 86_400)).await;
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!(bench.pool.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_changed_or_removed_version_is_withdrawn() {
    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    put(&*bench.models, "m/1/model.toml", &MANIFEST.replace("A model", "Another")).await;
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "model_withdrawn");

    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    bench.models.delete("m/1/model.toml").await.unwrap();
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "model_withdrawn");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_bundle_fails_its_jobs_and_parameters_are_checked() {
    let bench = Bench::new().await;
    let job = bench.inline(1, "1").await.job;
    put(&*bench.models, "m/1/model.ubj", "changed").await;
    assert_eq!(bench.run_once(job, None).await, Verdict::Done);
    assert_eq!(code(&bench.ended(job).await), "model_broken");

    let bench = Bench::new().await;
    let ticket = bench.inline(1, "1").await;
    let params = serde_json::value::RawValue::from_string(r#"{"nope":1}"#.into()).unwrap();
    let ticket = Ticket { job: job::JobId::from_random([2; 16]), params, ..ticket };
    bench.ledger.accept(&ticket).await.unwrap();
    assert_eq!(bench.run_once(ticket.job, None).await, Verdict::Done);
    assert_eq!(code(&bench.ended(ticket.job).await), "invalid_params");
}

#[tokio::test(start_paused = true)]
async fn a_model_is_loaded_once_for_many_jobs() {
    let bench = Bench::new().await;
    let running = bench.start();
    let mut jobs = Vec::new();
    for number in 0..20 {
        jobs.push(bench.submit(number, "1").await);
    }
    for job in jobs {
        assert_eq!(code(&bench.ended(job).await), "succeeded");
    }
    running.stop().await.unwrap();
    assert_eq!(bench.pool.loads.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_model_in_use_is_not_dropped_and_jobs_run_on_the_version_they_were_accepted_with() {
    let mut bench = Bench::new().await;
    bench.settings.model_memory_bytes = 1;
    let old = bench.inline(1, r#"{"do": "sleep", "ms": 3000}"#).await.job;
    let again = bench.inline(2, "1").await;
    tokio::time::advance(Duration::from_secs(10)).await;
    put(&*bench.models, "m/2/model.toml", &MANIFEST.replace("version = \"1\"", "version = \"2\"")).await;
    put(&*bench.models, "m/2/model.ubj", "").await;
    let new = bench.inline(3, "1").await;
    assert_eq!(again.version.unwrap().as_str(), "1");
    assert_eq!(new.version.unwrap().as_str(), "2");
    let processor = bench.processor();
    let run = async |job| {
        let work = Work::Run { job, etag: None, bucket: None, trace: None };
        assert_eq!(processor.process(&work, &first()).await, Verdict::Done);
    };
    let loads = || bench.pool.loads.load(std::sync::atomic::Ordering::Relaxed);
    tokio::join!(run(old), async {
        bench.begun(1).await;
        run(new.job).await;
        // The old version is still running, so it is still there.
        run(again.job).await;
        assert_eq!((bench.pool.runs(), loads()), (3, 2));
    });
    for job in [old, again.job, new.job] {
        assert_eq!(code(&bench.ended(job).await), "succeeded");
    }
    // Nobody runs it now, so that it makes room for the other one.
    let last = [bench.inline(4, "1").await.job, bench.inline(5, "1").await.job];
    run(last[0]).await;
    run(last[1]).await;
    assert_eq!(loads(), 2 + 1, "the newer version was dropped for the older one, and loaded again once");
}

#[tokio::test(start_paused = true)]
async fn models_beyond_the_memory_cap_are_dropped_the_longest_unused_first() {
    let mut bench = Bench::new().await;
    bench.settings.model_memory_bytes = 1;
    let old = [bench.inline(1, "1").await.job, bench.inline(2, "1").await.job];
    tokio::time::advance(Duration::from_secs(10)).await;
    put(&*bench.models, "m/2/model.toml", &MANIFEST.replace("version = \"1\"", "version = \"2\"")).await;
    put(&*bench.models, "m/2/model.ubj", "").await;
    let new = bench.inline(3, "1").await.job;
    let processor = bench.processor();
    for job in [old[0], new, old[1]] {
        let work = Work::Run { job, etag: None, bucket: None, trace: None };
        assert_eq!(processor.process(&work, &first()).await, Verdict::Done);
        assert_eq!(code(&bench.ended(job).await), "succeeded");
    }
    assert_eq!(bench.pool.loads.load(std::sync::atomic::Ordering::Relaxed), 3);
}
