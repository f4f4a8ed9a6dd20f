//! What is embedded for a chunk of code: the one place that says so, for training, search and whoever embeds chunks.

/// How often the name stands before the source, unless a [`Template`] says otherwise: worth more than any other choice
/// that was measured on the bundled model (NDCG@10 on unseen packages of 0.492 without the template and 0.650 with it;
/// on the development packages 0.652 with five names, 0.662 with eight and 0.661 with twelve), and all-MiniLM-L6-v2
/// gains by it too. See models/bundled/README.md.
pub const DEFAULT_NAME_REPEATS: usize = 8;

/// How a chunk is written down to be embedded:
///
/// ```text
/// Queue push push push push push push push push
/// push(item: T): void
/// push(item: T): void { this.#items.push(item) }
/// ```
///
/// The first line has the names of what it lies in once and its own name several times, the second one its
/// signature, then comes the source. What is not known is left out with its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// How often the name is written. Models that weigh tokens by their count need several; 0 leaves it out.
    pub name_repeats: usize,
}

impl Default for Template {
    fn default() -> Self {
        Template { name_repeats: DEFAULT_NAME_REPEATS }
    }
}

/// What a [`Template`] puts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'t> {
    /// What it is called.
    pub name: Option<&'t str>,
    /// The names of what it lies in, outermost first; empty ones are passed over.
    pub inside: &'t [String],
    /// How it is declared, on one line.
    pub signature: Option<&'t str>,
    /// Whether it is a later part of something that was too large. It is written as the first part is: no part
    /// says on its own what it belongs to.
    pub continued: bool,
    /// The source.
    pub source: &'t str,
}

impl Template {
    /// The lines before the source, without the last line's end. May be empty.
    pub fn head(&self, parts: &Parts<'_>) -> String {
        let inside = parts.inside.iter().map(String::as_str);
        let names = std::iter::repeat_n(parts.name.unwrap_or_default(), self.name_repeats);
        let words: Vec<&str> = inside.chain(names).filter(|name| !name.is_empty()).collect();
        let lines = [words.join(" "), parts.signature.unwrap_or_default().to_owned()];
        lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// What is embedded: [`Template::head`], if there is one, and the source on the lines after it.
    pub fn embed_text(&self, parts: &Parts<'_>) -> String {
        let head = self.head(parts);
        if head.is_empty() { parts.source.to_owned() } else { format!("{head}\n{}", parts.source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out_with_its_line() {
        let inside = ["M".to_owned(), String::new(), "Queue".to_owned()];
        let all = Parts {
            name: Some("push"),
            inside: &inside,
            signature: Some("push(item: T): void"),
            continued: false,
            source: "push(item: T): void {}",
        };
        let template = Template { name_repeats: 3 };
        let text = |parts: Parts<'_>| template.embed_text(&parts);
        assert_eq!(text(all), "M Queue push push push\npush(item: T): void\npush(item: T): void {}");
        assert_eq!(text(Parts { continued: true, ..all }), text(all));
        assert_eq!(text(Parts { inside: &[], signature: None, ..all }), "push push push\npush(item: T): void {}");
        assert_eq!(text(Parts { name: None, signature: None, ..all }), "M Queue\npush(item: T): void {}");
        let bare = Parts { name: None, inside: &[], signature: None, ..all };
        assert_eq!((text(bare), template.head(&bare)), (all.source.to_owned(), String::new()));
        let none = Template { name_repeats: 0 };
        assert_eq!(none.head(&all), "M Queue\npush(item: T): void");
        assert_eq!(Template::default().head(&Parts { inside: &[], signature: None, ..all }), ["push"; 8].join(" "));
    }
}
