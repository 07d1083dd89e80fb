//! The character RNN against PyTorch (models/train/reference_names.py wrote its answers), and the reader of PyTorch's files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bundle::manifest::Input;
use bundle::{InputError, Manifest, Param, ParamKind};
use infer::char_rnn::{Network, WeightsError, to_safetensors};
use infer::draft::{Choices, DraftError, Task, prepare};
use infer::torch::{self, Tensor, TorchError};
use infer::{Control, LoadError, Model, RunError, check_goldens, draft, load};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Record {
    alphabet: String,
    categories: Vec<String>,
    starts: String,
    names: BTreeMap<String, String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    category: usize,
    letter: usize,
    scores: Vec<f64>,
}

fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/names").join(file)
}

fn record(file: &str) -> Record {
    serde_json::from_str(&std::fs::read_to_string(reference(file)).unwrap()).unwrap()
}

fn small() -> Vec<u8> {
    std::fs::read(reference("small.pth")).unwrap()
}

fn choices(record: &Record) -> Choices {
    Choices {
        name: "names-reference".into(),
        version: "1".into(),
        task: Some(Task::Names),
        alphabet: Some(record.alphabet.clone()),
        categories: Some(record.categories.clone()),
        ..Choices::default()
    }
}

/// What `models add` makes of a file.
fn added(bytes: &[u8], record: &Record) -> (Manifest, HashMap<String, Vec<u8>>) {
    let (file, prepared) = prepare(bytes, &choices(record)).unwrap();
    assert_eq!(file, "model.safetensors", "no pickle in a bundle");
    let manifest = draft(file, &prepared, &choices(record)).unwrap();
    (manifest, HashMap::from([(file.to_owned(), prepared.into_owned())]))
}

fn ask(
    model: &dyn Model,
    manifest: &Manifest,
    params: &str,
    category: &str,
    letters: &str,
) -> Result<Vec<String>, RunError> {
    let input = serde_json::json!({"category": category, "start_letters": letters}).to_string();
    let answer = model.run(input.as_bytes(), &manifest.read_params(params).unwrap(), &Control::default())?;
    assert_eq!(answer.content_type, "application/json");
    Ok(serde_json::from_slice(&answer.body).unwrap())
}

/// Every name as PyTorch writes it, and every score within the tolerance that the engine's documentation states.
fn answers_as_pytorch_does(manifest: &Manifest, files: &HashMap<String, Vec<u8>>, record: &Record) {
    const TOLERANCE: f64 = 2e-5;
    check_goldens(manifest, files).unwrap();
    let model = load(manifest, files).unwrap();
    assert_eq!(record.names.len(), record.categories.len());
    for (category, expected) in &record.names {
        let expected: Vec<&str> = expected.split('|').collect();
        let got = ask(&*model, manifest, "", category, &record.starts).unwrap();
        assert_eq!(got, expected, "{category}");
    }

    let network = Network::read(&files["model.safetensors"]).unwrap();
    assert_eq!((network.categories(), network.letters()), (record.categories.len(), record.alphabet.chars().count()));
    let mut word = None;
    let mut worst = 0_f64;
    for step in &record.steps {
        let (_, word) = match &mut word {
            Some((category, word)) if *category == step.category => (*category, word),
            other => {
                let (category, word) = other.insert((step.category, network.begin(step.category)));
                (*category, word)
            }
        };
        let logits = word.step(step.letter);
        let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        for (logit, score) in logits.iter().zip(&step.scores) {
            worst = worst.max((f64::from(*logit) - sum.ln() - score).abs());
        }
    }
    assert!(worst <= TOLERANCE, "{worst}");
    println!("scores differ by at most {worst:e}");
}

#[test]
fn a_small_network_answers_as_pytorch_does() {
    let record = record("small.json");
    let (manifest, files) = added(&small(), &record);
    answers_as_pytorch_does(&manifest, &files, &record);
}

#[test]
fn the_shipped_network_answers_as_pytorch_does() {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/names/1");
    let manifest = Manifest::parse(&std::fs::read_to_string(bundle.join("model.toml")).unwrap()).unwrap();
    let file = &manifest.engine.file;
    let files = HashMap::from([(file.clone(), std::fs::read(bundle.join(file)).unwrap())]);
    answers_as_pytorch_does(&manifest, &files, &record("shipped.json"));
}

