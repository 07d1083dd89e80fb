//! What `docs/deploy.md` says: its commands, what one sees after them, and the names that it uses.

use crate::support::root;

/// A block of commands.
pub struct Block {
    pub commands: String,
    /// Lines that one sees afterwards; `…` stands for what differs.
    pub seen: Vec<String>,
}

pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// The document's blocks, in order. Nothing that looks like a command may hide from them.
pub fn blocks() -> Vec<Block> {
    let document = text("docs/deploy.md");
    let mut blocks: Vec<Block> = Vec::new();
    let mut parts = document.split("```");
    let mut between = parts.next().expect("prose");
    while let Some(fenced) = parts.next() {
        let (language, body) = fenced.split_once('\n').expect("a block");
        match language {
            "sh" => blocks.push(Block { commands: body.to_owned(), seen: Vec::new() }),
            "text" => {
                assert_eq!(between.trim(), "", "what one sees stands right under its commands: {body}");
                blocks.last_mut().expect("commands").seen = body.lines().map(str::to_owned).collect();
            }
            other => panic!("a block of an unknown kind, {other:?}: {body}"),
        }
        between = parts.next().expect("every block ends");
        assert!(!between.contains("\n    "), "commands in a block that is only indented are not run: {between}");
    }
    blocks
}

/// Whether one of the lines that were printed is like `expected`.
pub fn is_seen(printed: &str, expected: &str) -> bool {
    let parts: Vec<&str> = expected.split('…').map(str::trim).collect();
    printed.lines().any(|line| {
        let mut rest = Some(line);
        for part in &parts {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
        }
        rest.is_some()
    })
}

/// The names right below a top-level key of the template.
pub fn template_names(section: &str) -> Vec<String> {
    let template = text("infra/template.yaml");
    let lines = template.lines().skip_while(|line| *line != format!("{section}:")).skip(1);
    let inside = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let names = inside.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let names: Vec<String> = names.filter(|name| !name.starts_with([' ', '#'])).map(str::to_owned).collect();
    assert!(!names.is_empty(), "the template has no {section}");
    names
}

/// What stands between each `before` and the next character that no name has.
pub fn words_after<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}
