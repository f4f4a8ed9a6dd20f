//! Files on their way into the index: looked at, read, cut.

use std::collections::HashMap;
use std::fs::Metadata;
use std::time::{Duration, SystemTime};

use embedding_engine_chunk::{Entry, FileOptions, Found, Skip};

use crate::recipe::{Cut, cut, hash};
use crate::store::{KnownFile, NewFile};

/// A file that was changed so short a time before it is read may be changed again without showing: its time is not
/// trusted. The coarsest file systems count in steps of two seconds.
const RACY: Duration = Duration::from_secs(2);

/// What has to be done for a file.
pub(super) enum Prepared {
    /// Nothing but to note its time.
    Same { file: NewFile },
    /// It is new, or other than it was.
    New { file: NewFile, cuts: Vec<Cut> },
}

/// Size and time of a file: what tells at once that it is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: i64,
    modified: i64,
}

impl Stamp {
    pub(super) fn of(entry: &Entry, now: SystemTime) -> Option<Self> {
        std::fs::metadata(&entry.file).ok().map(|metadata| Self::new(&metadata, now))
    }

    fn new(metadata: &Metadata, now: SystemTime) -> Self {
        let nanoseconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_nanos()).ok()
        };
        let modified = metadata.modified().ok().filter(|time| *time + RACY < now).and_then(nanoseconds).unwrap_or(0);
        Stamp { size: i64::try_from(metadata.len()).unwrap_or(i64::MAX), modified }
    }

    /// Whether the file need not be read.
    pub(super) fn is_that_of(self, known: &KnownFile) -> bool {
        self.modified != 0 && (self.size, self.modified) == (known.size, known.modified)
    }
}

/// Reads and cuts a file, unless its content is what it was and has vectors in `space`.
pub(super) fn prepare(entry: Entry, stamp: Option<Stamp>, known: &HashMap<String, KnownFile>, space: i64) -> Prepared {
    let Stamp { size, modified } = stamp.unwrap_or(Stamp { size: 0, modified: 0 });
    let known = known.get(&entry.path);
    let file = |path, hash, language, skipped| NewFile { path, size, modified, hash, language, skipped };
    match entry.read(FileOptions::default().max_file_bytes) {
        Found::Skipped { path, reason } => {
            let skipped = name(reason);
            let same = known.is_some_and(|known| known.skipped.as_ref() == Some(&skipped));
            let file = file(path, None, None, Some(skipped));
            if same { Prepared::Same { file } } else { Prepared::New { file, cuts: Vec::new() } }
        }
        Found::Text { path, language, text } => {
            let content = hash(text.as_bytes());
            let same = known.is_some_and(|known| known.hash == Some(content) && known.space == space);
            let cuts = if same { Vec::new() } else { cut(&path, &text, language) };
            let file = file(path, Some(content), language.map(embedding_engine_chunk::Language::name), None);
            if same { Prepared::Same { file } } else { Prepared::New { file, cuts } }
        }
    }
}

/// As results have it.
fn name(reason: Skip) -> String {
    serde_json::to_value(reason).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
