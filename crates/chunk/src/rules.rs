//! Which nodes of each grammar are units. The names are those of the grammars' `node-types.json`.

use serde::Serialize;

use crate::language::Language;

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A function that belongs to no class.
    Function,
    /// A function of a class, a trait, an implementation.
    Method,
    /// A class, or its header where its methods stand for themselves; a struct, a record, an object with methods.
    Class,
    /// An interface, a trait, a protocol.
    Interface,
    /// An enumeration.
    Enum,
    /// The header of an implementation (Rust) or an extension.
    Implementation,
    /// A module or a namespace, or its header.
    Module,
    /// A named type.
    Type,
    /// A macro.
    Macro,
    /// A part of a document, with its heading.
    Section,
    /// Whatever lies between: imports, constants, statements.
    Block,
}

/// What a node of the tree stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A unit that is taken whole.
    Unit(Kind),
    /// A unit whose body holds others.
    Container(Kind),
    /// Stands around a declaration: `export`, decorators, `template <…>`.
    Wrapper,
    /// Holds declarations without being one: `#ifdef`, `extern "C"`.
    Transparent,
    /// Belongs to what follows: comments, attributes.
    Lead,
    /// Anything else.
    Other,
}

use Kind::{Class, Enum, Function, Implementation, Interface, Macro, Method, Module, Type};
use Role::{Container, Lead, Other, Transparent, Unit, Wrapper};

pub(crate) fn role(language: Language, kind: &str) -> Role {
    match language {
        Language::Bash => match kind {
            "function_definition" => Unit(Function),
            "comment" => Lead,
            _ => Other,
        },
        Language::C | Language::Cpp => match kind {
            "function_definition" => Unit(Function),
            "struct_specifier" | "union_specifier" | "class_specifier" => Container(Class),
            "enum_specifier" => Unit(Enum),
            "namespace_definition" => Container(Module),
            "type_definition" | "alias_declaration" | "concept_definition" => Unit(Type),
            "preproc_function_def" => Unit(Macro),
            "template_declaration" => Wrapper,
            "linkage_specification" | "declaration_list" | "preproc_ifdef" | "preproc_if" => Transparent,
            "comment" => Lead,
            _ => Other,
        },
        Language::CSharp => match kind {
            "class_declaration" | "struct_declaration" | "record_declaration" => Container(Class),
            "interface_declaration" => Container(Interface),
            "enum_declaration" => Unit(Enum),
            "namespace_declaration" => Container(Module),
            "method_declaration"
            | "constructor_declaration"
            | "destructor_declaration"
            | "operator_declaration"
            | "indexer_declaration" => Unit(Method),
            "local_function_statement" => Unit(Function),
            "global_statement" => Wrapper,
            "delegate_declaration" => Unit(Type),
            "comment" => Lead,
            _ => Other,
        },
        // A macro call as any other: see `units`.
        Language::Elixir => match kind {
            "comment" => Lead,
            _ => Other,
        },
        Language::Go => match kind {
            "function_declaration" => Unit(Function),
            "method_declaration" => Unit(Method),
            "type_declaration" => Unit(Type),
            "comment" => Lead,
            _ => Other,
        },
        Language::Java => match kind {
            "class_declaration" | "record_declaration" => Container(Class),
            "interface_declaration" | "annotation_type_declaration" => Container(Interface),
            "enum_declaration" => Container(Enum),
            "method_declaration" | "constructor_declaration" | "compact_constructor_declaration" => Unit(Method),
            "enum_body_declarations" => Transparent,
            "line_comment" | "block_comment" => Lead,
            _ => Other,
        },
        Language::JavaScript | Language::TypeScript | Language::Tsx => match kind {
            "function_declaration" | "generator_function_declaration" | "function_signature" => Unit(Function),
            "class_declaration" | "abstract_class_declaration" | "class" => Container(Class),
            "method_definition" | "abstract_method_signature" => Unit(Method),
            "interface_declaration" => Unit(Interface),
            "enum_declaration" => Unit(Enum),
            "type_alias_declaration" => Unit(Type),
            "internal_module" | "module" => Container(Module),
            "export_statement" | "ambient_declaration" | "expression_statement" => Wrapper,
            "comment" | "decorator" => Lead,
            _ => Other,
        },
        Language::Markdown => Other,
        Language::Php => match kind {
            "function_definition" => Unit(Function),
            "method_declaration" => Unit(Method),
            "class_declaration" => Container(Class),
            "interface_declaration" | "trait_declaration" => Container(Interface),
            "enum_declaration" => Container(Enum),
            "namespace_definition" => Container(Module),
            "comment" => Lead,
            _ => Other,
        },
        Language::Python => match kind {
            "function_definition" => Unit(Function),
            "class_definition" => Container(Class),
            "decorated_definition" => Wrapper,
            "comment" => Lead,
            _ => Other,
        },
        Language::Ruby => match kind {
            "method" | "singleton_method" => Unit(Method),
            "class" | "singleton_class" => Container(Class),
            "module" => Container(Module),
            "comment" => Lead,
            _ => Other,
        },
        Language::Rust => match kind {
            "function_item" | "function_signature_item" => Unit(Function),
            "struct_item" | "union_item" => Unit(Class),
            "enum_item" => Unit(Enum),
            "trait_item" => Container(Interface),
            "impl_item" => Container(Implementation),
            "mod_item" => Container(Module),
            "type_item" => Unit(Type),
            "macro_definition" => Unit(Macro),
            "line_comment" | "block_comment" | "attribute_item" | "inner_attribute_item" => Lead,
            _ => Other,
        },
    }
}

/// Whether the inside of such a node is one token: what is in it is no place to cut.
pub(crate) fn is_token(kind: &str) -> bool {
    ["string", "comment", "char_literal", "regex", "heredoc", "rune_literal", "template_chars", "sigil", "charlist"]
        .iter()
        .any(|part| kind.contains(part))
}
