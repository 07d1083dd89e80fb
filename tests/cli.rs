//! What people see of the command line, and its exit codes.

mod support;

use std::path::Path;
use std::process::Command;

use cloud::Queue;
use support::{Up, root};

/// Runs `millpond` in `dir`; what it printed and its exit code, as one text.
fn screen(dir: &Path, endpoint: &str, line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(line.split_whitespace())
        .current_dir(dir)
        .env("MILLPOND_ENDPOINT", endpoint)
        .env("MILLPOND_CONFIG", dir.join("config.toml"))
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    format!("$ millpond {line}\n{out}{err}[exit code {code}]\n")
}

/// A folder with a configuration, an empty file, models and model files.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let reference = root().join("crates/infer/tests/reference/3.2.0");
    let wine = root().join("models/wine-quality/1/model.ubj");
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    std::fs::write(dir.path().join("empty.json"), "").unwrap();
    std::fs::write(dir.path().join("bad.json"), "[{").unwrap();
    std::fs::copy(wine, dir.path().join("wine.ubj")).unwrap();
    std::fs::copy(reference.join("binary.json"), dir.path().join("binary.json")).unwrap();
    let small = root().join("crates/infer/tests/reference/names/small.pth");
    std::fs::copy(small, dir.path().join("small.pth")).unwrap();
    std::fs::write(dir.path().join("alphabet.txt"), "aeiknorstAKS'é\n").unwrap();
    std::fs::copy(root().join("samples/wine-quality/wines.json"), dir.path().join("wines.json")).unwrap();
    dir
}

/// No port that anything listens on: the discard service's, of a loopback address that is nobody's.
const NOWHERE: &str = "http://127.9.9.9:9";

#[test]
fn help() {
    let dir = folder();
    for (name, line) in [
        ("help", "--help"),
        ("help_up", "up --help"),
        ("help_submit", "submit --help"),
        ("help_worker", "worker --help"),
        ("help_add", "models add --help"),
        ("help_push", "models push --help"),
        ("help_alias", "models alias --help"),
        ("help_keys_add", "keys add --help"),
        ("help_redrive", "dead-letters redrive --help"),
        ("help_doctor", "doctor --help"),
    ] {
        insta::assert_snapshot!(name, screen(dir.path(), NOWHERE, line));
    }
}

#[test]
fn faults_without_a_server() {
    let dir = folder();
    let lines = [
        "",
        "status nonsense",
        "status aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "submit absent.json --model m",
        "submit . --model m",
        "submit wines.json --model m --param x",
        "demo",
        "models list",
        "models check",
        "up --listen 0.0.0.0:0",
        "up --keys absent.json --listen 127.0.0.1:0 --s3-listen 127.0.0.1:0 --sqs-listen 127.0.0.1:0 --models .",
        "keys list --keys absent.json",
        "keys revoke 1234 --keys absent.json",
        "keys add --keys s3://bucket --tenant t",
        "keys add --tenant t --rate 0",
        "worker --queue-url x",
        "worker --endpoints absent.json",
    ];
    let screens: Vec<String> = lines.iter().map(|line| screen(dir.path(), NOWHERE, line)).collect();
    insta::assert_snapshot!(screens.join("\n"));
}

/// What the doctor shows of a template: what breaks and how to mend it, what it could not look at, and how it was called wrongly.
#[test]
fn doctor() {
    let dir = folder();
    let template = std::fs::read_to_string(root().join("infra/template.yaml")).unwrap();
    std::fs::write(dir.path().join("good.yaml"), &template).unwrap();
    let bad = [
        ("maxReceiveCount: 10", "maxReceiveCount: 3"),
        ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: !ImportValue Days"),
        ("    DependsOn: JobQueuePolicy\n", ""),
        ("SSEAlgorithm: AES256", "SSEAlgorithm: aws:kms"),
    ];
    let bad = bad.iter().fold(template, |text, (from, to)| text.replacen(from, to, 1));
    std::fs::write(dir.path().join("bad.yaml"), bad).unwrap();
    std::fs::write(dir.path().join("damaged.yaml"), "Resources:\n  A: [1, 2\n  B: 3\n").unwrap();
    std::fs::write(dir.path().join("foreign.yaml"), "Resources: { A: { Type: AWS::SQS::Queue } }").unwrap();
    let lines = [
        "doctor --template good.yaml",
        "doctor --template bad.yaml",
        "doctor --template bad.yaml --json",
        "doctor --template good.yaml --parameter WorkerTimeout=7",
        "doctor --template good.yaml --parameter Colour=red",
        "doctor --template good.yaml --parameter Colour",
        "doctor --template damaged.yaml",
        "doctor --template foreign.yaml",
        "doctor --template absent.yaml",
        "doctor --template good.yaml --probe",
        "doctor --parameter A=b",
        "doctor",
        "doctor --queue-url x",
    ];
    let screens: Vec<String> = lines.iter().map(|line| screen(dir.path(), NOWHERE, line)).collect();
    insta::assert_snapshot!(screens.join("\n"));
}