/// The weights of 2018 are not part of this repository; their answers are.
#[test]
fn the_trained_network_answers_as_pytorch_does() {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("MILLPOND_REFERENCE_DATA").map_or_else(beside, PathBuf::from).join("names");
    let Ok(bytes) = std::fs::read(folder.join("model.pth")) else {
        eprintln!("SKIPPED: no names/model.pth under MILLPOND_REFERENCE_DATA");
        return;
    };
    let record = record("trained.json");
    let (manifest, files) = added(&bytes, &record);
    answers_as_pytorch_does(&manifest, &files, &record);
    let model = load(&manifest, &files).unwrap();
    assert_eq!(ask(&*model, &manifest, "", "Russian", "RUS").unwrap(), ["Rovantov", "Uarthin", "Shantov"]);
}

#[test]
fn lengths_are_limited_and_letters_repeat() {
    let record = record("small.json");
    let (manifest, files) = added(&small(), &record);
    let model = load(&manifest, &files).unwrap();
    let whole = ask(&*model, &manifest, "", "Orcish", "ASKA").unwrap();
    assert_eq!(whole[0], whole[3], "a name does not depend on those before it");
    for length in 1..=20 {
        let names = ask(&*model, &manifest, &format!(r#"{{"max_length":{length}}}"#), "Orcish", "ASKA").unwrap();
        let cut: Vec<String> = whole.iter().map(|name| name.chars().take(length).collect()).collect();
        assert_eq!(names, cut);
    }
    let many = ask(&*model, &manifest, "", "Orcish", &"é".repeat(100)).unwrap();
    assert_eq!(many.len(), 100);
    let input = |letters: usize| ask(&*model, &manifest, "", "Orcish", &"é".repeat(letters)).unwrap_err();
    assert!(matches!(input(101), RunError::Input(InputError::TooLarge(_))));
    assert!(matches!(input(10_000), RunError::Input(InputError::TooLarge(_))));
    assert!(matches!(input(0), RunError::Input(InputError::Empty(_))));
    for params in [r#"{"max_length":0}"#, r#"{"max_length":101}"#, r#"{"temperature":-1}"#, r#"{"seed":-1}"#] {
        assert!(manifest.read_params(params).is_err(), "{params}");
    }
}

#[test]
fn draws_follow_from_the_seed() {
    let record = record("small.json");
    let (manifest, files) = added(&small(), &record);
    let model = load(&manifest, &files).unwrap();
    let drawn = |params: &str| ask(&*model, &manifest, params, "Elvish", "AKSn'").unwrap();
    let greedy = drawn("");
    assert_eq!(drawn(r#"{"temperature":0,"seed":9}"#), greedy);
    assert_eq!(drawn(r#"{"temperature":1e-300}"#), greedy, "next to nothing is as good as nothing");
    let first = drawn(r#"{"temperature":1,"seed":1}"#);
    assert_eq!(first, drawn(r#"{"temperature":1.0,"seed":1}"#));
    assert_ne!(first, drawn(r#"{"temperature":1,"seed":2}"#));
    // The same on every platform, and from version to version.
    assert_eq!(first, ["AoK", "KnoSSroSnSrtrnKKs", "Saatenet", "na", "'ostrrsAASt"]);

    // Letters are drawn as often as the network says.
    let network = Network::read(&files["model.safetensors"]).unwrap();
    let start = record.alphabet.chars().position(|letter| letter == 'A').unwrap();
    let logits = network.begin(0).step(start).to_vec();
    let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let mut counts = vec![0_u32; logits.len()];
    for seed in 0..40 {
        let params = format!(r#"{{"temperature":1,"seed":{seed},"max_length":2}}"#);
        for name in ask(&*model, &manifest, &params, "Elvish", &"A".repeat(100)).unwrap() {
            let second = name.chars().nth(1);
            let place = second.and_then(|second| record.alphabet.chars().position(|letter| letter == second));
            counts[place.unwrap_or(logits.len() - 1)] += 1;
        }
    }
    for (logit, count) in logits.iter().zip(&counts) {
        let expected = f64::from(*logit).exp() / sum;
        let got = f64::from(*count) / 4000.0;
        // Four standard deviations, and a little for the rarest.
        let margin = 4.0 * (expected * (1.0 - expected) / 4000.0).sqrt() + 1e-3;
        assert!((got - expected).abs() < margin, "{got} instead of {expected}: {counts:?}");
    }
}

#[test]
fn what_the_file_cannot_say_is_asked_for() {
    let (record, bytes) = (record("small.json"), small());
    let all = choices(&record);
    let unsaid = |choices: Choices| {
        let (file, prepared) = match prepare(&bytes, &choices) {
            Ok(prepared) => prepared,
            Err(error) => return error.to_string(),
        };
        match draft(file, &prepared, &choices) {
            Err(error @ (DraftError::Unsaid(_) | DraftError::Contradiction(_))) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(unsaid(Choices { task: None, ..all.clone() }).contains("--task names"));
    let fault = unsaid(Choices { alphabet: None, ..all.clone() });
    assert!(fault.contains("--alphabet") && fault.contains("14 letters"), "{fault}");
    let fault = unsaid(Choices { categories: None, ..all.clone() });
    assert!(fault.contains("--categories") && fault.contains("3 categories"), "{fault}");
    for (wrong, word) in [
        (Choices { alphabet: Some("abc".into()), ..all.clone() }, "but --alphabet has 3"),
        (Choices { alphabet: Some("a".repeat(14)), ..all.clone() }, "twice"),
        (Choices { categories: Some(vec!["a".into()]), ..all.clone() }, "but --categories names 1"),
        (Choices { categories: Some(vec!["a".into(); 3]), ..all.clone() }, "twice"),
        (Choices { labels: Some(vec!["a".into()]), ..all.clone() }, "--labels"),
    ] {
        let fault = unsaid(wrong);
        assert!(fault.contains(word), "{fault}");
    }
    // A file that is plain data already says as little.
    let (file, prepared) = prepare(&bytes, &all).unwrap();
    let again = prepare(&prepared, &Choices { task: None, ..all.clone() }).unwrap();
    assert_eq!(again, (file, prepared.clone()));
    assert!(matches!(draft(file, &prepared, &Choices { task: None, ..all.clone() }), Err(DraftError::Unsaid(_))));
    // What cannot be read is not asked about first.
    let zip = prepare(b"PK\x03\x04...", &Choices { task: None, ..all.clone() });
    assert!(matches!(zip, Err(DraftError::Load(_))), "{zip:?}");
    // A tree takes none of these.
    let tree = std::fs::read(reference("../3.2.0/binary.json")).unwrap();
    assert!(matches!(draft("m.json", &tree, &all), Err(DraftError::Contradiction(_))));
}

#[test]
fn other_networks_and_manifests_are_refused() {
    let record = record("small.json");
    let (manifest, files) = added(&small(), &record);
    let good = torch::read(&small()).unwrap();
    let refused = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        Network::read(&to_safetensors(&tensors).unwrap()).unwrap_err()
    };
    let tensor = |shape: &[usize]| Tensor { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] };
    for name in good.keys() {
        let error = refused(&|tensors| drop(tensors.remove(name)));
        assert!(matches!(&error, WeightsError::Network(why) if why.contains(name)), "{error}");
        let error = refused(&|tensors| tensors.get_mut(name).unwrap().values[0] = f32::NAN);
        assert!(matches!(error, WeightsError::NotFinite(_)), "{error}");
        for shape in [&[][..], &[0], &[1], &[3, 0], &[0, 3], &[2, 2, 2]] {
            let error = refused(&|tensors| drop(tensors.insert(name.clone(), tensor(shape))));
            assert!(matches!(error, WeightsError::Network(_)), "{name} {shape:?}: {error}");
        }
    }
    // A header of a megabyte and more would take twenty when it is parsed.
    let header = format!("{{\"__metadata__\":{{\"note\":\"{}\"}}}}", "x".repeat(1 << 20));
    let long = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    assert!(matches!(Network::read(&long), Err(WeightsError::Format(why)) if why.contains("header")));
    let error = refused(&|tensors| drop(tensors.insert("lstm.weight".into(), tensor(&[1]))));
    assert!(error.to_string().contains("lstm.weight"), "{error}");

    for (from, to) in
        [("\"Orcish\"", "\"Orcish\", \"Human\""), ("aeikno", "eikno"), ("kind = \"text\"", "kind = \"number\"")]
    {
        let text = manifest.to_toml();
        assert!(text.contains(from), "{from} in {text}");
        let wrong = Manifest::parse(&text.replacen(from, to, 1)).unwrap();
        assert!(matches!(load(&wrong, &files), Err(LoadError::Contradiction(_))), "{to}");
    }
    for (name, change) in [
        ("max_length", (|param| param.kind = ParamKind::Number) as fn(&mut Param)),
        ("max_length", |param| param.min = Some(0.0)),
        ("seed", |param| param.min = None),
        ("seed", |param| param.kind = ParamKind::String),
        ("temperature", |param| param.kind = ParamKind::Boolean),
        ("temperature", |param| param.min = Some(-1.0)),
    ] {
        let mut wrong = manifest.clone();
        change(wrong.params.get_mut(name).unwrap());
        match load(&wrong, &files) {
            Err(LoadError::Contradiction(why)) => assert!(why.contains(name), "{why}"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{name} is taken"),
        }
    }
    let Input::StartLetters(_) = &manifest.input else { panic!("{:?}", manifest.input) };
    let mut wrong = manifest.clone();
    wrong.engine.format = bundle::ModelFormat::Xgboost;
    assert!(matches!(load(&wrong, &files), Err(LoadError::Engine { .. })));
}

#[test]
fn a_cancelled_run_stops() {
    let (manifest, files) = added(&small(), &record("small.json"));
    let control = Control::default();
    control.cancel();
    let params = manifest.read_params("").unwrap();
    let outcome = load(&manifest, &files).unwrap().run(manifest.goldens[0].input.as_bytes(), &params, &control);
    assert_eq!(outcome, Err(RunError::Cancelled));
}

#[test]
fn cancelling_is_felt_between_letters() {
    // Of the letters a and b: after b the end, after a another a, for ever.
    let tensor = |shape: &[usize], set: &[(usize, f32)]| {
        let mut values = vec![0.0; shape.iter().product()];
        set.iter().for_each(|(at, value)| values[*at] = *value);
        Tensor { shape: shape.to_vec(), values }
    };
    // The inputs are the category, a, b, the end and the hidden value.
    let tensors = BTreeMap::from([
        ("i2h.weight".to_owned(), tensor(&[1, 5], &[])),
        ("i2h.bias".to_owned(), tensor(&[1], &[])),
        ("i2o.weight".to_owned(), tensor(&[3, 5], &[(2 * 5 + 2, 9.0)])),
        ("i2o.bias".to_owned(), tensor(&[3], &[])),
        ("o2o.weight".to_owned(), tensor(&[3, 4], &[(2 * 4 + 3, 1.0)])),
        ("o2o.bias".to_owned(), tensor(&[3], &[(0, 1.0)])),
    ]);
    let weights = to_safetensors(&tensors).unwrap();
    let choices = Choices {
        name: "m".into(),
        version: "1".into(),
        task: Some(Task::Names),
        alphabet: Some("ab".into()),
        categories: Some(vec!["x".into()]),
        ..Choices::default()
    };
    let mut manifest = draft("model.safetensors", &weights, &choices).unwrap();
    manifest.params.get_mut("max_length").unwrap().max = Some(1e9);
    let model = load(&manifest, &HashMap::from([("model.safetensors".to_owned(), weights)])).unwrap();
    let params = manifest.read_params(r#"{"max_length":1000000000}"#).unwrap();
    let control = Control::default();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| model.run(br#"{"category":"x","start_letters":"ba"}"#, &params, &control));
        while control.progress() != (1, 2) && !run.is_finished() {
            std::thread::yield_now();
        }
        control.cancel();
        assert_eq!(run.join().unwrap(), Err(RunError::Cancelled));
    });
}

/// A pickle of the second protocol.
fn pickle(code: &[u8]) -> Vec<u8> {
    [b"\x80\x02", code, b"."].concat()
}

/// A file of 2018: `code` makes the object; two storages of four numbers follow.
fn file_of_2018(code: &[u8]) -> Vec<u8> {
    let mut file = [
        pickle(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"),
        pickle(b"M\xe9\x03"),
        pickle(b"}q\x00(X\x0d\x00\x00\x00little_endianq\x01\x88u"),
        pickle(code),
        pickle(b"]q\x00(X\x01\x00\x00\x00aX\x01\x00\x00\x00be"),
    ]
    .concat();
    for first in [1.0_f32, 5.0] {
        file.extend(4_u64.to_le_bytes());
        file.extend((0..4).flat_map(|at| (first + at as f32).to_le_bytes()));
    }
    file
}

/// A dict with one tensor as PyTorch 0.4 described it.
fn one_tensor(global: &str, key: u8, place: &[u8]) -> Vec<u8> {
    let head = format!(
        "ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00wq\x02c{global}\nq\x03((X\x07\x00\x00\x00storageq\x04"
    );
    let storage = b"ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x00";
    [head.as_bytes(), storage, &[key], b"q\x06X\x03\x00\x00\x00cpuq\x07K\x04Ntq\x08Q", place, b"tq\x0bRq\x0cu"].concat()
}

const REBUILD: &str = "torch._utils\n_rebuild_tensor";

#[test]
fn files_of_2018_are_read() {
    let code = one_tensor(REBUILD, b'b', b"K\x01K\x03K\x01\x86K\x01K\x01\x86");
    let tensors = torch::read(&file_of_2018(&code)).unwrap();
    assert_eq!(tensors, BTreeMap::from([("w".to_owned(), Tensor { shape: vec![3, 1], values: vec![6.0, 7.0, 8.0] })]));
}

#[test]
fn pickles_run_nothing() {
    let unsupported = |code: &[u8]| match torch::read(&file_of_2018(code)) {
        Err(error @ TorchError::Unsupported(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let malformed = |code: &[u8]| match torch::read(&file_of_2018(code)) {
        Err(TorchError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    let shell = unsupported(b"cposix\nsystem\nX\x02\x00\x00\x00id\x85R");
    assert!(shell.contains("\"system\" of \"posix\""), "{shell}");
    assert!(unsupported(&one_tensor("builtins\neval", b'a', b"")).contains("eval"));
    assert!(unsupported(b"}X\x01\x00\x00\x00aK\x01s").contains("no tensor"));
    assert!(unsupported(b"K\x01").contains("other than a dict"));
    assert!(unsupported(b"I1\n").contains("0x49"));
    // Transposed; beyond its storage; of a storage that isn't there; with a negative size; larger than any memory.
    assert!(unsupported(&one_tensor(REBUILD, b'a', b"K\x00K\x02K\x02\x86K\x01K\x02\x86")).contains("strided"));
    assert_eq!(
        malformed(&one_tensor(REBUILD, b'a', b"K\x01K\x04\x85K\x01\x85")),
        "a tensor is larger than its storage"
    );
    assert_eq!(malformed(&one_tensor(REBUILD, b'c', b"K\x00K\x04\x85K\x01\x85")), "a tensor's storage is missing");
    let negative = one_tensor(REBUILD, b'a', b"K\x00J\xff\xff\xff\xff\x85K\x01\x85");
    assert_eq!(malformed(&negative), "a shape has no sizes");
    let huge = [&b"K\x00"[..], b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85K\x01\x85"].concat();
    assert_eq!(malformed(&one_tensor(REBUILD, b'a', &huge)), "a tensor is larger than its storage");
    // The stack, the marks and the memory end where they end.
    for code in [&b"t"[..], b"u", b"\x85", b"R", b"Q", b"h\x09", b"(R", b"", b"b", b"(", b"q\x00", b"a", b"s"] {
        assert!(torch::read(&file_of_2018(code)).is_err(), "{code:?}");
    }
    // Tuples in tuples would exhaust the stack when they are dropped, dicts in dicts as well.
    assert_eq!(malformed(&[b")".to_vec(), vec![0x85; 500_000]].concat()), "tuples are nested too deep");
    let dicts = [b"}X\x01\x00\x00\x00a".repeat(30_000), b"}".to_vec(), b"s".repeat(30_000)].concat();
    assert!(unsupported(&dicts).contains("no tensor"));
    // A million views of one storage are no million copies.
    let many: Vec<u8> = (0..20_000_u32)
        .flat_map(|at| [&b"X\x04\x00\x00\x00"[..], format!("{at:04x}").as_bytes(), b"h\x0c"].concat())
        .collect();
    let code = one_tensor(REBUILD, b'a', b"K\x00K\x04\x85K\x01\x85");
    let views = [&code[..], b"(", &many, b"u"].concat();
    assert!(unsupported(&views).contains("share"), "{views:?}");
    // Nor is one long shape in many views as many copies of it.
    let ones = b"K\x01".repeat(9);
    let long = [&b"K\x00("[..], &ones, b"t(", &ones, b"t"].concat();
    assert!(unsupported(&one_tensor(REBUILD, b'a', &long)).contains("9 dimensions"));
    assert_eq!(torch::read(b"PK\x03\x04..."), Err(TorchError::Zip));
    assert_eq!(torch::read(b"{}"), Err(TorchError::NotTorch));
}

proptest! {
    #[test]
    fn damaged_files_are_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: prop::sample::Index, cuts: bool) {
        for mut bytes in [small(), to_safetensors(&torch::read(&small()).unwrap()).unwrap()] {
            for (at, byte) in &changes {
                // Most of a file is numbers; what is about them is in front.
                let at = at.index(bytes.len().min(1500));
                bytes[at] = *byte;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len()));
            }
            let _ = torch::read(&bytes);
            let _ = Network::read(&bytes);
        }
    }

    #[test]
    fn any_code_is_run_or_refused(code in prop::collection::vec(prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(&b"\x80.(NKMJGX}])\x85\x86\x87tRQqrhjaesub\x88\x89"[..]).prop_map(|byte| vec![byte]),
        Just(b"ccollections\nOrderedDict\n".to_vec()),
        Just(b"ctorch._utils\n_rebuild_tensor\n".to_vec()),
        Just(b"X\x01\x00\x00\x00a".to_vec()),
        Just(b"K\x01".to_vec()),
    ], 0..60)) {
        let _ = torch::read(&file_of_2018(&code.concat()));
    }
}
