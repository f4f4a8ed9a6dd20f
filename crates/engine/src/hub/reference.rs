//! What a user wrote for a model: the path of a folder, or an id on the hub.

use std::path::PathBuf;

use crate::error::{Code, Error, Result};

/// A parsed model reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A folder, as it was given.
    Folder(PathBuf),
    /// A repository on the hub.
    Hub {
        /// `owner/name`, or `name` for the few old repositories without an owner.
        id: String,
        /// Commit, branch or tag after the `@`.
        revision: Option<String>,
    },
}

impl Reference {
    /// Tells paths (`./x`, `../x`, `/x`, `C:\x`, `\\host\x`, `file:…`) from hub ids (`owner/name@revision`).
    ///
    /// # Errors
    /// `INVALID_INPUT` for what is neither, saying what would be.
    pub fn parse(model: &str) -> Result<Self> {
        if model.trim().is_empty() {
            return Err(invalid(model, "A model is named by an alias, a hub id or a path, but the name is empty."));
        }
        if model.contains('\0') {
            return Err(invalid(model, "The model's name contains a NUL character."));
        }
        if let Some(url) = strip_scheme(model) {
            return file_url(model, url).map(Reference::Folder);
        }
        if is_path(model) {
            return Ok(Reference::Folder(PathBuf::from(model)));
        }
        if model == "~" || model.starts_with("~/") || model.starts_with("~\\") {
            return Err(invalid(model, format!("{model}: `~` is expanded by shells only. Give the full path.")));
        }
        let (id, revision) = match model.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (model, None),
        };
        if !is_repository(id) {
            return Err(invalid(
                model,
                format!(
                    "{model:?} is neither a hub id (owner/name, with @revision if wanted) nor a path. \
                     A folder is written ./name, ../name, /name or file:///name."
                ),
            ));
        }
        if let Some(revision) = revision
            && !is_revision(revision)
        {
            return Err(invalid(
                model,
                format!("{revision:?} in {model:?} is no revision: give a commit, a branch or a tag after the @."),
            ));
        }
        Ok(Reference::Hub { id: id.to_owned(), revision: revision.map(str::to_owned) })
    }
}

fn invalid(model: &str, message: impl Into<String>) -> Error {
    Error::new(Code::InvalidInput, message).with("model", model)
}

fn strip_scheme(model: &str) -> Option<&str> {
    let (scheme, rest) = model.split_at_checked(5)?;
    scheme.eq_ignore_ascii_case("file:").then_some(rest)
}

fn is_path(model: &str) -> bool {
    let bytes = model.as_bytes();
    let separator = |index: usize| matches!(bytes.get(index), Some(b'/' | b'\\'));
    let dots = bytes.iter().take_while(|&&byte| byte == b'.').count();
    let drive = bytes.len() >= 3 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && separator(2);
    separator(0) || drive || (matches!(dots, 1 | 2) && (bytes.len() == dots || separator(dots)))
}

/// The rule of `huggingface_hub`: one or two parts of at most 96 characters of `[A-Za-z0-9._-]`, with
/// no `..` or `--`, and neither `-` nor `.` at an end.
fn is_repository(id: &str) -> bool {
    let parts: Vec<&str> = id.split('/').collect();
    let part = |part: &&str| {
        !part.is_empty()
            && part.len() <= 96
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
            && !part.contains("..")
            && !part.contains("--")
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
    };
    parts.len() <= 2 && parts.iter().all(part)
}

/// A name under which git keeps a reference, as far as it is also a path inside the cache.
fn is_revision(revision: &str) -> bool {
    !revision.is_empty()
        && revision.len() <= 255
        && revision.split('/').all(|part| !part.is_empty() && part != "." && !part.contains(".."))
        && !revision.chars().any(|c| c.is_control() || matches!(c, '\\' | ':' | '?' | '*' | '[' | '~' | '^' | ' '))
}

/// `file:///x`, `file://localhost/x` and `file:/x`, percent-decoded; a relative `file:x` is no URL.
fn file_url(model: &str, rest: &str) -> Result<PathBuf> {
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority
            .strip_prefix("localhost")
            .filter(|path| path.starts_with('/'))
            .or_else(|| authority.starts_with('/').then_some(authority)),
        None => rest.starts_with('/').then_some(rest),
    };
    let decoded = path.and_then(percent_decode).filter(|path| !path.contains('\0'));
    let Some(decoded) = decoded else {
        return Err(invalid(model, format!("{model:?} is no file URL of this machine: write file:///full/path.")));
    };
    // file:///C:/x names C:/x.
    let bytes = decoded.as_bytes();
    let drive = bytes.len() >= 3 && bytes[1].is_ascii_alphabetic() && bytes[2] == b':';
    Ok(PathBuf::from(if drive { &decoded[1..] } else { &decoded }))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digit = |index: usize| tail.get(index).and_then(|&byte| char::from(byte).to_digit(16));
            bytes.push((digit(0)? * 16 + digit(1)?) as u8);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}
