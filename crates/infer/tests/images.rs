//! Nets that take pictures, added as `models add` does, against ONNX Runtime's answers.

use std::collections::HashMap;
use std::path::Path;

use bundle::image::Tile;
use bundle::manifest::Input;
use bundle::{Golden, ImageSchema, InputError, Manifest, Output};
use infer::draft::{Choices, DraftError, GoldenError, Pixels, Task};
use infer::picture::{Picture, decode};
use infer::{Answer, Control, RunError, check_goldens, draft, load, picture_difference};

/// A file that models/train/reference_images.py wrote.
fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/images");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn choices(pixels: Pixels) -> Choices {
    Choices { name: "m".into(), version: "1".into(), pixels: Some(pixels), ..Choices::default() }
}

fn drafted(net: &str, pixels: Pixels) -> Manifest {
    let manifest = draft("model.onnx", &file(net), &choices(pixels)).expect(net);
    assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest, "{net}");
    manifest
}

fn schema(manifest: &mut Manifest) -> &mut ImageSchema {
    match &mut manifest.input {
        Input::Image(schema) => schema,
        other => panic!("{other:?}"),
    }
}

fn run_with(manifest: &Manifest, net: &str, params: &str, input: &[u8], control: &Control) -> Result<Answer, RunError> {
    let model = load(manifest, &HashMap::from([("model.onnx".to_owned(), file(net))])).expect("the bundle loads");
    model.run(input, &manifest.read_params(params).unwrap(), control)
}

fn run(manifest: &Manifest, net: &str, params: &str) -> Answer {
    run_with(manifest, net, params, &file("scene.png"), &Control::default()).expect(net)
}

fn pixels(file: &[u8]) -> Picture {
    decode(file, ImageSchema::DEFAULT_MAX_PIXELS).unwrap().upright()
}

/// The greatest difference of two pictures' samples.
fn most(a: &[u8], b: &[u8]) -> u8 {
    let (a, b) = (pixels(a), pixels(b));
    assert_eq!((a.width, a.height), (b.width, b.height));
    a.samples.iter().zip(&b.samples).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn a_net_makes_the_picture_that_onnx_runtime_makes() {
    for (net, range, expected) in [
        ("soft.onnx", Pixels::Unit, "soft.png"),
        ("pooled.onnx", Pixels::Unit, "pooled.png"),
        ("double.onnx", Pixels::Unit, "double.png"),
    ] {
        let answer = run(&drafted(net, range), net, "");
        assert_eq!((answer.content_type, answer.extension), ("image/png", "png"));
        let difference = picture_difference(&answer.body, &file(expected)).unwrap();
        println!("{net}: mean {difference}, at most {}", most(&answer.body, &file(expected)));
        // Sums in another order round a few samples to their neighbours.
        assert!(difference < 0.01 && most(&answer.body, &file(expected)) <= 1, "{net}: {difference}");
    }
}

#[test]
fn what_a_net_needs_is_found_out() {
    let mut pooled = drafted("pooled.onnx", Pixels::Unit);
    assert_eq!(schema(&mut pooled).multiple, 4);
    assert_eq!(schema(&mut pooled).channels.count(), 1);
    assert_eq!(schema(&mut pooled).tile, Some(Tile { side: 512, overlap: 64 }));
    assert_eq!(pooled.output, Output::Image { description: String::new(), black: -1.0, white: 1.0 }, "it ends in Tanh");
    let mut fixed = drafted("soft-fixed.onnx", Pixels::Signed);
    assert_eq!(schema(&mut fixed).tile, Some(Tile { side: 40, overlap: 5 }));
    assert_eq!(schema(&mut fixed).mean, [0.5; 3]);
    let double = drafted("double.onnx", Pixels::Bytes);
    assert_eq!(double.output, Output::Image { description: String::new(), black: 0.0, white: 255.0 });
    assert_eq!(double.limits.max_input_bytes, 40 << 20);
    assert!(double.params.contains_key("max_side"));
}

#[test]
fn seams_do_not_show() {
    for (net, expected) in [("soft.onnx", "soft.png"), ("pooled.onnx", "pooled.png"), ("double.onnx", "double.png")] {
        let mut manifest = drafted(net, Pixels::Unit);
        // As far as a pixel sees in the net: 3 pixels in the first; a pooled pixel and its neighbours, and the like at half size, in the others.
        schema(&mut manifest).tile = Some(Tile { side: 32, overlap: 8 });
        let control = Control::default();
        let answer = run_with(&manifest, net, "", &file("scene.png"), &control).unwrap();
        assert_eq!(control.progress(), (24, 24), "4 tiles across, 6 down");
        assert!(most(&answer.body, &file(expected)) <= 2, "{net}: {}", most(&answer.body, &file(expected)));
    }
    // The net takes 48 x 40 pixels and nothing else.
    let answer = run(&drafted("soft-fixed.onnx", Pixels::Unit), "soft-fixed.onnx", "");
    assert!(most(&answer.body, &file("soft.png")) <= 2);
}

#[test]
fn line_art_has_no_seams() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/line-art/1");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut manifest = Manifest::parse(std::str::from_utf8(&read("model.toml")).unwrap()).unwrap();
    let files: HashMap<String, Vec<u8>> = manifest.files.keys().map(|name| (name.clone(), read(name))).collect();
    let mut draw = |tile| {
        schema(&mut manifest).tile = tile;
        let (model, control) = (load(&manifest, &files).unwrap(), Control::default());
        let drawing = model.run(&files["coffee.png"], &manifest.read_params("").unwrap(), &control).unwrap();
        (drawing.body, control.progress().1)
    };
    let (whole, one) = draw(None);
    let (tiled, six) = draw(Some(Tile { side: 208, overlap: 64 }));
    assert_eq!((one, six), (1, 6));
    println!("at most {}", most(&tiled, &whole));
    assert!(most(&tiled, &whole) <= 2);
}

