//! The functions of `infra/template.yaml` as AWS runs them: the real `bootstrap` under AWS's own Runtime Interface Emulator, with
//! the variables, timeouts and permissions that the template gives each, and the local cloud behind.

#[path = "lambda/api.rs"]
mod api;
#[path = "lambda/dead_letters.rs"]
mod dead_letters;
#[path = "lambda/emulator.rs"]
mod emulator;
#[path = "lambda/events.rs"]
mod events;
#[path = "lambda/gate.rs"]
mod gate;
#[path = "support/installed.rs"]
mod installed;
#[path = "lambda/linters.rs"]
mod linters;
#[path = "lambda/mapping.rs"]
mod mapping;
#[path = "lambda/numbers.rs"]
mod numbers;
#[path = "lambda/permissions.rs"]
mod permissions;
#[path = "lambda/sweep.rs"]
mod sweep;
#[path = "lambda/template.rs"]
mod template;
#[path = "lambda/worker.rs"]
mod worker;
#[path = "lambda/world.rs"]
mod world;

use std::sync::Arc;

use tokio::task::JoinSet;

use emulator::Tools;
use events::Samples;
use permissions::Record;
use template::Template;
use world::{FUNCTIONS, Setting};

/// All cases at once, each with a stack of its own; and then what the functions called against what they may call.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn functions_do_what_they_may_and_may_what_they_do() {
    let Some(tools) = Tools::installed() else { return };
    let samples = Arc::new(Samples::generate(&tools));
    let setting = Setting { tools, samples, record: Record::default() };
    let mut cases = JoinSet::new();
    cases.spawn(worker::timeout(setting.clone()));
    cases.spawn(worker::killed_at_the_timeout(setting.clone()));
    cases.spawn(mapping::case(setting.clone()));
    cases.spawn(api::http_api_with_keys(setting.clone()));
    cases.spawn(api::signers(setting.clone()));
    cases.spawn(worker::one_job(setting.clone()));
    cases.spawn(worker::batch_with_failures(setting.clone()));
    cases.spawn(worker::envelopes(setting.clone()));
    cases.spawn(worker::no_time_left(setting.clone()));
    cases.spawn(dead_letters::case(setting.clone()));
    cases.spawn(sweep::case(setting.clone()));
    let mut failed = 0;
    while let Some(ended) = cases.join_next().await {
        failed += usize::from(ended.is_err());
    }
    assert_eq!(failed, 0, "cases failed; their panics say where");
    let parameters = [("Models", "bucket"), ("HttpApiAuthorization", "API_KEYS")];
    let template = Template::new(&parameters, "http://sqs");
    assert_eq!(template.resources("AWS::Serverless::Function"), FUNCTIONS);
    permissions::all_are_used(&setting.record, &template, &FUNCTIONS);
}
