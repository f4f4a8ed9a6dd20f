//! The licence in the head of a model's README (the YAML between two lines of `---`).

use std::io::Read;
use std::path::Path;

use super::License;

/// `license`, `license_name` and `license_link` of the README, if it states them.
pub(super) fn license(root: &Path) -> Option<License> {
    // The head stands first; a README may be long and need not be valid UTF-8 further down.
    let mut head = Vec::new();
    std::fs::File::open(root.join("README.md")).ok()?.take(1 << 16).read_to_end(&mut head).ok()?;
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.lines();
    if lines.next()?.trim_start_matches('\u{feff}').trim_end() != "---" {
        return None;
    }
    let (mut license, mut name, mut link) = (None, None, None);
    for line in lines.take_while(|line| line.trim_end() != "---") {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim().trim_matches(['"', '\'']).trim();
        let slot = match key {
            "license" => &mut license,
            "license_name" => &mut name,
            "license_link" => &mut link,
            _ => continue,
        };
        if !value.is_empty() && value.len() <= 200 {
            *slot = Some(value.to_owned());
        }
    }
    let name = match license {
        Some(license) if license == "other" => name.unwrap_or(license),
        Some(license) => license,
        None => name?,
    };
    Some(License { name: spdx(&name), link: link.filter(|link| link.starts_with("https://")), note: None })
}

/// The hub writes licences in lower case; SPDX ids are what people look for.
fn spdx(name: &str) -> String {
    match name {
        "apache-2.0" => "Apache-2.0".to_owned(),
        "mit" | "isc" | "bsl-1.0" => name.to_uppercase(),
        name if name.starts_with("cc-") => name.to_uppercase(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::license;

    #[test]
    fn reads_the_head_of_a_readme() {
        let cases = [
            ("---\nlicense: apache-2.0\ntags:\n- x\n---\n# M", Some(("Apache-2.0", None))),
            (
                "---\r\nlicense: other\r\nlicense_name: 'qodo'\r\nlicense_link: https://q/l\r\n---\r\n",
                Some(("qodo", Some("https://q/l"))),
            ),
            ("---\nlicense: cc-by-nc-4.0\nlicense_link: LICENSE\n---", Some(("CC-BY-NC-4.0", None))),
            ("---\ntags: []\n---\nlicense: mit", None),
            ("# M\nlicense: mit", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("README.md"), text).unwrap();
            let found = license(folder.path());
            let found = found.as_ref().map(|license| (license.name.as_str(), license.link.as_deref()));
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
