//! From a syntax tree to units: where each begins and ends, what it is called, what is said about it.

mod elixir;
mod javascript;

use std::ops::Range;

use tree_sitter::Node;

use crate::docs;
use crate::language::Language;
use crate::rules::{Kind, Role, role};

/// Containers within containers that are looked into; deeper ones are taken whole.
const MAX_DEPTH: usize = 32;

/// As much of a signature as is kept, in bytes.
const MAX_SIGNATURE: usize = 400;

/// A declaration that is a chunk of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) kind: Kind,
    pub(crate) name: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) doc: Option<String>,
    /// Where its documentation stands, in order, in bytes of the text.
    pub(crate) docs: Vec<Range<usize>>,
    /// The names of what it lies in, outermost first.
    pub(crate) inside: Vec<String>,
}

/// A part of the text, up to the beginning of the next one.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) at: usize,
    /// `None` for what lies between units.
    pub(crate) unit: Option<Unit>,
}

/// Cuts in order; the first is at 0.
pub(crate) fn cuts(text: &str, language: Language, root: Node<'_>) -> Vec<Cut> {
    let mut walk = Walk { text, language, cuts: vec![Cut { at: 0, unit: None }] };
    walk.body(root, &mut Vec::new(), None, 0);
    walk.cuts
}

struct Walk<'t> {
    text: &'t str,
    language: Language,
    cuts: Vec<Cut>,
}

/// What stands right before a declaration: comments, attributes.
struct Lead {
    range: Range<usize>,
    /// Those of it that say something about the declaration.
    docs: Vec<Range<usize>>,
}

/// A declaration that was found below a child of a body.
struct Found<'tree> {
    kind: Kind,
    container: bool,
    node: Node<'tree>,
    /// Where the node itself does not say.
    name: Option<String>,
}

