//! What JavaScript gives a name to: functions and objects that are values.

use tree_sitter::Node;

use super::Found;
use crate::rules::Kind;

/// A function, a class, an object with methods; or a call that is given one of these last, as in
/// `memo(() => …)`, `Base.extend({ … })`, `new Class({ … })`.
pub(super) fn value<'tree>(text: &str, node: Node<'tree>) -> Option<Found<'tree>> {
    let (kind, container) = match node.kind() {
        "arrow_function" | "function_expression" | "generator_function" => (Kind::Function, false),
        "class" => (Kind::Class, true),
        "object" if has_methods(node, true) => (Kind::Class, true),
        "call_expression" | "new_expression" => {
            let arguments = node.child_by_field_name("arguments").filter(|node| node.kind() == "arguments")?;
            let last = last_of(arguments)?;
            // Not calls within calls: chains of promises give no name to their steps.
            let found = value(text, last).filter(|_| !matches!(last.kind(), "call_expression" | "new_expression"))?;
            let first = arguments.named_child(0).filter(|first| first.kind() == "string");
            let name = first.and_then(|first| text.get(first.byte_range()));
            return Some(Found { name: name.map(|name| name.trim_matches(['"', '\'']).to_owned()), ..found });
        }
        _ => return None,
    };
    Some(Found { kind, container, node, name: None })
}

/// With a body of statements: short functions of settings are not worth a chunk. Frameworks group methods in an
/// object of the object: `members: { … }`, `methods: { … }`.
fn has_methods(object: Node<'_>, deeper: bool) -> bool {
    let mut cursor = object.walk();
    object.named_children(&mut cursor).any(|member| {
        let value = if member.kind() == "pair" { member.child_by_field_name("value") } else { Some(member) };
        let Some(value) = value else { return false };
        match value.kind() {
            "method_definition" | "function_expression" | "arrow_function" => {
                value.child_by_field_name("body").is_some_and(|body| body.kind() == "statement_block")
            }
            "object" => deeper && has_methods(value, false),
            _ => false,
        }
    })
}

/// The body of a function that is there to hold a module: `(function () { … })()`, `define([…], function () { … })`.
pub(super) fn module_body<'tree>(text: &str, statement: Node<'tree>) -> Option<Node<'tree>> {
    let mut node = statement.named_child(0).filter(|_| statement.kind() == "expression_statement")?;
    while matches!(node.kind(), "parenthesized_expression" | "unary_expression") {
        node = node.named_child(0)?;
    }
    let mut callee = node.child_by_field_name("function").filter(|_| node.kind() == "call_expression")?;
    let arguments = node.child_by_field_name("arguments")?;
    let name = text.get(callee.byte_range())?;
    if name == "define" || name.ends_with(".define") || name == "require" {
        return function_body(last_of(arguments)?);
    }
    // `(function () { … }).call(this)`, and what is given to a small loader (UMD).
    if callee.kind() == "member_expression" {
        callee = callee.child_by_field_name("object")?;
    }
    while callee.kind() == "parenthesized_expression" {
        callee = callee.named_child(0)?;
    }
    let own = function_body(callee)?;
    Some(last_of(arguments).and_then(function_body).unwrap_or(own))
}

fn function_body(node: Node<'_>) -> Option<Node<'_>> {
    let is_function = matches!(node.kind(), "function_expression" | "arrow_function");
    node.child_by_field_name("body").filter(|body| is_function && body.kind() == "statement_block")
}

fn last_of(arguments: Node<'_>) -> Option<Node<'_>> {
    let mut cursor = arguments.walk();
    arguments.named_children(&mut cursor).filter(|argument| argument.kind() != "comment").last()
}
