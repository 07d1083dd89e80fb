//! What the function can be.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use job::ModelName;
use keys::{KeyRing, Store};
use lambda_runtime::tower::layer::layer_fn;
use lambda_runtime::tower::{ServiceBuilder, ServiceExt};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use worker::{DeadLetters, Processor, Sweep};

use crate::events::{BatchAnswer, QueueEvent, deadline};
use crate::{Base, env, principal, settings};

/// How long a `GET /jobs/{id}?wait=N` may wait: here, waiting is billed.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Runs the jobs of the queue's batches.
pub(crate) async fn worker(base: Base) -> anyhow::Result<()> {
    #[cfg(feature = "onnxruntime")]
    if let Some(library) = env::optional(env::ONNX_RUNTIME) {
        worker::use_onnx_runtime(std::path::Path::new(&library))?;
    }
    let settings = settings()?;
    warn_of_limits(&base, settings.parallel).await?;
    let processor = Processor::new(base.ledger.clone(), base.registry.clone(), settings)?;
    let processor = Arc::new(processor.observed_by(base.emf.clone()));
    preload(&processor).await?;
    base.report_ready();
    let handler = service_fn(async |event: LambdaEvent<QueueEvent>| {
        let messages = event.payload.messages();
        let failed = worker::handle_batch(&processor, &messages, deadline(event.context.deadline)).await;
        Ok::<_, Infallible>(BatchAnswer::of(failed))
    });
    // Layers are run through after the answer was sent, and only then may the process end.
    let wedged = processor.wedged();
    let exit_if_wedged = layer_fn(|service| {
        ServiceExt::map_response(service, move |()| {
            if wedged.is_cancelled() {
                tracing::error!("a model does not stop; the process ends, and Lambda starts another");
                std::process::exit(1);
            }
        })
    });
    Runtime::new(handler).layer(exit_if_wedged).run().await.map_err(anyhow::Error::from_boxed)
}

/// Loads the default models, all at once since each waits for the registry. A model that can't be loaded has said so in the log,
/// and the others' jobs run.
async fn preload(processor: &Arc<Processor>) -> anyhow::Result<()> {
    let Some(names) = env::optional(env::PRELOAD) else { return Ok(()) };
    let mut loading = JoinSet::new();
    for name in names.split(',').map(str::trim) {
        let name: ModelName = name
            .parse()
            .with_context(|| format!("{} must hold names of models, with commas between them", env::PRELOAD))?;
        let processor = processor.clone();
        loading.spawn(async move { processor.preload(&name).await });
    }
    loading.join_all().await;
    Ok(())
}

/// Says which models' limits do not fit the function's timeout. It starts all the same: the other models' jobs do.
async fn warn_of_limits(base: &Base, parallel: usize) -> anyhow::Result<()> {
    let Some(seconds) = env::number(env::FUNCTION_TIMEOUT_SECONDS)? else { return Ok(()) };
    let batch = env::number(env::BATCH_SIZE)?.unwrap_or(10);
    match worker::limits_too_long(&base.registry, batch, parallel, Duration::from_secs(seconds)).await {
        Ok(faults) => faults.iter().for_each(|fault| tracing::warn!("{fault}")),
        Err(error) => tracing::warn!("the models' limits were not checked: {}", error.reason()),
    }
    Ok(())
}

/// Ends the jobs whose messages were given up.
pub(crate) async fn dead_letters(base: Base) -> anyhow::Result<()> {
    let queue = Arc::new(base.aws.queue(env::required(env::DEAD_LETTER_QUEUE_URL)?));
    base.report_ready();
    let handler = DeadLetters::new(base.ledger, base.registry, queue, settings()?).observed_by(base.emf);
    let handler = service_fn(async |event: LambdaEvent<QueueEvent>| {
        let messages = event.payload.messages();
        let failed = handler.handle_batch(&messages, deadline(event.context.deadline)).await;
        Ok::<_, Infallible>(BatchAnswer::of(failed))
    });
    Runtime::new(handler).run().await.map_err(anyhow::Error::from_boxed)
}

/// Sweeps once an event, whatever it says: a schedule sends them.
pub(crate) async fn sweep(base: Base) -> anyhow::Result<()> {
    base.report_ready();
    let sweep = Sweep::new(base.ledger, settings()?).observed_by(base.emf);
    let handler = service_fn(async |_: LambdaEvent<Value>| {
        let report = sweep.sweep_once().await;
        Ok::<_, Infallible>(json!({
            "open": report.open,
            "expired": report.expired,
            "silent": report.silent,
            "dropped": report.dropped,
            "faults": report.faults,
        }))
    });
    Runtime::new(handler).run().await.map_err(anyhow::Error::from_boxed)
}

/// Serves the API behind a function URL or an API Gateway.
pub(crate) async fn api(base: Base) -> anyhow::Result<()> {
    let mut settings = api::Settings { max_wait: MAX_WAIT, ..api::Settings::default() };
    settings.tenant = crate::settings()?.drop_tenant;
    if let Some(place) = env::optional(env::KEYS) {
        let place = place.parse().with_context(|| format!("{} is of no use", env::KEYS))?;
        let store = Store::at(place, |bucket| Arc::new(base.aws.bucket(bucket)));
        settings.access = api::Access::Keys(Arc::new(KeyRing::open_or_wait(store).await?));
    }
    if let Some(origins) = env::optional(env::CORS_ORIGINS).filter(|origins| origins != "*") {
        let origins = origins.split(',').map(|origin| origin.trim().parse());
        let origins: Result<Vec<_>, _> = origins.collect();
        settings.cors_origins =
            api::CorsOrigins::Only(origins.with_context(|| format!("{} has no origins", env::CORS_ORIGINS))?);
    }
    base.report_ready();
    let router = api::router(api::Api::new(base.ledger, base.registry, settings));
    let service = ServiceBuilder::new().map_request(principal::named).service(router);
    lambda_http::run(service).await.map_err(anyhow::Error::from_boxed)
}