#[test]
fn too_little_overlap_would_be_noticed() {
    let mut manifest = drafted("soft.onnx", Pixels::Unit);
    schema(&mut manifest).tile = Some(Tile { side: 32, overlap: 0 });
    let answer = run(&manifest, "soft.onnx", "");
    assert!(most(&answer.body, &file("soft.png")) > 2);
}

#[test]
fn parameters_shrink_and_choose_the_file() {
    let manifest = drafted("soft.onnx", Pixels::Unit);
    let answer = run(&manifest, "soft.onnx", r#"{"max_side":64,"format":"jpeg","quality":80}"#);
    assert_eq!((answer.content_type, answer.extension), ("image/jpeg", "jpg"));
    assert!(answer.body.starts_with(b"\xff\xd8"));
    let small = pixels(&answer.body);
    assert_eq!((small.width, small.height), (49, 64));
    let rough = run(&manifest, "soft.onnx", r#"{"max_side":64,"format":"jpeg","quality":10}"#);
    assert!(rough.body.len() < answer.body.len());
    assert!(manifest.read_params(r#"{"format":"gif"}"#).is_err());
    assert!(manifest.read_params(r#"{"max_side":63}"#).is_err());
}

#[test]
fn a_net_gives_the_label_that_onnx_runtime_gives() {
    let manifest = drafted("classes.onnx", Pixels::Imagenet);
    let expected: serde_json::Value = serde_json::from_slice(&file("reference.json")).unwrap();
    let check = |manifest: &Manifest, picture: &str, key: &str, tolerance: f64| {
        let params = r#"{"probabilities":true}"#;
        let answer = run_with(manifest, "classes.onnx", params, &file(picture), &Control::default()).unwrap();
        assert_eq!(answer.content_type, "application/json");
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let mut best = (0.0, String::new());
        for (class, expected) in expected[key].as_array().unwrap().iter().enumerate() {
            let (got, expected) =
                (answer["probabilities"][class.to_string()].as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((got - expected).abs() < tolerance, "{key} {class}: {got}, {expected}");
            best = if got > best.0 { (got, class.to_string()) } else { best };
        }
        assert_eq!(answer["confidence"], best.0);
        assert_eq!(answer["label"], best.1);
    };
    // A few samples of a small picture are rounded otherwise than Pillow does it.
    check(&manifest, "scene.png", "classes", 1e-3);
    let mut whole = manifest.clone();
    schema(&mut whole).size.as_mut().unwrap().crop = None;
    check(&whole, "corner.png", "classes of the corner", 1e-5);
    let labels = Some(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec());
    let named = draft("model.onnx", &file("classes.onnx"), &Choices { labels, ..choices(Pixels::Imagenet) }).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&run(&named, "classes.onnx", "").body).unwrap();
    assert_eq!(answer["label"], "d");
    assert_eq!(answer.as_object().unwrap().len(), 2);
}

#[test]
fn what_is_missing_or_wrong_is_asked_for() {
    let refusal = |net: &str, choices: Choices| draft("model.onnx", &file(net), &choices).unwrap_err();
    let unsaid = refusal("soft.onnx", Choices { pixels: None, ..choices(Pixels::Unit) });
    assert!(matches!(&unsaid, DraftError::Unsaid(why) if why.contains("--pixels")), "{unsaid}");
    let labels = Some(vec!["a".to_owned(), "b".to_owned()]);
    let wrong = refusal("classes.onnx", Choices { labels: labels.clone(), ..choices(Pixels::Unit) });
    assert_eq!(wrong.to_string(), "the model has 5 classes, but --labels names 2");
    let wrong = refusal("soft.onnx", Choices { labels, ..choices(Pixels::Unit) });
    assert_eq!(wrong.to_string(), "a model that makes pictures has no labels; leave --labels out");
    let wrong = refusal("pooled.onnx", choices(Pixels::Imagenet));
    assert_eq!(wrong.to_string(), "the net takes grey pictures, which ImageNet has none of");
    let wrong = refusal("soft.onnx", Choices { task: Some(Task::ImageClassification), ..choices(Pixels::Unit) });
    assert_eq!(wrong.to_string(), "the net's first output is not of f32 with 2 dimensions");
    let wrong = refusal("classes.onnx", Choices { task: Some(Task::ImageToImage), ..choices(Pixels::Unit) });
    assert_eq!(wrong.to_string(), "the net's first output is not of f32 with 4 dimensions");
    assert!("0-1".parse::<Pixels>().is_err());
}

#[test]
fn a_manifest_that_does_not_fit_its_net_is_refused() {
    let refused = |net: &str, change: &dyn Fn(&mut Manifest)| {
        let mut manifest = drafted(net, Pixels::Unit);
        change(&mut manifest);
        let files = HashMap::from([("model.onnx".to_owned(), file(net))]);
        load(&manifest, &files).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused("soft.onnx", &|_| ()), "");
    let why = refused("soft.onnx", &|wrong| schema(wrong).channels = bundle::image::ImageChannels::Grey);
    assert!(why.ends_with("[input] has 1 channels, the net 3"), "{why}");
    let why = refused("soft-fixed.onnx", &|wrong| schema(wrong).tile = Some(Tile { side: 64, overlap: 20 }));
    assert!(why.contains("the net takes 40 pixels"), "{why}");
    let why = refused("classes.onnx", &|wrong| schema(wrong).size = None);
    assert!(why.contains("[input] lacks the size"), "{why}");
    let why = refused("classes.onnx", &|wrong| schema(wrong).size.as_mut().unwrap().width = 33);
    assert!(why.contains("[input] size has a width of 33, the net of 32"), "{why}");
    let why = refused("classes.onnx", &|wrong| {
        wrong.output = Output::Label { labels: vec!["a".into(), "b".into()] };
    });
    assert!(why.contains("[output] has 2 labels, the net 5 classes"), "{why}");
}

#[test]
fn a_run_can_be_cancelled_and_limited() {
    let mut manifest = drafted("soft.onnx", Pixels::Unit);
    let control = Control::default();
    control.cancel();
    let outcome = run_with(&manifest, "soft.onnx", "", &file("scene.png"), &control);
    assert_eq!(outcome, Err(RunError::Cancelled));
    let outcome = run_with(&manifest, "soft.onnx", "", b"{}", &Control::default());
    assert!(matches!(outcome, Err(RunError::Input(InputError::Invalid(_)))));
    schema(&mut manifest).max_pixels = 1000;
    let outcome = run_with(&manifest, "soft.onnx", "", &file("scene.png"), &Control::default());
    assert!(matches!(outcome, Err(RunError::Input(InputError::TooLarge(_)))));
    // The picture is within the limit, the answer of twice its sides is not.
    let mut double = drafted("double.onnx", Pixels::Unit);
    schema(&mut double).max_pixels = 77 * 101 * 2;
    let outcome = run_with(&double, "double.onnx", "", &file("scene.png"), &Control::default());
    assert!(matches!(outcome, Err(RunError::Input(InputError::TooLarge(_)))));
}

#[test]
fn golden_examples_may_be_files() {
    let mut manifest = drafted("soft.onnx", Pixels::Unit);
    let mut files: HashMap<String, Vec<u8>> = HashMap::from([("model.onnx".to_owned(), file("soft.onnx"))]);
    for name in ["scene.png", "soft.png"] {
        files.insert(name.to_owned(), file(name));
        manifest.files.insert(name.to_owned(), bundle::digest(&files[name]));
    }
    let file = |name: &str| Some(name.to_owned());
    let golden = Golden { input_file: file("scene.png"), output_file: file("soft.png"), ..Golden::default() };
    manifest.goldens = vec![Golden { params: "{}".into(), tolerance: 0.5, ..golden }];
    let manifest = Manifest::parse(&manifest.to_toml()).unwrap();
    check_goldens(&manifest, &files).unwrap();
    let mut wrong = manifest.clone();
    wrong.goldens[0].output_file = file("scene.png");
    let error = check_goldens(&wrong, &files).unwrap_err();
    assert!(matches!(&error, GoldenError::Differs { number: 1, .. }), "{error}");
    files.remove("soft.png");
    assert!(matches!(check_goldens(&manifest, &files), Err(GoldenError::Unusable { number: 1, .. })));
}