/// Keys are made, listed and revoked; a server that has them asks for one, and the commands send the one they are given.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_keys_lets_in_their_holders() {
    let (dir, data) = (folder(), tempfile::tempdir().unwrap());
    let run = |line: &str, endpoint: &str, key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
        command.args(line.split_whitespace()).current_dir(dir.path());
        command.env("MILLPOND_ENDPOINT", endpoint).env("MILLPOND_CONFIG", dir.path().join("config.toml"));
        match key {
            Some(key) => command.env("MILLPOND_API_KEY", key),
            None => command.env_remove("MILLPOND_API_KEY"),
        };
        let output = command.output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        (output.status.success(), out, String::from_utf8(output.stderr).unwrap())
    };
    let add = |line: &str| {
        let (succeeded, key, said) = run(line, NOWHERE, None);
        assert!(succeeded && key.starts_with("mp_") && said.contains("It is shown this once."), "{said}");
        assert!(!said.contains(&key), "the key is on stdout alone");
        key
    };
    let (mine, theirs) = (add("keys add --tenant mine --note laptop"), add("keys add --tenant theirs --rate 50"));
    let (_, listed, _) = run("keys list", NOWHERE, None);
    assert!(listed.contains("laptop") && listed.contains("theirs") && !listed.contains(&mine), "{listed}");

    let keys = dir.path().join("keys.json");
    let up = Up::start_with(data.path(), &root().join("models"), &["--keys", keys.to_str().unwrap()]).await;
    let api = up.text("api");
    let (succeeded, _, said) = run("submit wines.json --model wine-quality --wait", api, None);
    assert!(!succeeded && said.contains("send an API key"), "{said}");
    let (succeeded, job, said) = run("submit wines.json --model wine-quality", api, Some(&mine));
    assert!(succeeded, "{said}");
    let (succeeded, _, said) = run(&format!("wait {job}"), api, Some(&mine));
    assert!(succeeded, "{said}");
    let (succeeded, _, said) = run(&format!("status {job}"), api, Some(&theirs));
    assert!(!succeeded && said.contains("no job of yours"), "{said}");

    let id = mine.split('_').nth(1).unwrap();
    assert!(run(&format!("keys revoke {id}"), NOWHERE, None).0);
    let (succeeded, _, said) = run(&format!("keys revoke {id}"), NOWHERE, None);
    assert!(!succeeded && said.contains(&format!("there is no key {id}")), "{said}");
    assert!(!run("keys list", NOWHERE, None).1.contains("mine"));
}

