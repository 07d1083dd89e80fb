//! Serves a local cloud until interrupted, and prints its endpoints: for trying other clients against it.
//!
//! `cargo run -p local-cloud --example serve -- DATA_DIR [S3_PORT SQS_PORT]`

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use local_cloud::{Config, LocalCloud, Stack};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Standard output is for the endpoints, and who reads them may read no further.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().context("usage: serve DATA_DIR [S3_PORT SQS_PORT]")?);
    let mut config = Config::new(data_dir, "local", "local-secret");
    for address in [&mut config.s3_listen, &mut config.sqs_listen] {
        if let Some(port) = arguments.next() {
            *address = SocketAddr::from(([127, 0, 0, 1], port.parse().context("a port is a number")?));
        }
    }
    let cloud = LocalCloud::start(config).await?;
    let stack = Stack::default();
    cloud.provision(&stack).await?;
    println!("{} {} {}", cloud.s3_endpoint(), cloud.sqs_endpoint(), cloud.queue_url(&stack.queue));
    tokio::signal::ctrl_c().await?;
    cloud.shutdown().await;
    Ok(())
}
