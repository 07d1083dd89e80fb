//! Where the API is and with which key: from flags, the environment or a configuration file, in this order.

use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use crate::env;

const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:8080";

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    endpoint: Option<String>,
    api_key: Option<String>,
}

/// How to reach the API.
#[derive(Clone, clap::Args)]
pub struct ApiArgs {
    /// Where the API is [default: http://127.0.0.1:8080]
    #[arg(long, global = true, env = env::ENDPOINT, value_name = "URL")]
    endpoint: Option<String>,
}

/// The API's address and the key to send.
pub struct ApiConfig {
    /// Without a slash at the end.
    pub endpoint: String,
    /// None for a keyless server.
    pub api_key: Option<String>,
}

impl ApiArgs {
    /// Fills in what the flags leave open.
    pub fn resolve(self) -> anyhow::Result<ApiConfig> {
        let file = read_file()?;
        let endpoint = self.endpoint.or(file.endpoint).unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let api_key = std::env::var(env::API_KEY).ok().filter(|key| !key.is_empty()).or(file.api_key);
        Ok(ApiConfig { endpoint: endpoint.trim_end_matches('/').to_owned(), api_key })
    }
}

fn read_file() -> anyhow::Result<File> {
    let (path, chosen) = match (std::env::var_os(env::CONFIG), std::env::var_os(env::XDG_CONFIG_HOME)) {
        (Some(path), _) => (PathBuf::from(path), true),
        (None, Some(base)) => (PathBuf::from(base).join("millpond/config.toml"), false),
        (None, None) => match std::env::var_os(env::HOME) {
            Some(home) => (PathBuf::from(home).join(".config/millpond/config.toml"), false),
            None => return Ok(File::default()),
        },
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !chosen => return Ok(File::default()),
        Err(error) => return Err(error).with_context(|| format!("cannot read the configuration {}", path.display())),
    };
    toml::from_str(&text).with_context(|| format!("the configuration {} cannot be used", path.display()))
}
