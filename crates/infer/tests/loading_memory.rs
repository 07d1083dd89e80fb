//! No model file takes more than four times its size and 64 MB to load and to predict a few rows with, however it is made. Alone in this
//! file, and one test: the allocator counts for all threads.

use std::fmt::Write;

use infer::trees::PredictError;
use infer::xgboost::dump::{Beside, complete};
use infer::{lightgbm, onnx_trees, sklearn, torch, xgboost};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Large enough that the 64 MB could not hide a fault.
const FILE_BYTES: usize = 20 << 20;

/// A file, and what is tried with it: loading it, and if that succeeds predicting. Says whether it was loaded.
type Case = (&'static str, Vec<u8>, fn(&[u8]) -> bool);

fn rows(features: usize) -> Vec<f32> {
    vec![0.25; features * 8]
}

fn xgboost(bytes: &[u8]) -> bool {
    predicts(xgboost::load(bytes), |model, out| model.predict(&rows(model.num_features), out, &|| false))
}

fn dump(bytes: &[u8]) -> bool {
    predicts(xgboost::dump::load(bytes), |model, out| model.predict(&rows(model.num_features), out, &|| false))
}

fn lightgbm(bytes: &[u8]) -> bool {
    predicts(lightgbm::load(bytes), |model, out| model.predict(&vec![0.25; model.num_features() * 8], out, &|| false))
}

fn sklearn(bytes: &[u8]) -> bool {
    predicts(sklearn::load(bytes), |model, out| match model {
        sklearn::AnyModel::Single(model) => model.predict_raw(&rows(model.num_features), out, &|| false),
        sklearn::AnyModel::Double(model) => model.predict_raw(&vec![0.25; model.num_features * 8], out, &|| false),
    })
}

fn onnx(bytes: &[u8]) -> bool {
    predicts(onnx_trees::load(bytes), |model, out| model.predict_raw(&rows(model.num_features), out, &|| false))
}

fn weights(bytes: &[u8]) -> bool {
    torch::read(bytes).is_ok_and(|tensors| infer::char_rnn::to_safetensors(&tensors).is_ok())
}

fn network(bytes: &[u8]) -> bool {
    infer::char_rnn::Network::read(bytes).is_ok()
}

fn predicts<M, E, V>(loaded: Result<M, E>, predict: impl FnOnce(&M, &mut Vec<V>) -> Result<(), PredictError>) -> bool {
    loaded.is_ok_and(|model| {
        predict(&model, &mut Vec::new()).expect("whole rows, not cancelled");
        true
    })
}

/// The piece again and again, numbered, up to the size; without the separator at the end.
fn repeated(separator: &str, piece: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    let mut number = 0;
    while text.len() < FILE_BYTES {
        text.push_str(&piece(number));
        text.push_str(separator);
        number += 1;
    }
    text.truncate(text.len() - separator.len());
    text
}

/// So many numbers that all lists of a tree together have the size.
fn numbers(lists: usize, number: impl Fn(usize) -> i64) -> String {
    let mut text = String::new();
    for at in 0..FILE_BYTES / lists / 2 {
        let _ = write!(text, "{},", number(at));
    }
    text.pop();
    text
}

fn xgboost_json(names: &str, trees: &str, count: usize) -> Vec<u8> {
    let info = vec!["0"; count].join(",");
    format!(
        r#"{{"learner":{{"feature_names":[{names}],"gradient_booster":{{"model":{{"tree_info":[{info}],"trees":[{trees}]}},
        "name":"gbtree"}},"learner_model_param":{{"base_score":"0","num_class":"0","num_feature":"1"}},
        "objective":{{"name":"reg:squarederror"}}}},"version":[3,2,0]}}"#
    )
    .into_bytes()
}

const LEAF: &str =
    r#"{"left_children":[-1],"right_children":[-1],"split_indices":[0],"split_conditions":[0],"default_left":[0]}"#;

/// A tree of n leaves, each of whose splits has a leaf on its left: a list a key.
fn chain(keys: &str) -> String {
    // Of 2n + 1 nodes, the odd ones are leaves, and the last.
    let nodes = FILE_BYTES / 40;
    let list = |even: &dyn Fn(usize) -> usize, odd: &str| {
        let mut text = String::new();
        for at in 0..2 * nodes + 1 {
            let _ = if at % 2 == 0 && at < 2 * nodes { write!(text, "{},", even(at)) } else { write!(text, "{odd},") };
        }
        text.pop();
        text
    };
    keys.replace("LEFT", &list(&|at| at + 1, "-1"))
        .replace("RIGHT", &list(&|at| at + 2, "-1"))
        .replace("ONES", &list(&|_| 1, "1"))
        .replace("ZEROS", &list(&|_| 0, "0"))
}

