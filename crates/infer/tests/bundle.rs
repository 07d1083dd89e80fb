//! Bundles: the committed ones, and those drafted from model files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bundle::{Manifest, Output};
use infer::draft::{Choices, DraftError, GoldenError};
use infer::{Control, RunError, check_goldens, draft, load};
use serde_json::Value;

fn reference(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/3.2.0").join(file)).expect(file)
}

fn choices() -> Choices {
    Choices { name: "m".into(), version: "1".into(), ..Choices::default() }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("column {at}")).collect()
}

/// Drafts with names if the file has none.
fn drafted(file: &str, bytes: &[u8]) -> Manifest {
    match draft(file, bytes, &choices()) {
        Err(DraftError::FeaturesNeeded { count }) => {
            draft(file, bytes, &Choices { features: Some(names(count)), ..choices() }).expect(file)
        }
        other => other.expect(file),
    }
}

fn run(manifest: &Manifest, file: &str, bytes: &[u8], params: &str, input: &str) -> Result<Value, RunError> {
    let model = load(manifest, &HashMap::from([(file.to_owned(), bytes)])).expect("the bundle loads");
    let answer = model.run(input.as_bytes(), &manifest.read_params(params).unwrap(), &Control::default())?;
    assert_eq!(answer.content_type, "application/json");
    Ok(serde_json::from_slice(&answer.body).expect("an answer is JSON"))
}

#[test]
fn committed_bundles_answer_their_goldens() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let manifests: Vec<PathBuf> = std::fs::read_dir(&models)
        .unwrap()
        .flat_map(|model| std::fs::read_dir(model.unwrap().path()).into_iter().flatten())
        .map(|version| version.unwrap().path().join("model.toml"))
        .filter(|path| path.is_file())
        .collect();
    assert!(!manifests.is_empty());
    for path in manifests {
        let manifest = Manifest::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut files = HashMap::new();
        for (file, digest) in &manifest.files {
            let bytes = std::fs::read(path.with_file_name(file)).unwrap();
            assert_eq!(&bundle::digest(&bytes), digest, "{file} of {}", path.display());
            files.insert(file.clone(), bytes);
        }
        assert!(!manifest.goldens.is_empty());
        check_goldens(&manifest, &files).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // A bundle that had other answers would be noticed.
        let mut wrong = manifest.clone();
        let golden = &mut wrong.goldens[0];
        let output = &golden.output;
        golden.output = match wrong.input {
            bundle::manifest::Input::Table(_) => {
                let digit = output.find(|c: char| c.is_ascii_digit()).expect("an answer has a digit");
                let other = if output[digit..].starts_with('9') { "8" } else { "9" };
                format!("{}{other}{}", &output[..digit], &output[digit + 1..])
            }
            bundle::manifest::Input::StartLetters(_) => output.replacen('a', "e", 1),
            bundle::manifest::Input::Texts(_) => output.replacen("itive", "ative", 1),
            bundle::manifest::Input::Tensors(_) => output.replacen("[", "[7,", 1),
            bundle::manifest::Input::Image(_) => {
                golden.output_file = golden.input_file.clone();
                String::new()
            }
        };
        assert!(matches!(check_goldens(&wrong, &files), Err(GoldenError::Differs { number: 1, .. })));
    }
}

#[test]
fn every_reference_model_can_be_added() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/3.2.0");
    let mut added = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        if file == "reference.json" {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let manifest = drafted(&file, &bytes);
        assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest, "{file}");
        check_goldens(&manifest, &HashMap::from([(file.clone(), bytes)])).expect(&file);
        added += 1;
    }
    assert!(added > 20, "{added}");
}

