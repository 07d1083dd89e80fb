//! `docs/deploy.md`, which leads from a clone to answers on AWS: its commands as they stand there, in order, in one shell's state.
//!
//! Every block is run, but for those of `NOT_RUN`. So a new command that cannot run fails here until it is dealt with there.

#[path = "deploy/document.rs"]
mod document;
#[path = "deploy/stand_ins.rs"]
mod stand_ins;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use document::{Block, blocks, is_seen, template_names, text, words_after};
use stand_ins::{MODELS_BUCKET, StandIns, Tools};
use support::{PATIENCE, bare, log_of, root, skipped};

/// What is done with a block that is not run as it stands.
#[derive(Clone, Copy)]
enum Instead {
    /// Nothing, for this reason; what can be compared is, in tests of its own.
    Skip(&'static str),
    /// What `make` would run is run, with this test's binary where cargo would build one.
    Recipe,
    /// The AWS CLI checks the arguments and makes up an answer, since moto does not know the call.
    Spelling,
    /// `sam deploy` needs AWS. `make` must be able to expand it, and from there on the API is the one with keys, if it asks for it.
    Deployment,
}

/// By what they begin with.
const NOT_RUN: &[(&str, Instead)] = &[
    ("python3 -m venv", Instead::Skip("tests/install-clients installs the same versions, which are compared")),
    ("cargo build --release", Instead::Skip("cargo has built this test's binary from the same package")),
    ("unset AWS_ACCESS_KEY_ID", Instead::Skip("version 1 of the AWS CLI, which CI has, cannot export credentials")),
    ("aws lambda get-account-settings", Instead::Spelling),
    ("make -C infra deploy", Instead::Deployment),
    ("make -C infra push", Instead::Recipe),
    ("git pull", Instead::Skip("it would change what is tested")),
];

/// What may stand in the later lines of a block that is skipped, so that no other command hides there.
const SKIPPED_TOO: &[&str] = &[
    "~/.millpond-tools/bin/pip install ",
    "export PATH=",
    "rustup target add ",
    "eval \"$(aws configure export-credentials ",
    "cargo build --release --locked",
];

fn instead(block: &Block) -> Option<Instead> {
    let (_, instead) = NOT_RUN.iter().find(|(start, _)| block.commands.starts_with(start))?;
    let others = block.commands.lines().skip(1);
    let known =
        |line: &str| matches!(instead, Instead::Skip(_)) && SKIPPED_TOO.iter().any(|start| line.starts_with(start));
    let unchecked: Vec<&str> = others.filter(|line| !known(line)).collect();
    assert!(unchecked.is_empty(), "these belong into a block that is run: {unchecked:?}");
    Some(*instead)
}

/// Where the reader is: a clone, and a shell whose variables and functions go from block to block.
struct Reader {
    clone: PathBuf,
    state: PathBuf,
    path: std::ffi::OsString,
    variables: Vec<(&'static str, String)>,
}

impl Reader {
    fn new(folder: &Path, tools: &Tools, variables: Vec<(&'static str, String)>) -> Self {
        let (clone, state) = (folder.join("clone"), folder.join("state.sh"));
        std::fs::create_dir(&clone).unwrap();
        for part in ["models", "samples", "infra"] {
            assert!(Command::new("cp").arg("-r").arg(root().join(part)).arg(&clone).status().unwrap().success());
        }
        std::fs::write(&state, "").unwrap();
        let millpond = Path::new(env!("CARGO_BIN_EXE_millpond")).parent().unwrap().to_owned();
        let folders = std::iter::once(millpond).chain(tools.folders.iter().cloned());
        let inherited = std::env::var_os("PATH").unwrap();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&inherited))).unwrap();
        Self { clone, state, path, variables }
    }

    /// Runs commands in the state that those before left; what they printed. They must all end well.
    fn run(&self, commands: &str) -> String {
        // A question is answered with the stack's name.
        let script = format!(
            "export PATH=$READER_PATH; cd \"$CLONE\"; . \"$STATE\"; set -eo pipefail; set -a\n\
             {{\n{commands}\n}} < <(echo millpond)\n\
             {{ declare -px; declare -f; }} > \"$STATE\"\n"
        );
        let mut command = bare("bash");
        command.args(["-c", &script]).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("READER_PATH", &self.path).env("CLONE", &self.clone).env("STATE", &self.state);
        command.env("NO_PROXY", "127.0.0.1");
        // The home is another one; rustup's programs look for their toolchain below it.
        for (variable, folder) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
            let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(folder).into_os_string());
            command.envs(std::env::var_os(variable).or(home).map(|folder| (variable, folder)));
        }
        log_of(&mut command, PATIENCE)
    }

    /// What `make` would run.
    fn expanded(&self, make: &str) -> String {
        self.run(&make.replacen("make ", "make --no-print-directory -n ", 1))
    }
}

