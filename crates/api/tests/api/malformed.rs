//! What clients get wrong. Nothing of it is accepted.

use axum::http::StatusCode;

use crate::support::{World, publish};

#[tokio::test(start_paused = true)]
async fn faults_are_named() {
    let world = World::new();
    publish(world.models.path(), "small", "1", "limits = { max_input_bytes = 20 }");
    let deep = "[".repeat(10_000);
    let upload = |fields: &str| format!(r#"{{"model":"table","upload":{{{fields}}}}}"#);
    let input = |input: &str| format!(r#"{{"model":"table","input":{input}}}"#);
    let named = |name: &str| upload(&format!(r#""filename":{},"size_bytes":1"#, serde_json::to_string(name).unwrap()));
    let bodies = [
        String::new(),
        "   ".into(),
        "{".into(),
        "nonsense".into(),
        "[]".into(),
        "3".into(),
        r#"["table",[{"a":1,"b":2}],null,null]"#.into(),
        r#"{"model":"table","input":[]} x"#.into(),
        "\u{feff}{\"model\":\"nothing\",\"input\":[]}".into(),
        deep.clone(),
        r#"{"a":"#.repeat(10_000),
        // The envelope.
        "{}".into(),
        r#"{"model":"table"}"#.into(),
        r#"{"model":"table","input":null}"#.into(),
        r#"{"model":"table","input":[],"upload":{"filename":"f","size_bytes":1}}"#.into(),
        r#"{"model":"table","model":"table","input":[]}"#.into(),
        r#"{"model":"table","input":[],"input":[]}"#.into(),
        r#"{"model":"table","inputs":[]}"#.into(),
        r#"{"model":3,"input":[]}"#.into(),
        r#"{"model":"absent","input":[]}"#.into(),
        r#"{"model":"../../etc","input":[]}"#.into(),
        format!(r#"{{"model":"{}","input":[]}}"#, "x".repeat(200)),
        // The input.
        input("NaN"),
        input(r#"[{"a":NaN,"b":1}]"#),
        input(r#"[{"a":Infinity,"b":1}]"#),
        input("[]"),
        input("{}"),
        input(r#"[{"a":1}]"#),
        input(r#"[{"a":"1","b":2}]"#),
        input(r#"[{"a":1,"b":2,"c":3}]"#),
        input(r#"[{"a":1,"a":1,"b":2}]"#),
        input(r#"[{"a":1,"b":2.5}]"#),
        input(r#"[{"a":1e999,"b":2}]"#),
        input(&deep),
        input(&format!("{deep}{}", "]".repeat(10_000))),
        input("\"[]\""),
        r#"{"model":"small","input":[{"a":1.0000000,"b":2}]}"#.into(),
        // The params.
        r#"{"model":"table","input":[{"a":1,"b":2}],"params":[]}"#.into(),
        r#"{"model":"table","input":[{"a":1,"b":2}],"params":{"rond":true}}"#.into(),
        r#"{"model":"table","input":[{"a":1,"b":2}],"params":{"round":"yes"}}"#.into(),
        // The upload.
        upload(""),
        upload(r#""filename":"f""#),
        upload(r#""filename":"f","size_bytes":0"#),
        upload(r#""filename":"f","size_bytes":-5"#),
        upload(r#""filename":"f","size_bytes":1.5"#),
        upload(r#""filename":"f","size_bytes":"1""#),
        upload(r#""filename":"f","size_bytes":1e300"#),
        upload(r#""filename":"f","size_bytes":67108865"#),
        upload(r#""filename":"f","size_bytes":18446744073709551616"#),
        upload(r#""filename":"f","size_bytes":1,"size":1"#),
        upload(r#""filename":"f","size_bytes":1,"sha256":"abc""#),
        upload(&format!(r#""filename":"f","size_bytes":1,"sha256":"{}""#, "g".repeat(64))),
        upload(r#""filename":"f","size_bytes":1,"content_type":"jpeg""#),
        upload(r#""filename":"f","size_bytes":1,"content_type":"image/jpeg\r\nx-evil: 1""#),
        named(""),
        named("a/b"),
        named("a\\b"),
        named(".."),
        named("a\u{0}b"),
        named("a\nb"),
        named(&"x".repeat(300)),
        named(&"한".repeat(86)),
        r#"{"model":"table","upload":"f"}"#.into(),
        r#"{"model":"table","upload":["f",null,1,null]}"#.into(),
    ];
    let mut lines = Vec::new();
    for body in bodies {
        let shown: String = body.chars().take(90).collect();
        let answer = world.post("/jobs", body, &[]).await;
        assert!(answer.status.is_client_error());
        lines.push(format!("{}\n    {}", shown.escape_debug(), answer.fault()));
    }
    insta::assert_snapshot!(lines.join("\n"));
    let answer = world.post("/jobs", b"{\"model\":\"\xff\"}".to_vec(), &[]).await;
    insta::assert_snapshot!(answer.fault(), @"400 malformed_json: the body is not UTF-8");
    assert_eq!((world.tickets().await, world.sent()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_problem_looks_like_this() {
    let world = World::new();
    insta::assert_snapshot!(world.post("/jobs", "{", &[]).await);
}

#[tokio::test(start_paused = true)]
async fn a_compressed_body_is_refused_by_its_name() {
    let world = World::new();
    let answer = world.post("/jobs", &b"\x1f\x8b\x08"[..], &[("content-encoding", "gzip")]).await;
    insta::assert_snapshot!(answer.fault(), @"415 unsupported_media_type: the body must be sent uncompressed, without Content-Encoding");
}

#[tokio::test(start_paused = true)]
async fn a_key_must_be_printable() {
    let world = World::new();
    for bad in ["", &"k".repeat(256), "a\tb"] {
        let answer = world.post("/jobs", "{}", &[("idempotency-key", bad)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json()["code"], "invalid_idempotency_key");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_must_be_of_the_documented_form() {
    let world = World::new();
    let job = world.inline().await;
    for bad in ["wait=abc", "wait=-1", "wait=1.5", "wait=", "wait=1&wait=2", "wait=%2B1"] {
        let answer = world.get(&format!("/jobs/{job}?{bad}")).await;
        assert_eq!(
            answer.fault(),
            "400 invalid_request: the query's wait must be one whole number of seconds",
            "{bad}"
        );
    }
    let started = tokio::time::Instant::now();
    assert_eq!(world.get(&format!("/jobs/{job}?wait=99999999999999999999")).await.status, StatusCode::OK);
    assert_eq!(started.elapsed().as_secs(), 25);
    assert_eq!(world.get(&format!("/jobs/{job}?other=1")).await.status, StatusCode::OK);
}
