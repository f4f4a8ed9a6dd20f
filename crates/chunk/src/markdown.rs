//! Markdown: a section for each heading, with the headings that it lies under.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::rules::Kind;
use crate::units::{Cut, Unit};

/// Cuts in order; the first is at 0.
pub(crate) fn cuts(text: &str) -> Vec<Cut> {
    let mut cuts = vec![Cut { at: 0, unit: None }];
    let mut above: Vec<(HeadingLevel, String)> = Vec::new();
    let mut open: Option<(usize, HeadingLevel, String)> = None;
    // What stands between `---` at the head of a file is no heading.
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => open = Some((range.start, level, String::new())),
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, _, title)) = &mut open {
                    title.push_str(&words);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let Some((at, level, title)) = open.take() else { continue };
                above.retain(|(other, _)| *other < level);
                let unit = Unit {
                    kind: Kind::Section,
                    name: Some(title.trim().to_owned()).filter(|title| !title.is_empty()),
                    signature: None,
                    doc: None,
                    docs: Vec::new(),
                    inside: above.iter().map(|(_, title)| title.clone()).collect(),
                };
                above.push((level, title));
                match cuts.last_mut() {
                    Some(last) if last.at == at => last.unit = Some(unit),
                    _ => cuts.push(Cut { at, unit: Some(unit) }),
                }
            }
            _ => {}
        }
    }
    cuts
}