#[test]
fn labels_and_probabilities() {
    for (file, classes) in [("binary.json", 2), ("softprob.json", 0)] {
        let bytes = reference(file);
        let manifest = drafted(file, &bytes);
        let Output::Label { labels } = &manifest.output else { panic!("{file} has labels") };
        assert!(classes == 0 || labels.len() == classes);
        let input = &manifest.goldens[0].input;
        let plain = run(&manifest, file, &bytes, "", input).unwrap();
        assert!(labels.contains(&plain[0]["prediction"].as_str().unwrap().to_owned()), "{plain}");
        assert!(plain[0].get("probabilities").is_none());
        let all = run(&manifest, file, &bytes, r#"{"probabilities":true}"#, input).unwrap();
        let probabilities = all[0]["probabilities"].as_object().unwrap();
        assert_eq!(probabilities.len(), labels.len());
        let sum: f64 = probabilities.values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        let best = probabilities.iter().max_by(|a, b| a.1.as_f64().unwrap().total_cmp(&b.1.as_f64().unwrap())).unwrap();
        assert_eq!(all[0]["prediction"].as_str().unwrap(), best.0);
        // A single row is answered singly.
        let row = serde_json::from_str::<Value>(input).unwrap()[0].to_string();
        assert_eq!(run(&manifest, file, &bytes, "", &row).unwrap(), plain[0]);
    }
}

#[test]
fn what_contradicts_the_file_is_named() {
    let binary = reference("binary.json");
    let count = match draft("m.json", &binary, &choices()) {
        Err(DraftError::FeaturesNeeded { count }) => count,
        other => drafted_count(other),
    };
    let labels = |labels: &[&str]| Choices {
        labels: Some(labels.iter().map(|l| (*l).to_owned()).collect()),
        features: Some(names(count)),
        ..choices()
    };
    for choices in
        [labels(&["a", "b", "c"]), labels(&["a", "a"]), Choices { features: Some(names(count + 1)), ..choices() }]
    {
        let error = draft("m.json", &binary, &choices).unwrap_err();
        assert!(matches!(error, DraftError::Contradiction(_)), "{error}");
    }
    let twice = Choices { features: Some(vec!["a".to_owned(); count]), ..choices() };
    let error = draft("m.json", &binary, &twice).unwrap_err();
    assert!(matches!(&error, DraftError::Contradiction(why) if why.contains("the column \"a\" twice")), "{error}");
    assert!(matches!(draft("m.json", b"{}", &choices()), Err(DraftError::Load(_))));
    assert!(matches!(draft("m.pkl", b"\x80\x04", &choices()), Err(DraftError::Load(_))));
}

fn drafted_count(manifest: Result<Manifest, DraftError>) -> usize {
    match manifest.unwrap().input {
        bundle::manifest::Input::Table(schema) => schema.columns.len(),
        other => panic!("{other:?} is no table"),
    }
}

#[test]
fn labels_and_parameters_that_would_mislead_are_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/moons/1");
    let manifest = Manifest::parse(&std::fs::read_to_string(folder.join("model.toml")).unwrap()).unwrap();
    let files = HashMap::from([("model.json".to_owned(), std::fs::read(folder.join("model.json")).unwrap())]);
    let refused = |change: fn(&mut Manifest)| {
        let mut wrong = manifest.clone();
        change(&mut wrong);
        load(&wrong, &files).err().map(|error| error.to_string())
    };
    let labels = |manifest: &mut Manifest, labels: [&str; 2]| {
        manifest.output = Output::Label { labels: labels.map(str::to_owned).to_vec() };
    };
    assert_eq!(refused(|_| ()), None);
    let mut translated = manifest.clone();
    labels(&mut translated, ["upper", "lower"]);
    assert!(load(&translated, &files).is_ok(), "labels can be translated");
    let mut swapped = manifest.clone();
    labels(&mut swapped, ["1", "0"]);
    let why = load(&swapped, &files).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(why.contains("in another order"), "{why}");
    let why = refused(|wrong| {
        wrong.params.get_mut("probabilities").unwrap().kind = bundle::ParamKind::String;
    });
    assert!(why.is_some_and(|why| why.contains("must be a boolean")));
    let why = refused(|wrong| match &mut wrong.input {
        bundle::manifest::Input::Table(schema) => schema.precision = bundle::Precision::Double,
        other => panic!("{other:?}"),
    });
    assert!(why.is_some_and(|why| why.contains("its precision is double, the model file's single")));
}

#[test]
fn a_cancelled_run_stops() {
    let bytes = reference("binary.json");
    let manifest = drafted("m.json", &bytes);
    let model = load(&manifest, &HashMap::from([("m.json".to_owned(), bytes)])).unwrap();
    let control = Control::default();
    control.cancel();
    let params = manifest.read_params("").unwrap();
    let outcome = model.run(manifest.goldens[0].input.as_bytes(), &params, &control);
    assert_eq!(outcome, Err(RunError::Cancelled));
}

#[test]
fn an_answer_that_json_cannot_say_is_null_as_the_schema_has_it() {
    // Its one leaf is 1000, whose exponential is no f32.
    let file = r#"{"learner":{"attributes":{},"feature_names":["a"],"feature_types":["q"],
        "gradient_booster":{"model":{"gbtree_model_param":{"num_parallel_tree":"1","num_trees":"1"},
        "tree_info":[0],"trees":[{"left_children":[-1],"right_children":[-1],"split_indices":[0],
        "split_conditions":[1000.0],"default_left":[0],"tree_param":{"size_leaf_vector":"0"}}]},"name":"gbtree"},
        "learner_model_param":{"base_score":"5E-1","num_class":"0","num_feature":"1","num_target":"1"},
        "objective":{"name":"count:poisson"}},"version":[3,2,0]}"#;
    let manifest = draft("m.json", file.as_bytes(), &choices()).unwrap();
    assert_eq!(manifest.goldens[0].output, "[null]");
    let schema = bundle::schema::output_schema(&manifest);
    assert_eq!(schema["$defs"]["row"]["type"], serde_json::json!(["number", "null"]));
}
