//! Which files a query looks at.

use embedding_engine::{Error, Result};
use embedding_engine_chunk::Language;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::matrix::FileRow;

/// What is asked of the files of hits. Nothing is asked by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these languages, by name or short name; none: all.
    pub languages: Vec<String>,
    /// Only paths that match one of these globs; none: all. `*` stays within a folder, `**` does not.
    pub paths: Vec<String>,
}

/// A filter that was read.
pub(super) struct Ready {
    languages: Option<Vec<&'static str>>,
    paths: Option<GlobSet>,
}

impl Filter {
    /// # Errors
    /// `INVALID_OPTION` for a language that does not exist and for what is no glob.
    pub(super) fn read(&self) -> Result<Ready> {
        let language = |name: &String| {
            Language::by_name(name).map(Language::name).ok_or_else(|| {
                let known = Language::all().map(Language::name).collect::<Vec<_>>().join(", ");
                let message =
                    format!("There is no language {name}. There are: {known}. For other files use filter.path.");
                Error::invalid_option("filter", message).with("value", name.as_str())
            })
        };
        let languages = match self.languages.as_slice() {
            [] => None,
            names => Some(names.iter().map(language).collect::<Result<_>>()?),
        };
        let paths = match self.paths.as_slice() {
            [] => None,
            globs => Some(read_globs(globs)?),
        };
        Ok(Ready { languages, paths })
    }
}

fn read_globs(globs: &[String]) -> Result<GlobSet> {
    let refused = |error: globset::Error| Error::invalid_option("filter", format!("filter.path: {error}."));
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(refused)?);
    }
    set.build().map_err(refused)
}

impl Ready {
    /// Whether each file is looked at; `None` where all are.
    pub(super) fn of(&self, files: &[FileRow]) -> Option<Vec<bool>> {
        if self.languages.is_none() && self.paths.is_none() {
            return None;
        }
        Some(files.iter().map(|file| self.allows(file)).collect())
    }

    fn allows(&self, file: &FileRow) -> bool {
        let language = match &self.languages {
            None => true,
            Some(languages) => file.language.as_deref().is_some_and(|language| languages.contains(&language)),
        };
        language && self.paths.as_ref().is_none_or(|paths| paths.is_match(&file.path))
    }
}
