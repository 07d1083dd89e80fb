//! The layout that ARCHITECTURE.md draws, held by tests: dependencies point one way, and what it names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Each crate and the crates of ours that it may depend on. The binaries assemble, so they may use any.
const ALLOWED: &[(&str, &[&str])] = &[
    ("job", &[]),
    ("bundle", &[]),
    ("infer", &["bundle"]),
    ("cloud", &["job"]),
    ("cloud-aws", &["cloud", "job"]),
    ("local-cloud", &["cloud"]),
    ("ledger", &["cloud", "job"]),
    ("registry", &["bundle", "cloud", "job"]),
    ("keys", &["cloud", "job"]),
    ("api", &["bundle", "cloud", "job", "keys", "ledger", "registry"]),
    ("worker", &["bundle", "cloud", "infer", "job", "ledger", "registry"]),
    ("telemetry", &["cloud", "job", "worker"]),
    // For developers. Over a cloud in memory, so neither Amazon's nor the local one.
    ("sim", &["api", "bundle", "cloud", "infer", "job", "ledger", "registry", "worker"]),
];
const BINARIES: &[&str] = &["lambda", "millpond"];

struct Workspace {
    ours: BTreeSet<String>,
    /// Name to the names that its manifest has, with the kind (`normal`, `dev`, `build`).
    manifest: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Package id to the ids of its normal dependencies, as resolved.
    resolved: BTreeMap<String, BTreeSet<String>>,
    names: BTreeMap<String, String>,
}

impl Workspace {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();

        let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let (mut ours, mut manifest, mut names) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for package in list(&metadata["packages"]) {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            names.insert(id.clone(), name.clone());
            if members.contains(&id) {
                ours.insert(name.clone());
                let dependencies = list(&package["dependencies"])
                    .iter()
                    .map(|d| (text(&d["name"]), d["kind"].as_str().unwrap_or("normal").to_owned()))
                    .collect();
                manifest.insert(name, dependencies);
            }
        }
        let resolved = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let normal = list(&node["deps"])
                    .iter()
                    .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
                    .map(|dep| text(&dep["pkg"]))
                    .collect();
                (text(&node["id"]), normal)
            })
            .collect();
        Self { ours, manifest, resolved, names }
    }

    /// The names of everything that `name` pulls in.
    fn closure(&self, name: &str) -> BTreeSet<&str> {
        let id = self.names.iter().find(|(_, other)| *other == name).expect("a crate of that name").0;
        let mut open = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(&self.resolved[id]);
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

#[test]
fn crates_depend_only_in_the_drawn_direction() {
    let workspace = Workspace::read();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (name, dependencies) in &workspace.manifest {
        if BINARIES.contains(&name.as_str()) {
            continue;
        }
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("crate {name} is not in the drawn layout"));
        for (dependency, kind) in dependencies {
            let drawn = kind == "dev" || !workspace.ours.contains(dependency) || allowed.contains(&dependency.as_str());
            assert!(drawn, "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn pure_crates_know_neither_tokio_nor_aws() {
    let workspace = Workspace::read();
    for name in ["job", "bundle", "infer"] {
        for dependency in workspace.closure(name) {
            let forbidden = dependency == "tokio" || dependency.starts_with("aws");
            assert!(!forbidden, "{name} pulls in {dependency}");
        }
    }
}

#[test]
fn only_cloud_aws_names_the_sdk() {
    for (name, dependencies) in Workspace::read().manifest {
        for (dependency, _) in dependencies {
            assert!(name == "cloud-aws" || !dependency.starts_with("aws-sdk-"), "{name} names {dependency}");
        }
    }
}

#[test]
fn the_api_carries_no_engine() {
    let workspace = Workspace::read();
    let closure = workspace.closure("api");
    assert!(!closure.contains("infer") && !closure.contains("worker"));
}

/// Everything that the map names as `crate::name` is a function or a module of that crate.
#[test]
fn the_map_names_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map");
    let mut named = 0;
    for word in map.split('`').skip(1).step_by(2) {
        let Some((module, function)) = word.split_once("::") else { continue };
        let source = root.join("crates").join(module.replace('_', "-")).join("src");
        if !source.is_dir() {
            continue;
        }
        let module_file = source.join(format!("{function}.rs"));
        assert!(module_file.is_file() || defines(&source, &format!("fn {function}(")), "`{word}` is not there");
        named += 1;
    }
    assert!(named > 20, "{named} are named");
}

fn defines(folder: &Path, definition: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return defines(&path, definition);
        }
        path.extension().is_some_and(|end| end == "rs")
            && std::fs::read_to_string(&path).expect("a source file").contains(definition)
    })
}
