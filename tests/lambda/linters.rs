//! AWS's linters find nothing in the template. Neither needs a network.

use crate::emulator::Tools;
use crate::installed::{PATIENCE, bare, log_of, root};

#[test]
fn the_template_is_clean() {
    let Some(tools) = Tools::installed() else { return };
    let template = root().join("infra/template.yaml");
    let mut sam = bare(&tools.sam);
    sam.args(["validate", "--lint", "--template"]).arg(&template);
    let said = log_of(sam.env("SAM_CLI_TELEMETRY", "0").env("AWS_REGION", "us-east-1"), PATIENCE);
    assert!(said.contains("is a valid SAM Template"), "{said}");
    let mut lint = bare(&tools.cfn_lint);
    // Warnings and notes, too, end it with an error.
    let said = log_of(lint.arg(&template).env("AWS_REGION", "us-east-1"), PATIENCE);
    assert_eq!(said.trim(), "");
}
