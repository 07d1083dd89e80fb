//! The local server. (On Lambda, `lambda_http` takes the router itself.)

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::{Api, router};

/// How long requests under way may still take once the server is to stop: as long as one step against the storage.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is over; then long polls are answered at once, and whatever else is under way has ten seconds.
pub async fn serve(
    api: Api,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopping, stopped) = (api.stopping.clone(), api.stopping.clone());
    let stop = async move {
        shutdown.await;
        stopping.cancel();
    };
    let drained = async move {
        stopped.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = axum::serve(listener, router(api)).with_graceful_shutdown(stop) => served,
        // A client that never ends its request would hold the server up for ever.
        () = drained => Ok(()),
    }
}
