//! Statements of IAM policies, and what they allow.

use serde_json::Value;

use super::template::{many, text_of, texts};

/// A statement that allows something; those that deny are left out.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// Whom: `s3.amazonaws.com`, an account, `*`. None in a role's own policy.
    pub principals: Vec<String>,
    /// What, with wildcards.
    pub actions: Vec<String>,
    /// On what, with wildcards.
    pub resources: Vec<String>,
    /// If all of these are met.
    pub conditions: Vec<Condition>,
}

/// One key of a statement's condition.
#[derive(Debug, Clone)]
pub struct Condition {
    /// `StringEquals` and the like.
    pub operator: String,
    /// `aws:SourceArn` and the like.
    pub key: String,
    /// One of these has to be met.
    pub values: Vec<String>,
}

impl Statement {
    /// The statements of a policy document, which may be a JSON text, as SQS gives it.
    pub fn all_of(document: &Value) -> Vec<Self> {
        if let Value::String(text) = document {
            let document: Value = serde_json::from_str(text).unwrap_or_default();
            return if document.is_object() { Self::all_of(&document) } else { Vec::new() };
        }
        let allowing = many(&document["Statement"]).iter().filter(|statement| statement["Effect"] == "Allow");
        allowing.map(Self::of).collect()
    }

    fn of(statement: &Value) -> Self {
        let principals = match &statement["Principal"] {
            Value::Object(kinds) => kinds.values().flat_map(texts).collect(),
            one => texts(one),
        };
        let operators = statement["Condition"].as_object().into_iter().flatten();
        let conditions = operators.flat_map(|(operator, keys)| {
            keys.as_object().into_iter().flatten().map(move |(key, values)| Condition {
                operator: operator.clone(),
                key: key.clone(),
                values: texts(values),
            })
        });
        Self {
            principals,
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            conditions: conditions.collect(),
        }
    }

    /// Whether it lets do this.
    pub fn allows(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &action))
    }

    /// Whether it is for this service.
    pub fn is_for(&self, service: &str) -> bool {
        self.principals.iter().any(|principal| principal == service || principal == "*")
    }

    /// The condition on this key.
    pub fn condition(&self, key: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.key.eq_ignore_ascii_case(key))
    }
}

impl Condition {
    /// Whether its values are compared whole, or as patterns.
    pub fn is_equality(&self) -> bool {
        // `ArnEquals` knows wildcards just as `ArnLike` does.
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
        ["ArnEquals", "ArnLike", "StringEquals", "StringLike", "StringEqualsIgnoreCase"]
            .contains(&self.operator.as_str())
    }
}

/// Whether a pattern with `*` and `?` stands for a text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut texts = text.chars();
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            matches(rest, text) || (texts.next().is_some() && matches(pattern, texts.as_str()))
        }
        Some(first) => {
            let fits = texts.next().is_some_and(|other| first == '?' || first == other);
            fits && matches(&pattern[first.len_utf8()..], texts.as_str())
        }
    }
}

/// The policy of a role that lies in a list of `{ PolicyName, PolicyDocument }`, or of documents as SAM has them. None if one of them
/// is not spelled out.
pub fn of_list(policies: &Value) -> Option<Vec<Statement>> {
    let mut all = Vec::new();
    for policy in many(policies) {
        let document = policy.get("PolicyDocument").unwrap_or(policy);
        if text_of(document).is_some() || document.get("Statement").is_none() {
            return None;
        }
        all.extend(Statement::all_of(document));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_stand_for_texts() {
        for (pattern, text) in [("*", ""), ("*", "a"), ("s3:*", "s3:listbucket"), ("a?c*", "abcd"), ("*-b-*", "a-b-c")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("s3:get*", "s3:listbucket"), ("a?", "a"), ("*b", "abc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_policy_is_read_as_value_and_as_text() {
        let document = json!({"Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"},
            {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": ["SQS:SendMessage"], "Resource": "q",
             "Condition": {"ArnLike": {"AWS:SourceArn": "b"}, "StringEquals": {"aws:SourceAccount": ["1", "2"]}}},
        ]});
        for document in [document.clone(), json!(document.to_string())] {
            let statements = Statement::all_of(&document);
            assert_eq!(statements.len(), 1);
            let statement = &statements[0];
            assert!(statement.allows("sqs:SendMessage") && !statement.allows("sqs:ReceiveMessage"));
            assert!(statement.is_for("s3.amazonaws.com") && !statement.is_for("sns.amazonaws.com"));
            assert_eq!(statement.condition("aws:SourceArn").unwrap().values, ["b"]);
            assert_eq!(statement.condition("aws:sourceaccount").unwrap().values, ["1", "2"]);
        }
        assert!(Statement::all_of(&json!("no JSON")).is_empty());
    }
}
