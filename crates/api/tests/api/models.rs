//! `GET /models` and `GET /models/{name}`.

use axum::http::StatusCode;

use crate::support::{World, publish};

const TRAINED: &str = r#"
[training]
rows = 4872
rmse = 0.6120
trained_on = 2026-05-01
worst = inf
data = { source = "UCI", splits = [0.75, 0.25] }
[[golden]]
input = '[{"a":1.50,"b":2}]'
output = '[6.573914051055908]'
"#;

#[tokio::test(start_paused = true)]
async fn models_are_listed_and_a_broken_one_hides_no_other() {
    let world = World::new();
    publish(world.models.path(), "other", "1", "");
    std::fs::create_dir_all(world.models.path().join("broken/1")).unwrap();
    std::fs::write(world.models.path().join("broken/1/model.toml"), "format = 1").unwrap();
    std::fs::create_dir_all(world.models.path().join("empty")).unwrap();
    insta::assert_snapshot!(world.get("/models").await);
    insta::assert_snapshot!("broken", world.get("/models/broken").await);
}

#[tokio::test(start_paused = true)]
async fn a_model_is_described() {
    let world = World::new();
    for version in ["9", "10"] {
        publish(world.models.path(), "table", version, TRAINED);
    }
    let answer = world.get("/models/table").await;
    insta::assert_snapshot!(answer);
    assert!(answer.body.contains(r#"[{"a":1.50,"b":2}]"#), "the example is the bundle's own text");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_model_is_unknown() {
    let world = World::new();
    for name in ["absent", "Table", "..", "%2e%2e%2ftable", "%ff"] {
        let answer = world.get(&format!("/models/{name}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::NOT_FOUND, &"unknown_model".into()), "{name}");
    }
}
