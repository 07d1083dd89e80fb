use super::*;
use proptest::prelude::*;

fn schema() -> TextsSchema {
    TextsSchema { max_texts: 3, max_characters: 5, ..TextsSchema::default() }
}

fn read(text: &str) -> Result<Texts, InputError> {
    Texts::from_json(&schema(), true, text.as_bytes())
}

#[test]
fn the_form_and_the_order_are_kept() {
    let texts = |texts: &[&str], form, do_fast| Texts {
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        form,
        do_fast,
    };
    assert_eq!(read(r#"{"text":"좋아요"}"#).unwrap(), texts(&["좋아요"], TextsForm::Single, false));
    let list = texts(&["", "b\u{1f600}", "b\u{1f600}"], TextsForm::List, true);
    assert_eq!(read(r#"{"do_fast":true,"text":["","b\ud83d\ude00","b😀"]}"#).unwrap(), list);
    let named = texts(&["x", "y"], TextsForm::Named(vec!["10".into(), "".into()]), false);
    assert_eq!(read("\u{feff}{\"te\\u0078t\":{\"10\":\"x\",\"\":\"y\"},\"do_fast\":false} ").unwrap(), named);
}

#[test]
fn answers_have_the_form_of_the_texts() {
    let written = |form: &TextsForm, answers: &[u8]| {
        let mut json = Vec::new();
        form.serialize(answers, &mut serde_json::Serializer::new(&mut json)).unwrap();
        String::from_utf8(json).unwrap()
    };
    assert_eq!(written(&TextsForm::Single, &[7]), "7");
    assert_eq!(written(&TextsForm::List, &[7]), "[7]");
    assert_eq!(written(&TextsForm::Named(vec!["b".into(), "a".into()]), &[7, 8]), r#"{"b":7,"a":8}"#);
}

#[test]
fn characters_are_counted_not_bytes() {
    assert_eq!(read(r#"{"text":"한국어영화"}"#).unwrap().texts, ["한국어영화"]);
    assert!(matches!(read(r#"{"text":"한국어영화들"}"#), Err(InputError::TooLarge(_))));
}

#[test]
fn faults_are_named() {
    let long = format!(r#"{{"text":["{}"]}}"#, "x".repeat(10_000));
    let long_id = format!(r#"{{"text":{{"{}":1}}}}"#, "x".repeat(10_000));
    let cases = [
        "",
        " \n",
        "{",
        "nonsense",
        "{}",
        r#"{"do_fast":true}"#,
        r#"{"text":[]}"#,
        r#"{"text":{}}"#,
        r#"{"text":null}"#,
        r#"{"text":3}"#,
        r#"{"text":true}"#,
        r#"{"text":["a",1]}"#,
        r#"{"text":["a",null]}"#,
        r#"{"text":["a",["b"]]}"#,
        r#"{"text":["a",{"b":"c"}]}"#,
        r#"{"text":{"b":{"c":"d"}}}"#,
        r#"{"text":{"b":-0.5}}"#,
        r#"{"text":{"b":false}}"#,
        r#"{"text":{"b":"c","b":"d"}}"#,
        r#"{"text":["a","b","c","d"]}"#,
        r#"{"text":{"a":"","b":"","c":"","d":""}}"#,
        r#"{"text":"secret"}"#,
        r#"{"text":["secret"]}"#,
        r#"{"text":{"1":"secret"}}"#,
        r#"{"text":"a","text":"b"}"#,
        r#"{"text":"a","do_fast":true,"do_fast":true}"#,
        r#"{"text":"a","do_fast":1}"#,
        r#"{"text":"a","do_fast":"yes"}"#,
        r#"{"text":"a","do_fast":null}"#,
        r#"{"text":"a","do_slow":true}"#,
        r#"{"text":"\ud800"}"#,
        r#"{"text":"a"} x"#,
        &long,
        &long_id,
        "[]",
        "\"secret\"",
        "3",
        "-3",
        "0.5",
        "null",
        "true",
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|text| {
            let shown: String = text.chars().take(44).collect();
            format!("{shown:<46} {:?}", read(text).unwrap_err())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn without_a_fast_engine_none_can_be_asked_for() {
    let faults = [r#"{"text":"a","do_fast":true}"#, r#"{"text":"a","do_fast":false}"#, r#"{"text":"a","b":1}"#, "[]"]
        .map(|text| Texts::from_json(&schema(), false, text.as_bytes()).unwrap_err().to_string());
    insta::assert_snapshot!(faults.join("\n"));
    assert!(Texts::from_json(&schema(), false, br#"{"text":"a"}"#).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Texts::from_json(&schema(), true, &bytes);
    }

    #[test]
    fn any_texts_come_through(texts: Vec<(String, String)>, do_fast: bool) {
        let distinct: HashSet<&String> = texts.iter().map(|(id, _)| id).collect();
        prop_assume!(distinct.len() == texts.len() && !texts.is_empty());
        let object: serde_json::Map<String, serde_json::Value> =
            texts.iter().map(|(id, text)| (id.clone(), text.clone().into())).collect();
        let json = serde_json::json!({"text": object, "do_fast": do_fast}).to_string();
        let read = Texts::from_json(&TextsSchema::default(), true, json.as_bytes()).unwrap();
        let (ids, expected): (Vec<String>, Vec<String>) = texts.into_iter().unzip();
        prop_assert_eq!(read, Texts { texts: expected, form: TextsForm::Named(ids), do_fast });
    }
}