/// Past cargo's capture, since a test that passes otherwise shows nothing of what it did.
fn say(what: &str, block: &Block) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "docs/deploy.md: {what}: {}", block.commands.lines().next().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_leads_from_a_clone_to_answers() {
    let blocks = blocks();
    for (start, _) in NOT_RUN {
        assert!(blocks.iter().any(|block| block.commands.starts_with(start)), "no block begins with {start:?}");
    }
    let Some(tools) = Tools::installed() else { return };
    let folder = tempfile::tempdir().unwrap();
    let stand_ins = StandIns::start(&tools, folder.path()).await;
    let reader = Reader::new(folder.path(), &tools, stand_ins.variables());
    // What a first deployment has in its zip.
    reader.run(&format!("AWS_REGION=us-east-1 millpond models push --to s3://{MODELS_BUCKET}/models"));

    for block in &blocks {
        let commands = &block.commands;
        let printed = match instead(block) {
            None => {
                say("ran", block);
                reader.run(commands)
            }
            Some(Instead::Skip(why)) => {
                skipped(&format!("docs/deploy.md: {}: {why}", commands.lines().next().unwrap()));
                continue;
            }
            Some(Instead::Spelling) => {
                say("arguments checked", block);
                reader.run(&format!("{} --generate-cli-skeleton output", commands.trim()))
            }
            Some(Instead::Recipe) => {
                say("recipe ran", block);
                let recipe = reader.expanded(commands).replace("cargo run --release --", "millpond");
                assert!(recipe.contains("millpond "), "{recipe}");
                reader.run(&format!("(cd infra\n{recipe})"))
            }
            Some(Instead::Deployment) => {
                say("expanded, not run", block);
                if commands.contains("HttpApiAuthorization=API_KEYS") {
                    let api = &stand_ins.api_with_keys;
                    reader.run(&format!("export API={api} MILLPOND_ENDPOINT={api}"));
                }
                reader.expanded(commands)
            }
        };
        for expected in &block.seen {
            assert!(is_seen(&printed, expected), "{expected:?} is not seen after\n{commands}\n{printed}");
        }
    }

    // What is signed is sent: curl signs an empty header too, and leaves it out.
    for token in ["", "a-token"] {
        let log = reader.run(&format!("AWS_SESSION_TOKEN={token}; signed -v \"$API/models\""));
        let headers = log.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        assert_eq!(headers.contains("x-amz-security-token"), !token.is_empty(), "{log}");
        assert_eq!(log.contains("> x-amz-security-token: a-token"), !token.is_empty(), "{log}");
    }
    let left = stand_ins.aws(&tools, &["cloudformation", "list-stacks", "--query", "StackSummaries[].StackStatus"]);
    assert!(left.contains("DELETE_COMPLETE") && !left.contains("CREATE_COMPLETE"), "{left}");
    for bucket in [stand_ins.up.text("inbox"), stand_ins.up.text("outbox"), MODELS_BUCKET] {
        let objects = stand_ins.aws(&tools, &["s3", "ls", "--recursive", &format!("s3://{bucket}")]);
        assert_eq!(objects, "", "teardown empties {bucket}");
    }
}

/// `make` expands each target that the documents name, with the parameters that stand there.
#[test]
fn targets_and_parameters_exist() {
    if Command::new("make").arg("--version").output().is_err() {
        skipped("`make` is not installed");
        return;
    }
    let parameters = template_names("Parameters");
    let mut found = 0;
    for path in ["docs/deploy.md", "infra/README.md", "README.md"] {
        let document = text(path);
        for target in words_after(&document, "make -C infra ").filter(|target| !target.is_empty()) {
            let mut make = bare("make");
            make.arg("-n").arg("-C").arg(root().join("infra")).args([target, "PARAMS=Models=bucket"]);
            let log = log_of(&mut make, Duration::from_secs(20));
            assert!(!log.contains("Nothing to be done"), "{path}: {log}");
            found += 1;
        }
        for given in document.split("PARAMS=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            for (name, value) in given.split(' ').map(|parameter| parameter.split_once('=').unwrap()) {
                assert!(parameters.iter().any(|parameter| parameter == name), "{path}: no parameter {name}");
                let output = Command::new(env!("CARGO_BIN_EXE_millpond"))
                    .args(["doctor", "--template", "infra/template.yaml", "--parameter", &format!("{name}={value}")])
                    .current_dir(root())
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{path}: {name}={value}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
    assert!(found >= 10, "{found} targets");
}

/// The outputs that are asked for by name, and the parameters and outputs in prose.
#[test]
fn names_are_the_template_s() {
    let names: Vec<String> = ["Parameters", "Outputs"].iter().flat_map(|section| template_names(section)).collect();
    let outputs = template_names("Outputs");
    let document = text("docs/deploy.md");
    for name in words_after(&document, "$(output ") {
        assert!(outputs.iter().any(|output| output == name), "no output {name}");
    }
    // In prose: `WorkerMemory`, `WorkerMemory=3538`.
    let camel = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
            && word.chars().skip(1).any(|c| c.is_ascii_uppercase())
            && word.chars().any(|c| c.is_ascii_lowercase())
    };
    let spans = document.split('`').skip(1).step_by(2).map(|span| span.split('=').next().unwrap());
    let of_aws = ["AccessDenied", "ExpiredToken"];
    for name in spans.filter(camel).filter(|name| !of_aws.contains(name)) {
        assert!(names.iter().any(|known| known == name), "the template has no {name}");
    }
}

/// What the reader installs is what CI has tried.
#[test]
fn versions_are_those_that_ci_installs() {
    let installed = text("tests/install-clients");
    let document = text("docs/deploy.md");
    let install = document.lines().find(|line| line.contains("pip install")).unwrap();
    let pinned: Vec<&str> = install.split_whitespace().filter(|word| word.contains("==")).collect();
    assert_eq!(pinned.len(), 3, "{pinned:?}");
    for package in pinned {
        assert!(installed.split_whitespace().any(|word| word == package), "tests/install-clients has no {package}");
        let version = package.split("==").nth(1).unwrap();
        assert!(document.contains(&format!("| {version} |")), "the table has no {version}");
    }
    let makefile = text("infra/Makefile");
    for target in words_after(&document, "rustup target add ") {
        assert!(makefile.contains(&format!("= {target}\n")), "infra/Makefile does not build for {target}");
    }
    let manifest = text("Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(document.contains(&format!("| {rust} or later, by rustup |")), "Rust {rust}");
}
