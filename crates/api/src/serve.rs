//! The local server. (On Lambda, `lambda_http` takes the router itself.)

use std::io;

use tokio::net::TcpListener;

use crate::{Api, router};

/// Serves until `shutdown` is over; then long polls are answered at once, and whatever else is under way is finished.
pub async fn serve(
    api: Api,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = api.stopping.clone();
    let stop = async move {
        shutdown.await;
        stopping.cancel();
    };
    axum::serve(listener, router(api)).with_graceful_shutdown(stop).await
}