impl Walk<'_> {
    /// Goes through the children of a body. `inside` are the names of what the body belongs to.
    fn body(&mut self, body: Node<'_>, inside: &mut Vec<String>, parent: Option<Kind>, depth: usize) {
        let mut cursor = body.walk();
        // Ruby has the comments before the first member of a class beside its body, not in it.
        let mut children = before_body(body);
        children.extend(body.named_children(&mut cursor));
        let mut lead: Option<Lead> = None;
        let mut last_end = body.start_byte();
        for (index, &child) in children.iter().enumerate() {
            let own_role = self.role(child);
            if own_role == Role::Lead {
                let starts_line = self.gap(last_end, child.start_byte()).contains('\n') || index == 0;
                lead = lead.filter(|lead| !self.is_apart(lead.range.end, child.start_byte()));
                if lead.is_none() && starts_line {
                    lead = Some(Lead { range: child.byte_range(), docs: Vec::new() });
                }
                if let Some(lead) = &mut lead {
                    lead.range.end = child.end_byte();
                    if self.is_documentation(child) {
                        // Rust's end with the line.
                        let end = child.start_byte() + self.source(child).trim_end().len();
                        lead.docs.push(child.start_byte()..end);
                    }
                }
                last_end = child.end_byte();
                continue;
            }
            let lead = lead.take().filter(|lead| !self.is_apart(lead.range.end, child.start_byte()));
            let transparent = match own_role {
                Role::Transparent => Some(child),
                Role::Wrapper if self.is_javascript() => javascript::module_body(self.text, child),
                _ => None,
            };
            if let Some(body) = transparent.filter(|_| depth < MAX_DEPTH) {
                self.body(body, inside, parent, depth + 1);
            } else if let Some(found) = self.find(child, own_role) {
                let next = children.get(index + 1).copied();
                self.declaration(child, found, lead, next, inside, parent, depth);
            }
            last_end = child.end_byte();
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn declaration(
        &mut self,
        outer: Node<'_>,
        found: Found<'_>,
        lead: Option<Lead>,
        next: Option<Node<'_>>,
        inside: &mut Vec<String>,
        parent: Option<Kind>,
        depth: usize,
    ) {
        let Found { kind, container, node, name } = found;
        let name = name.or_else(|| self.name(node));
        let kind = match (kind, parent) {
            (Kind::Function, Some(Kind::Class | Kind::Interface | Kind::Implementation | Kind::Enum)) => Kind::Method,
            (kind, _) => kind,
        };
        let body = body_of(node);
        let start = lead.as_ref().map_or(outer.start_byte(), |lead| lead.range.start);
        let mut docs = lead.map(|lead| lead.docs).unwrap_or_default();
        let comments: Vec<&str> = docs.iter().map(|range| self.gap(range.start, range.end)).collect();
        let mut doc = docs::of_comments(&comments.join("\n"), self.language);
        if let Some(range) = docs::within(self.text, self.language, body) {
            doc = doc.or_else(|| docs::of_body(self.gap(range.start, range.end), self.language));
            docs.push(range);
        }
        if self.language == Language::Python && !container {
            docs.extend(docs::nested(self.text, node));
        }
        let unit = Unit {
            kind,
            signature: self.signature(outer, node, body),
            doc,
            docs,
            inside: inside.clone(),
            name: name.clone(),
        };
        self.cut(start, Some(unit));
        if container
            && depth < MAX_DEPTH
            && let Some(body) = body
        {
            inside.push(name.unwrap_or_default());
            self.body(body, inside, Some(kind), depth + 1);
            inside.pop();
        }
        self.cut(self.end_of(outer, next), None);
    }

    fn cut(&mut self, at: usize, unit: Option<Unit>) {
        // A grammar that sees bytes may end a token inside of a character.
        let at = (at..).find(|at| self.text.is_char_boundary(*at)).unwrap_or(self.text.len());
        match self.cuts.last_mut() {
            // What would be empty is not begun.
            Some(last) if last.at == at => last.unit = unit,
            // A tree with errors may lie about its order.
            Some(last) if last.at > at => {}
            _ => self.cuts.push(Cut { at, unit }),
        }
    }

    /// With what closes it on the same line: `;`, a comma, a comment.
    fn end_of(&self, outer: Node<'_>, next: Option<Node<'_>>) -> usize {
        let mut end = outer.end_byte();
        let rest = self.text.get(end..).unwrap_or_default();
        let closers = rest.len() - rest.trim_start_matches([';', ',', ' ', '\t']).len();
        end += rest[..closers].trim_end().len();
        match next {
            Some(next) if self.role(next) == Role::Lead && !self.gap(end, next.start_byte()).contains('\n') => {
                next.end_byte()
            }
            _ => end,
        }
    }

    fn is_javascript(&self) -> bool {
        matches!(self.language, Language::JavaScript | Language::TypeScript | Language::Tsx)
    }

    fn role(&self, node: Node<'_>) -> Role {
        if self.language == Language::Elixir && elixir::is_attribute(self.text, node) {
            return Role::Lead;
        }
        role(self.language, node.kind())
    }

    /// Whether something before a declaration says what it is about: comments and Elixir's `@doc`, not attributes.
    fn is_documentation(&self, lead: Node<'_>) -> bool {
        lead.kind().contains("comment") || self.language == Language::Elixir && self.source(lead).starts_with("@doc ")
    }

    /// The declaration that a child of a body is, or holds.
    fn find<'tree>(&self, node: Node<'tree>, own_role: Role) -> Option<Found<'tree>> {
        match own_role {
            Role::Unit(kind) => Some(Found { kind, container: false, node, name: None }),
            // Without a body it only names something that stands elsewhere; C#'s records need none.
            Role::Container(kind) if body_of(node).is_some() => Some(Found { kind, container: true, node, name: None }),
            Role::Container(kind) if node.kind() == "record_declaration" => {
                Some(Found { kind, container: false, node, name: None })
            }
            Role::Container(_) => None,
            Role::Wrapper => {
                let mut cursor = node.walk();
                let children: Vec<Node<'_>> = node.named_children(&mut cursor).collect();
                children.into_iter().find_map(|child| self.find(child, self.role(child)))
            }
            Role::Other if self.is_javascript() => self.find_value(node),
            Role::Other if self.language == Language::Elixir => elixir::find(self.text, node),
            Role::Other => None,
            Role::Transparent | Role::Lead => None,
        }
    }

    /// JavaScript: `const f = () => …`, `exports.f = function …`, `f = () => …` in a class, `f: function …` in an object.
    fn find_value<'tree>(&self, node: Node<'tree>) -> Option<Found<'tree>> {
        let (name, value) = match node.kind() {
            "lexical_declaration" | "variable_declaration" => {
                let declarator = node.named_child(0).filter(|child| child.kind() == "variable_declarator")?;
                (declarator.child_by_field_name("name")?, declarator.child_by_field_name("value")?)
            }
            "assignment_expression" => (node.child_by_field_name("left")?, node.child_by_field_name("right")?),
            "field_definition" | "public_field_definition" => {
                let name = node.child_by_field_name("name").or_else(|| node.child_by_field_name("property"))?;
                (name, node.child_by_field_name("value")?)
            }
            "pair" => (node.child_by_field_name("key")?, node.child_by_field_name("value")?),
            // `export default { … }`, `Class.define("Name", { … })`
            "object" | "call_expression" => return javascript::value(self.text, node).filter(|found| found.container),
            _ => return None,
        };
        let name = Some(self.source(name).to_owned());
        javascript::value(self.text, value).map(|found| Found { name, ..found })
    }

    fn name(&self, node: Node<'_>) -> Option<String> {
        if self.language == Language::Elixir {
            return elixir::name(self.text, node);
        }
        let named = node.child_by_field_name("name").map(|name| self.source(name).to_owned());
        named.or_else(|| match (self.language, node.kind()) {
            (Language::Rust, "impl_item") => {
                let ty = self.source(node.child_by_field_name("type")?);
                Some(match node.child_by_field_name("trait") {
                    Some(of) => format!("{} for {ty}", self.source(of)),
                    None => ty.to_owned(),
                })
            }
            (Language::Go, "type_declaration") => {
                Some(self.source(node.named_child(0)?.child_by_field_name("name")?).to_owned())
            }
            (Language::C | Language::Cpp, _) => self.declared(node),
            _ => None,
        })
    }

    /// C: the name is inside of pointers, arrays and parameter lists.
    fn declared(&self, node: Node<'_>) -> Option<String> {
        let mut node = node.child_by_field_name("declarator")?;
        while let Some(inner) = node.child_by_field_name("declarator").or_else(|| {
            matches!(node.kind(), "reference_declarator" | "parenthesized_declarator")
                .then(|| node.named_child(0))
                .flatten()
        }) {
            node = inner;
        }
        Some(self.source(node).to_owned())
    }

    fn signature(&self, outer: Node<'_>, node: Node<'_>, body: Option<Node<'_>>) -> Option<String> {
        // Decorators and attributes are no part of it, `export` and `template` are.
        let decorated = outer.kind() == "decorated_definition";
        let outermost = if decorated || outer.start_byte() > node.start_byte() { node } else { outer };
        let start = after_attributes(outermost);
        let text = match body {
            Some(body) if body.start_byte() > start => self.gap(start, body.start_byte()),
            _ => self.gap(start, node.end_byte()).lines().next()?,
        };
        // Go: the first of `type ( … )`.
        let grouped = self.language == Language::Go && text.trim_end() == "type (";
        let text = match node.named_child(0).filter(|_| grouped) {
            Some(first) => self.source(first).lines().next()?,
            None => text,
        };
        let mut signature = String::new();
        for word in text.split_whitespace() {
            if signature.len() + word.len() > MAX_SIGNATURE {
                break;
            }
            if !signature.is_empty() {
                signature.push(' ');
            }
            signature.push_str(word);
        }
        let trimmed = signature
            .trim_end_matches(['{', ':', ' ', '(', ',', '=', '\\'])
            .trim_end_matches("=>")
            .trim_end_matches(" do");
        let trimmed = trimmed.trim_end();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    fn source(&self, node: Node<'_>) -> &str {
        self.gap(node.start_byte(), node.end_byte())
    }

    fn gap(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Whether an empty line lies between.
    fn is_apart(&self, end: usize, start: usize) -> bool {
        // The last piece is the beginning of the line on which the next thing stands.
        let between = self.gap(end, start).rsplit_once('\n').map_or("", |(lines, _)| lines);
        between.split('\n').skip(1).any(|line| line.trim().is_empty())
    }
}

/// The comments between the head of a declaration and its body.
fn before_body(body: Node<'_>) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    let mut node = body;
    while let Some(previous) = node.prev_named_sibling().filter(|previous| previous.kind() == "comment") {
        found.push(previous);
        node = previous;
    }
    found.reverse();
    found
}

/// Where a declaration begins that may have attributes or annotations among its modifiers.
fn after_attributes(node: Node<'_>) -> usize {
    let is_attribute = |node: &Node<'_>| {
        matches!(node.kind(), "attribute_list" | "marker_annotation" | "annotation" | "decorator" | "line_comment")
    };
    let mut cursor = node.walk();
    let Some(first) = node.children(&mut cursor).find(|child| !is_attribute(child)) else { return node.start_byte() };
    if first.kind() != "modifiers" {
        return first.start_byte();
    }
    let mut inner = first.walk();
    let rest = first.children(&mut inner).find(|child| !is_attribute(child));
    rest.or_else(|| first.next_sibling()).map_or(first.start_byte(), |rest| rest.start_byte())
}

fn body_of(node: Node<'_>) -> Option<Node<'_>> {
    if node.kind() == "object" {
        return Some(node);
    }
    node.child_by_field_name("body").or_else(|| {
        let mut cursor = node.walk();
        node.named_children(&mut cursor).find(|child| {
            matches!(
                child.kind(),
                "do_block" | "declaration_list" | "class_body" | "enum_body" | "field_declaration_list"
            )
        })
    })
}
