//! The grammars that source code is cut by. Their parse tables would be 18 MB of the addon; they travel deflated, a
//! tenth of that, and each is unpacked when the first text of its language comes (`build/main.rs` packs them).

use std::sync::OnceLock;

use tree_sitter::Language;
use tree_sitter::ffi::TSLanguage;

/// A grammar whose tables are packed.
#[derive(Debug)]
pub struct Grammar {
    /// Deflated: the number of the dense table's values as a `u32`, its values, those of the sparse table, all little-endian.
    packed: &'static [u8],
    give: unsafe extern "C" fn(*const u16, *const u16) -> *const TSLanguage,
    language: OnceLock<Language>,
}

impl Grammar {
    /// The language, with its tables unpacked by the first call. They stay for the life of the process.
    pub fn language(&self) -> Language {
        self.language.get_or_init(|| self.unpack()).clone()
    }

    fn unpack(&self) -> Language {
        // The build made these bytes and looked at them; they cannot be damaged but with the code around them.
        let Ok(bytes) = miniz_oxide::inflate::decompress_to_vec(self.packed) else {
            unreachable!("the packed tables of a grammar are damaged");
        };
        let (length, values) = bytes.split_at(size_of::<u32>());
        let length = length.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let values: Vec<u16> = values.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let (dense, sparse) = values.leak().split_at(length);
        // SAFETY: the tables are those of this grammar, as long as its code believes, and live for ever. The function
        // writes a static of its own, and only here: the lock lets one thread in. What it returns is a whole language.
        unsafe { Language::from_raw((self.give)(dense.as_ptr(), sparse.as_ptr())) }
    }
}

macro_rules! grammars {
    ($($name:ident $file:literal $give:ident $source:ident,)*) => {
        // The scanners, which the languages call, are in these crates.
        $(use $source as _;)*

        unsafe extern "C" {
            $(fn $give(dense: *const u16, sparse: *const u16) -> *const TSLanguage;)*
        }

        $(
            #[doc = concat!("The grammar `", $file, "` of the crate `", stringify!($source), "`.")]
            pub static $name: Grammar = Grammar {
                packed: include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".tables")),
                give: $give,
                language: OnceLock::new(),
            };
        )*
    };
}

grammars! {
    BASH "bash" embedding_engine_grammar_bash tree_sitter_bash,
    C "c" embedding_engine_grammar_c tree_sitter_c,
    C_SHARP "c_sharp" embedding_engine_grammar_c_sharp tree_sitter_c_sharp,
    CPP "cpp" embedding_engine_grammar_cpp tree_sitter_cpp,
    ELIXIR "elixir" embedding_engine_grammar_elixir tree_sitter_elixir,
    GO "go" embedding_engine_grammar_go tree_sitter_go,
    JAVA "java" embedding_engine_grammar_java tree_sitter_java,
    JAVASCRIPT "javascript" embedding_engine_grammar_javascript tree_sitter_javascript,
    PHP "php" embedding_engine_grammar_php tree_sitter_php,
    PYTHON "python" embedding_engine_grammar_python tree_sitter_python,
    RUBY "ruby" embedding_engine_grammar_ruby tree_sitter_ruby,
    RUST "rust" embedding_engine_grammar_rust tree_sitter_rust,
    TSX "tsx" embedding_engine_grammar_tsx tree_sitter_typescript,
    TYPESCRIPT "typescript" embedding_engine_grammar_typescript tree_sitter_typescript,
}