fn xgboost_cases() -> Vec<Case> {
    let count = FILE_BYTES / (LEAF.len() + 1) + 1;
    let long = chain(
        r#"{"left_children":[LEFT],"right_children":[RIGHT],"split_indices":[ZEROS],"split_conditions":[ZEROS],
        "default_left":[ZEROS]}"#,
    );
    let sets = long.replace("\"default_left\"", &chain(r#""split_type":[ONES],"default_left""#));
    let flat = |number| numbers(5, move |_| number);
    let leaves = format!(
        r#"{{"left_children":[{0}],"right_children":[{0}],"split_indices":[{0}],"split_conditions":[{0}],"default_left":[{0}]}}"#,
        flat(0)
    );
    // The same as bytes: a typed array of them takes one each.
    let key = |key: &str| [b"U".as_slice(), &[key.len() as u8], key.as_bytes()].concat();
    let text = |name: &str, value: &str| [key(name), b"S".to_vec(), key(value)].concat();
    let mut ubj = [b"{".as_slice(), &key("learner"), b"{", &key("learner_model_param"), b"{"].concat();
    ubj.extend([text("base_score", "0"), text("num_feature", "1"), text("num_class", "0"), b"}".to_vec()].concat());
    ubj.extend([key("objective"), b"{".to_vec(), text("name", "reg:squarederror"), b"}".to_vec()].concat());
    ubj.extend([key("gradient_booster"), b"{".to_vec(), text("name", "gbtree"), key("model"), b"{".to_vec()].concat());
    ubj.extend([key("tree_info"), b"[U\x00]".to_vec(), key("trees"), b"[{".to_vec()].concat());
    for list in ["left_children", "right_children", "split_indices", "split_conditions", "default_left"] {
        ubj.extend(key(list));
        ubj.extend(b"[$U#l");
        ubj.extend((FILE_BYTES as u32 / 5).to_be_bytes());
        ubj.resize(ubj.len() + FILE_BYTES / 5, 0);
    }
    ubj.extend(b"}]}}}}");
    vec![
        ("XGBoost: leaves", xgboost_json("", &repeated(",", |_| LEAF.to_owned()), count), xgboost),
        ("XGBoost: empty trees", xgboost_json("", &repeated(",", |_| "{}".to_owned()), FILE_BYTES / 3 + 1), xgboost),
        ("XGBoost: a long tree", xgboost_json("", &long, 1), xgboost),
        ("XGBoost: a long tree without categories", xgboost_json("", &sets, 1), xgboost),
        ("XGBoost: dense lists", xgboost_json("", &leaves, 1), xgboost),
        ("XGBoost: names", xgboost_json(&repeated(",", |_| "\"\"".to_owned()), LEAF, 1), xgboost),
        ("XGBoost: a long name", xgboost_json(&format!("\"{}\"", "\\n".repeat(FILE_BYTES / 2)), LEAF, 1), xgboost),
        ("XGBoost: bytes", ubj, xgboost),
    ]
}

fn lightgbm_cases() -> Vec<Case> {
    let head = |names: &str, last: usize| {
        format!(
            "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx={last}\nobjective=regression\n\
             feature_names={names}\n"
        )
    };
    let file = |trees: &str| format!("{}{trees}\nend of trees\n", head("a", 0)).into_bytes();
    let leaves = repeated("\n", |at| format!("Tree={at}\nnum_leaves=1\nleaf_value=1"));
    let splits = FILE_BYTES / 24;
    let list = |of: &dyn Fn(usize) -> i64| (0..splits).map(|at| of(at).to_string()).collect::<Vec<_>>().join(" ");
    // Each split has a leaf on its left, and the next split, at last a leaf, on its right.
    let end = |at: usize| if at + 1 == splits { -(splits as i64) - 1 } else { at as i64 + 1 };
    let long = |decisions: i64, thresholds: &dyn Fn(usize) -> i64, sets: &str| {
        let leaves = vec!["1"; splits + 1].join(" ");
        let (left, right) = (list(&|at| -(at as i64) - 1), list(&end));
        let (zeros, thresholds, decisions) = (list(&|_| 0), list(thresholds), list(&|_| decisions));
        format!(
            "Tree=0\nnum_leaves={}\nsplit_feature={zeros}\nthreshold={thresholds}\ndecision_type={decisions}\n\
             left_child={left}\nright_child={right}\nleaf_value={leaves}\n{sets}",
            splits + 1
        )
    };
    let numeric = long(2, &|_| 1, "");
    let bounds = (0..=splits).map(|at| at.to_string()).collect::<Vec<_>>().join(" ");
    let words = vec!["1"; splits].join(" ");
    let sets = long(1, &|at| at as i64, &format!("cat_boundaries={bounds}\ncat_threshold={words}"));
    let words = vec!["4294967295"; FILE_BYTES / 11];
    let many = format!(
        "Tree=0\nnum_leaves=2\nsplit_feature=0\nthreshold=0\ndecision_type=1\nleft_child=-1\nright_child=-2\nleaf_value=1 2\n\
         cat_boundaries=0 {}\ncat_threshold={}",
        words.len(),
        words.join(" ")
    );
    let names = vec!["a"; FILE_BYTES / 2];
    let names =
        format!("{}{}\nend of trees\n", head(&names.join(" "), names.len() - 1), "Tree=0\nnum_leaves=1\nleaf_value=1");
    vec![
        ("LightGBM: leaves", file(&leaves), lightgbm),
        ("LightGBM: a long tree", file(&numeric), lightgbm),
        ("LightGBM: many sets", file(&sets), lightgbm),
        ("LightGBM: one large set", file(&many), lightgbm),
        ("LightGBM: names", names.into_bytes(), lightgbm),
    ]
}

fn sklearn_cases() -> Vec<Case> {
    let file = |labels: &str, trees: &str| {
        format!(
            r#"{{"format":"sklearn-trees","version":1,"scikit_learn":"1.9.1","estimator":"RandomForestRegressor","features":1,
            "feature_names":null,"missing":true,"labels":{labels},"link":"identity","base":[],"trees":[{trees}]}}"#
        )
        .into_bytes()
    };
    let leaf = r#"{"output":0,"feature":[-1],"threshold":[0],"missing_left":[0],"left":[0],"right":[0],"value":[1]}"#;
    let long = chain(r#"{"output":0,"feature":[FEATURES],"threshold":[ZEROS],"missing_left":[ZEROS],"left":[LEFT],"right":[RIGHT],"value":[VALUES]}"#)
        .replace("-1", "0");
    let splits = FILE_BYTES / 40;
    let features = format!("{}-1", "0,-1,".repeat(splits));
    let values = vec!["1"; splits + 1].join(",");
    let long = long.replace("FEATURES", &features).replace("VALUES", &values);
    let dense = |key: &str| format!(r#"{{"{key}":[{}]}}"#, numbers(1, |_| 0));
    vec![
        ("scikit-learn: leaves", file("null", &repeated(",", |_| leaf.to_owned())), sklearn),
        ("scikit-learn: a long tree", file("null", &long), sklearn),
        ("scikit-learn: dense thresholds", file("null", &dense("threshold")), sklearn),
        ("scikit-learn: labels", file(&format!("[{}]", repeated(",", |_| "\"\"".to_owned())), leaf), sklearn),
        ("scikit-learn: empty trees", file("null", &repeated(",", |_| "{}".to_owned())), sklearn),
    ]
}

fn dump_cases() -> Vec<Case> {
    fn tree(depth: usize, id: usize) -> String {
        if depth == 0 {
            return format!(r#"{{"nodeid":{id},"leaf":1}}"#);
        }
        let (yes, no) = (2 * id + 1, 2 * id + 2);
        let children = [tree(depth - 1, yes), tree(depth - 1, no)].join(",");
        format!(
            r#"{{"nodeid":{id},"split":"f0","split_condition":0,"yes":{yes},"no":{no},"missing":{yes},"children":[{children}]}}"#
        )
    }
    let beside = Beside { objective: "reg:squarederror", base_score: "0", num_class: 0, features: None };
    let file = |trees: &str| complete(format!("[{trees}]").as_bytes(), &beside).unwrap();
    let wide = tree(18, 0);
    assert!(wide.len() > FILE_BYTES);
    vec![
        ("dump: leaves", file(&repeated(",", |_| tree(0, 0))), dump),
        ("dump: one tree", file(&wide), dump),
        ("dump: trees", file(&repeated(",", |_| tree(6, 0))), dump),
    ]
}

fn onnx_cases() -> Vec<Case> {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(content);
        field
    }
    let attribute = |name: &str, number: u8, each: &[u8], count: usize| {
        field(5, &[field(1, name.as_bytes()), field(number, each).repeat(count)].concat())
    };
    let model = |attributes: Vec<u8>| {
        let node =
            [field(1, b"X"), field(2, b"Y"), field(4, b"TreeEnsembleRegressor"), attributes, field(7, b"ai.onnx.ml")];
        let input = [field(1, b"X"), field(2, &field(1, &[8, 1]))].concat();
        [vec![8, 8], field(7, &[field(1, &node.concat()), field(11, &input)].concat())].concat()
    };
    let packed = |name: &str| attribute(name, 8, &vec![0; FILE_BYTES], 1);
    // Stumps, as densely as can be: 9 bytes for a leaf's lists and 5 for its text.
    let nodes = FILE_BYTES / 20;
    let same = |name: &str, value: u8| attribute(name, 8, &vec![value; nodes], 1);
    let ids: Vec<u8> = (0..nodes as u32)
        .flat_map(|id| [0, 7, 14, 21].map(|shift| (id >> shift) as u8 & 0x7f | if shift < 21 { 0x80 } else { 0 }))
        .collect();
    let stumps = [
        attribute("nodes_treeids", 8, &ids, 1),
        same("nodes_nodeids", 0),
        same("nodes_featureids", 0),
        same("nodes_truenodeids", 0),
        same("nodes_falsenodeids", 0),
        attribute("nodes_values", 7, &vec![0; nodes * 4], 1),
        attribute("nodes_modes", 9, b"LEAF", nodes),
        attribute("target_treeids", 8, &ids, 1),
        same("target_nodeids", 0),
        same("target_ids", 0),
        attribute("target_weights", 7, &vec![0; nodes * 4], 1),
        field(5, &[field(1, b"n_targets"), vec![3 << 3, 1]].concat()),
    ];
    vec![
        ("ONNX: flags", model(packed("nodes_missing_value_tracks_true")), onnx),
        ("ONNX: ids", model(packed("nodes_nodeids")), onnx),
        ("ONNX: labels", model(attribute("classlabels_strings", 9, b"", FILE_BYTES / 2)), onnx),
        ("ONNX: numbered labels", model(attribute("classlabels_int64s", 8, &vec![0; FILE_BYTES], 1)), onnx),
        ("ONNX: stumps", model(stumps.concat()), onnx),
        ("ONNX: nodes", [vec![8, 8], field(7, &field(1, b"").repeat(FILE_BYTES / 2))].concat(), onnx),
    ]
}

fn network_cases() -> Vec<Case> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let pickle = |code: &[u8]| [magic.as_slice(), b"M\xe9\x03.", code].concat();
    let header = |json: Vec<u8>| [(json.len() as u64).to_le_bytes().to_vec(), json].concat();
    let metadata: String = (0..100_000).map(|at| format!("\"{at}\":\"\",")).collect();
    let metadata = format!("{{\"__metadata__\":{{{}}}}}", metadata.trim_end_matches(','));
    vec![
        ("torch: empty tuples", pickle(&vec![b')'; FILE_BYTES]), weights),
        ("torch: a list of nothing", pickle(&[b"](".as_slice(), &vec![b'N'; (1 << 18) - 3], b"e."].concat()), weights),
        ("torch: remembered", pickle(&b"Nr\x01\0\0\0".repeat(FILE_BYTES / 6)), weights),
        ("torch: texts", pickle(&b"X\0\0\0\0".repeat(FILE_BYTES / 5)), weights),
        ("safetensors: notes", header(metadata.into_bytes()), network),
        ("safetensors: a long header", header(vec![b' '; FILE_BYTES]), network),
    ]
}

#[test]
fn no_file_takes_more_than_four_times_its_size_and_64_mb() {
    let makers: [fn() -> Vec<Case>; 6] =
        [xgboost_cases, lightgbm_cases, sklearn_cases, dump_cases, onnx_cases, network_cases];
    let mut faults = Vec::new();
    for (name, bytes, load) in makers.into_iter().flat_map(|make| make()) {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let loaded = load(&bytes);
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        let megabytes = |bytes: usize| bytes >> 20;
        println!("{name}: {} MB of {} MB, loaded: {loaded}", megabytes(peak), megabytes(bytes.len()));
        if peak > 4 * bytes.len() + (64 << 20) {
            faults.push(name);
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}
