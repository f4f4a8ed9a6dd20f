//! Elixir's declarations are calls of macros.

use tree_sitter::Node;

use super::Found;
use crate::rules::Kind;

fn source<'t>(text: &'t str, node: Node<'_>) -> &'t str {
    text.get(node.byte_range()).unwrap_or_default()
}

/// `@doc`, `@spec` and the like stand before what they are about.
pub(super) fn is_attribute(text: &str, node: Node<'_>) -> bool {
    node.kind() == "unary_operator"
        && ["@doc", "@spec", "@impl", "@deprecated"].iter().any(|name| source(text, node).starts_with(name))
}

pub(super) fn find<'tree>(text: &str, node: Node<'tree>) -> Option<Found<'tree>> {
    if node.kind() != "call" {
        return None;
    }
    let (kind, container) = match source(text, node.child_by_field_name("target")?) {
        "def" | "defp" | "defdelegate" | "defguard" | "defguardp" => (Kind::Function, false),
        "defmacro" | "defmacrop" => (Kind::Macro, false),
        "defmodule" | "defimpl" => (Kind::Module, true),
        "defprotocol" => (Kind::Interface, true),
        _ => return None,
    };
    Some(Found { kind, container, node, name: None })
}

pub(super) fn name(text: &str, node: Node<'_>) -> Option<String> {
    let mut cursor = node.walk();
    let arguments = node.named_children(&mut cursor).find(|child| child.kind() == "arguments")?;
    let mut node = arguments.named_child(0)?;
    // `def f(x) when …`, `def f(x)`
    loop {
        node = match node.kind() {
            "binary_operator" => node.child_by_field_name("left")?,
            "call" => node.child_by_field_name("target")?,
            _ => return Some(source(text, node).to_owned()),
        };
    }
}
