//! The same systems as Python handlers, as they are commonly written. They run the loop of AWS's Python runtime, and neither boto3
//! nor a client is in them, which a real one has to load as well.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::failure;

struct Handler {
    model: &'static str,
    file: &'static str,
    source: &'static str,
    /// What it imports, as for `import`.
    modules: &'static str,
}

const RUNTIME: &str = include_str!("python/runtime.py");
const HANDLERS: [Handler; 5] = [
    Handler {
        model: "wine-quality",
        file: "wine_quality.py",
        source: include_str!("python/wine_quality.py"),
        modules: "pandas, xgboost",
    },
    Handler { model: "moons", file: "moons.py", source: include_str!("python/moons.py"), modules: "pandas, sklearn" },
    Handler {
        model: "names",
        file: "names.py",
        source: include_str!("python/names.py"),
        modules: "safetensors, torch",
    },
    Handler {
        model: "reviews",
        file: "reviews.py",
        source: include_str!("python/reviews.py"),
        modules: "numpy, onnxruntime, tokenizers",
    },
    Handler {
        model: "line-art",
        file: "line_art.py",
        source: include_str!("python/line_art.py"),
        modules: "numpy, onnxruntime, PIL",
    },
];

/// A Python, and a folder with the handlers in it.
pub struct Python {
    program: PathBuf,
    folder: PathBuf,
    found: Vec<&'static Handler>,
    /// The models whose handlers can't run, and what they lack.
    pub missing: Vec<(&'static str, &'static str)>,
}

impl Python {
    pub fn prepare(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        std::fs::write(folder.join("runtime.py"), RUNTIME)?;
        let mut python =
            Self { program: program.to_owned(), folder: folder.to_owned(), found: Vec::new(), missing: Vec::new() };
        for handler in &HANDLERS {
            std::fs::write(folder.join(handler.file), handler.source)?;
            let mut import = Command::new(program);
            import.arg("-c").arg(format!("import {}", handler.modules)).stdin(Stdio::null()).stderr(Stdio::null());
            if import.status().with_context(|| format!("cannot run {}", program.display()))?.success() {
                python.found.push(handler);
            } else {
                python.missing.push((handler.model, handler.modules));
            }
        }
        if python.found.iter().any(|handler| handler.model == "moons") {
            let mut train = Command::new(program);
            let output = train.arg(folder.join("moons.py")).arg("train").stdin(Stdio::null()).output()?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                let hint = "it takes scikit-learn as models/train/requirements.txt has it";
                return Err(failure::hint(format!("moons.py does not train:\n{}", text.trim_end()), hint).into());
            }
        }
        Ok(python)
    }

    /// What starts a model's handler, if there is one that can run.
    pub fn command(&self, model: &str, models: &Path) -> Option<Command> {
        let handler = self.found.iter().find(|handler| handler.model == model)?;
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/bin:/bin").arg(self.folder.join(handler.file)).arg(models);
        Some(command)
    }
}