/// What was given up is listed and shown, and sent again; a sweep says what it found.
#[tokio::test(flavor = "multi_thread")]
async fn given_up_messages_are_listed_and_sent_again() {
    let (dir, data) = (folder(), tempfile::tempdir().unwrap());
    let up = Up::start(data.path()).await;
    let at = format!("--endpoints {}", data.path().join("endpoints.json").display());
    let run = |line: &str| screen(dir.path(), up.text("api"), &format!("{line} {at}"));
    assert!(run("dead-letters list").contains("No message was given up."));
    assert!(run("sweep").contains("0 open jobs"));

    let aws = up.aws().await;
    let queue = aws.queue(up.text("dead_letter_queue_url"));
    let cloud::MessageId(sent) = queue.send("no job", None, std::time::Duration::ZERO).await.unwrap();
    let deadline = std::time::Instant::now() + support::PATIENCE;
    let listed = loop {
        let listed = run("dead-letters list");
        if listed.contains(&sent) {
            break listed;
        }
        assert!(std::time::Instant::now() < deadline, "{listed}\n{}", up.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(listed.contains(" none "), "{listed}");
    let shown = run(&format!("dead-letters show {sent}"));
    assert!(shown.contains("\"body\": \"no job\""), "{shown}");
    let absent = run("dead-letters show nothing");
    assert!(absent.contains("no message \"nothing\" was given up") && absent.contains("[exit code 1]"), "{absent}");
    let redriven = run(&format!("dead-letters redrive {sent}"));
    assert!(redriven.contains("was sent again") && redriven.contains("[exit code 0]"), "{redriven}");
    assert!(run("dead-letters list").contains("No message was given up."));
}

#[test]
fn models_are_added_listed_and_checked() {
    let dir = folder();
    let lines = [
        "models add wine.ubj --name wine",
        "models add wine.ubj --name wine --title Wine",
        "models add wine.ubj --name wine --version 2",
        "models add wine.ubj --name Wine",
        "models add wine.ubj --name wine --labels a,b",
        "models add wines.json --name x",
        "models add binary.json --name x",
        "models add binary.json --name x --features a,b",
        "models add binary.json --name x --features a,b,c,d,e,f,g,h,i,j --labels no,yes,maybe",
        "models add binary.json --name x --features a,b,c,d,e,f,g,h,i,j --labels no,yes",
        "models add small.pth --name y",
        "models add small.pth --name y --task nonsense",
        "models add small.pth --name y --task names",
        "models add small.pth --name y --task names --alphabet alphabet.txt",
        "models add small.pth --name y --task names --alphabet abc --categories Elvish,Dwarvish,Orcish",
        "models add small.pth --name y --task names --alphabet aeiknorstAKS'é --categories Elvish,Dwarvish,Orcish",
        "models add small.pth --name y --task names --alphabet alphabet.txt --categories Elvish,Dwarvish,Orcish",
        "models add alphabet.txt --name y --task names",
        "models list",
        "models list --json",
        "models check",
    ];
    let screens: Vec<String> = lines.iter().map(|line| screen(dir.path(), NOWHERE, line)).collect();
    insta::assert_snapshot!(screens.join("\n"));

    // A bundle that was damaged is found.
    let file = dir.path().join("models/x/1/model.json");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "\n").unwrap();
    let name = dir.path().join("models/wine/2/model.toml");
    std::fs::write(&name, std::fs::read_to_string(&name).unwrap().replacen("wine", "whine", 1)).unwrap();
    insta::assert_snapshot!("damaged", screen(dir.path(), NOWHERE, "models check"));
}

#[test]
fn models_are_pushed_to_a_folder() {
    let dir = folder();
    let lines = [
        "models push --to served",
        "models add wine.ubj --name wine",
        "models add wine.ubj --name wine",
        "models push wine@1 --to served",
        "models push wine --to served --no-alias --json",
        "models list --models served",
        "models push --to served --json",
        "models push --to served",
        "models push wine@1 --to served",
        "models alias wine 1 --models served",
        "models alias wine 1 --models served --json",
        "models alias wine 7 --models served",
        "models alias wine 1 --models absent",
        "models push absent --to served",
        "models push wine@9 --to served",
        "models push Wine --to served",
        "models push wine --to s3:///x",
        "models push wine --to s3://b --endpoints absent.json",
        "models push wine",
    ];
    let screens: Vec<String> = lines.iter().map(|line| screen(dir.path(), NOWHERE, line)).collect();
    insta::assert_snapshot!(screens.join("\n"));

    // Other bytes under a version that is there, and a bundle that does not pass its own check.
    let file = dir.path().join("models/wine/2/model.toml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, manifest.replacen("title = \"", "title = \"Another ", 1)).unwrap();
    let changed = screen(dir.path(), NOWHERE, "models push wine --to served");
    std::fs::write(dir.path().join("models/wine/2/model.ubj"), "").unwrap();
    let broken = screen(dir.path(), NOWHERE, "models push wine --to served");
    insta::assert_snapshot!("refused_pushes", format!("{changed}\n{broken}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_server() {
    let (dir, data) = (folder(), tempfile::tempdir().unwrap());
    let up = Up::start(data.path()).await;
    let lines = [
        "submit wines.json --model wine-quality --wait",
        "submit wines.json --model wine-quality --output answer.json",
        "submit wines.json --model absent",
        "submit empty.json --model wine-quality",
        "submit bad.json --model wine-quality --wait",
        "submit wines.json --model wine-quality --param x=1",
        "status aaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    let screens: Vec<String> =
        lines.iter().map(|line| without_ids(&screen(dir.path(), up.text("api"), line))).collect();
    insta::assert_snapshot!(screens.join("\n"));
    let answer = std::fs::read(dir.path().join("answer.json")).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&answer).unwrap(), support::wines_expected());

    // The job's id alone goes to standard output, so that scripts can keep it.
    let submitted = Command::new(env!("CARGO_BIN_EXE_millpond"))
        .args(["submit", "wines.json", "--model", "wine-quality", "--endpoint", up.text("api")])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let id = String::from_utf8(submitted.stdout).unwrap();
    let id = id.trim();
    let lines = ["wait ID", "status ID", "cancel ID"].map(|line| line.replace("ID", id));
    let screens: Vec<String> =
        lines.iter().map(|line| without_ids(&screen(dir.path(), up.text("api"), line))).collect();
    insta::assert_snapshot!("one_job", screens.join("\n"));
    let json = screen(dir.path(), up.text("api"), &format!("status {id} --json"));
    assert!(json.contains(r#""state":"succeeded""#), "{json}");
    let retried = screen(dir.path(), up.text("api"), &format!("retry {id}"));
    assert!(retried.contains("[exit code 0]") && !retried.contains(&format!("\n{id}")), "a new job: {retried}");
}

#[test]
fn demo_shows_every_answer_and_fails_on_a_wrong_one() {
    let dir = folder();
    let copied = Command::new("cp").arg("-r").arg(root().join("samples")).arg(dir.path()).status().unwrap();
    assert!(copied.success());
    let line = format!("demo --models {}", root().join("models").display());
    let good = screen(dir.path(), NOWHERE, &line);
    for way in ["uploaded", "inline", "dropped"] {
        assert!(good.contains(&format!("✓ wine-quality ({way})")), "{good}");
    }
    assert!(good.contains("every answer is the expected one") && good.contains("[exit code 0]"), "{good}");
    assert!(good.contains("the answer of line-art is millpond-demo/line-art.png"), "{good}");
    let drawing = std::fs::read(dir.path().join("millpond-demo/line-art.png")).unwrap();
    let expected = std::fs::read(dir.path().join("samples/line-art/expected.png")).unwrap();
    assert!(infer::picture_difference(&drawing, &expected).unwrap() <= 1.0);

    std::fs::write(dir.path().join("samples/wine-quality/expected.json"), "[1.5, 2.5]").unwrap();
    let wrong = screen(dir.path(), NOWHERE, &line);
    assert!(wrong.contains("✗ wine-quality (dropped)") && wrong.contains("✗ expected [1.5,2.5]"), "{wrong}");
    assert!(
        wrong.contains("error: 3 of the answers are not the expected ones") && wrong.contains("[exit code 1]"),
        "{wrong}"
    );
}

/// A second `up` on the same data, or on the same port, says what to do, and so does one on damaged data.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_is_refused_and_so_is_damaged_data() {
    let (dir, data) = (folder(), tempfile::tempdir().unwrap());
    let up = Up::start(data.path()).await;
    let models = root().join("models");
    let any = "--s3-listen 127.0.0.1:0 --sqs-listen 127.0.0.1:0";
    let same_data =
        format!("up {any} --listen 127.0.0.1:0 --models {} --data {}", models.display(), data.path().display());
    let screen_of_data = screen(dir.path(), NOWHERE, &same_data);
    assert!(
        screen_of_data.contains("stop the other `millpond up`") && screen_of_data.contains("[exit code 1]"),
        "{screen_of_data}"
    );
    let port = up.text("api").rsplit_once(':').unwrap().1.to_owned();
    let same_port = format!("up {any} --listen 127.0.0.1:{port} --models {}", models.display());
    let screen_of_port = screen(dir.path(), NOWHERE, &same_port);
    assert!(
        screen_of_port.contains("choose one with --listen") && screen_of_port.contains("[exit code 1]"),
        "{screen_of_port}"
    );

    drop(up);
    let database = data.path().join("cloud/cloud.sqlite3");
    std::fs::write(&database, "no database").unwrap();
    let screen_of_damage = screen(dir.path(), NOWHERE, &same_data);
    assert!(
        screen_of_damage.contains(&format!("the database {} is damaged", database.display()))
            && screen_of_damage.contains("restore a copy of its directory, or move that away to begin anew")
            && screen_of_damage.contains("[exit code 1]"),
        "{screen_of_damage}"
    );
    assert_eq!(std::fs::read_to_string(&database).unwrap(), "no database");
}

/// Job ids are 26 characters of base32; nothing else in these screens is.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 26 && word.parse::<job::JobId>().is_ok() && word != "a".repeat(26);
    let parts = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    parts
        .map(|part| {
            let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            if is_id(word) { part.replace(word, "<id>") } else { part.to_owned() }
        })
        .collect()
}
