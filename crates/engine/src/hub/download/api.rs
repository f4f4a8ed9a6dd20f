//! What the hub says of a repository: which commit a name stands for, and which files it has.

use reqwest::header::{HeaderMap, LINK};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use tokio::time::sleep;

use super::http::{Answer, Http, failed, is_html, shown};
use super::retry::{Failure, Patience};
use crate::error::{Code, Error, Result};
use crate::hub::cache::is_commit;
use crate::hub::listing::{Files, RemoteFile, is_plain};
use crate::hub::near::suggest;

/// No listing that we know is a tenth as long.
const MAX_BODY: usize = 64 << 20;
const MAX_PAGES: usize = 1000;

/// What is asked for, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) id: &'a str,
    pub(super) revision: &'a str,
    /// Names that a mistyped one may have meant.
    pub(super) known: &'a [&'a str],
}

/// The commit that a branch, a tag or a shortened commit stands for.
pub(super) async fn commit(http: &Http, asked: Asked<'_>, patience: Patience) -> Result<String> {
    let url = http.url(&["api/models", asked.id, "revision", &asked.revision.replace('/', "%2F")]);
    let (_, body) = get_json(http, &unescaped(url), asked, patience).await?;
    #[derive(Deserialize)]
    struct Info {
        sha: String,
    }
    match serde_json::from_slice::<Info>(&body) {
        Ok(info) if is_commit(&info.sha) => Ok(info.sha),
        _ => Err(no_listing(http, asked, "the answer names no commit")),
    }
}

/// The files of a commit.
pub(super) async fn files(http: &Http, asked: Asked<'_>, commit: &str, patience: Patience) -> Result<Files> {
    let listed = tree(http, asked, commit, &patience).await;
    match listed {
        // Some mirrors have no such listing, but name the files where they tell of the revision.
        Err(error) if error.details.get("status") == Some(&404.into()) => {
            siblings(http, asked, commit, patience).await.map_err(|_| error)
        }
        listed => listed,
    }
}

/// The names of the files alone.
async fn siblings(http: &Http, asked: Asked<'_>, commit: &str, patience: Patience) -> Result<Files> {
    #[derive(Deserialize)]
    struct Info {
        siblings: Vec<Sibling>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
    }
    let url = http.url(&["api/models", asked.id, "revision", commit]);
    let (_, body) = get_json(http, &url, asked, patience).await?;
    let info: Info =
        serde_json::from_slice(&body).map_err(|_| no_listing(http, asked, "the listing cannot be read"))?;
    let nothing_else = RemoteFile { size: None, blob_id: None, lfs_sha256: None, lfs_size: None, xet_hash: None };
    let mut files = Files::new();
    for Sibling { rfilename: path } in info.siblings {
        if !is_plain(&path) {
            return Err(no_listing(http, asked, &format!("the listing has the path {path:?}")));
        }
        files.insert(path, nothing_else.clone());
    }
    Ok(files)
}

async fn tree(http: &Http, asked: Asked<'_>, commit: &str, patience: &Patience) -> Result<Files> {
    let mut url = http.url(&["api/models", asked.id, "tree", commit]);
    url.set_query(Some("recursive=true"));
    let mut files = Files::new();
    for _ in 0..MAX_PAGES {
        let (headers, body) = get_json(http, &url, asked, patience.clone()).await?;
        for entry in parse_tree(&body).ok_or_else(|| no_listing(http, asked, "the listing cannot be read"))? {
            let (path, file) = entry;
            if !is_plain(&path) {
                return Err(no_listing(http, asked, &format!("the listing has the path {path:?}")));
            }
            files.insert(path, file);
        }
        match next_page(&headers, &url) {
            // Behind a mirror it may be an address of the real hub; the token does not go there.
            Some(next) if http.may_follow(&url, &next) => url = next,
            Some(_) => return Err(no_listing(http, asked, "the listing goes on at no address that can be followed")),
            None => return Ok(files),
        }
    }
    Err(no_listing(http, asked, "the listing has no end"))
}

fn parse_tree(body: &[u8]) -> Option<Vec<(String, RemoteFile)>> {
    #[derive(Deserialize)]
    struct Entry {
        r#type: String,
        path: String,
        size: Option<u64>,
        oid: Option<String>,
        lfs: Option<Lfs>,
        #[serde(rename = "xetHash")]
        xet_hash: Option<String>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        oid: Option<String>,
        sha256: Option<String>,
        size: Option<u64>,
    }
    let entries: Vec<Entry> = serde_json::from_slice(body).ok()?;
    let files = entries.into_iter().filter(|entry| entry.r#type == "file").map(|entry| {
        let Entry { path, size, oid, lfs, xet_hash, .. } = entry;
        let (lfs_sha256, lfs_size) = match lfs {
            Some(lfs) => (lfs.oid.or(lfs.sha256), lfs.size.or(size)),
            None => (None, None),
        };
        (path, RemoteFile { size, blob_id: oid, lfs_sha256, lfs_size, xet_hash })
    });
    Some(files.collect())
}

/// `Link: <…>; rel="next"`
fn next_page(headers: &HeaderMap, url: &Url) -> Option<Url> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains(r#"rel="next""#))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    url.join(address).ok()
}

/// The slash of a revision such as `refs/pr/1` is escaped in the address: the hub takes it for one part.
fn unescaped(url: Url) -> Url {
    Url::parse(&url.as_str().replace("%252F", "%2F")).unwrap_or(url)
}

async fn get_json(http: &Http, url: &Url, asked: Asked<'_>, mut patience: Patience) -> Result<(HeaderMap, Vec<u8>)> {
    loop {
        let attempt = async {
            let answer: Answer = http.get(url, 0).await?;
            let headers = answer.headers().clone();
            if is_html(&headers) {
                return Err(failed(url, html(&shown(url), "a listing")).into());
            }
            Ok((headers, answer.body(MAX_BODY).await?))
        };
        match attempt.await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Final(error)) => return Err(explain(error, http, asked)),
            Err(Failure::Wrong(reason)) => return Err(failed(url, reason)),
            Err(Failure::Passing { reason, wait, unreached }) => match patience.next(wait, unreached) {
                Some(wait) => sleep(wait).await,
                None => return Err(given_up(url, &reason, &patience, unreached)),
            },
        }
    }
}

/// What stands where something else was expected.
pub(super) fn html(url: &str, what: &str) -> String {
    format!(
        "{url} gives an HTML page in place of {what}: perhaps the login page of a network, or an address that is no hub"
    )
}

/// The last of several failures.
pub(super) fn given_up(url: &Url, reason: &str, patience: &Patience, unreached: bool) -> Error {
    let attempts = patience.attempts();
    let todo = if unreached {
        "Check the network and the proxy (HTTPS_PROXY), or set HF_ENDPOINT to a mirror. Where the network may not be \
         used, put the model into the hub cache on another machine, and set HF_HUB_OFFLINE=1."
    } else {
        "What has come stays: call again to go on from there."
    };
    let times = if attempts == 1 { "one attempt".to_owned() } else { format!("{attempts} attempts") };
    Error::new(Code::DownloadFailed, format!("{reason}; given up after {times}. {todo}"))
        .with("url", shown(url))
        .with("attempts", attempts)
        .with("reason", reason)
}

fn no_listing(http: &Http, asked: Asked<'_>, why: &str) -> Error {
    let url = http.url(&["api/models", asked.id]);
    failed(&url, format!("{} is no hub that we understand: {why}", shown(&url)))
}

/// Makes an error of [`Http`] say what it means for a repository, and what to do.
pub(super) fn explain(error: Error, http: &Http, asked: Asked<'_>) -> Error {
    let Asked { id, revision, known } = asked;
    let text = |key: &str| error.details.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let status = error.details.get("status").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let (code, hub_message, url) = (text("hubCode"), text("hubMessage"), text("url"));
    if status == 0 {
        return error;
    }
    let said = if hub_message.is_empty() { String::new() } else { format!(" The hub says: {hub_message}") };
    let page = shown(&http.url(&[id]));
    let with = |code: Code, message: String| {
        Error::new(code, message).with("model", id).with("url", url.as_str()).with("status", status)
    };
    let unauthorized = status == u64::from(StatusCode::UNAUTHORIZED.as_u16());
    let give_token = "Make one at https://huggingface.co/settings/tokens, and give it as HF_TOKEN, by `hf auth login`, \
                      or as the option `token`.";
    if code == "GatedRepo" {
        let have = if http.has_token() {
            "The token that was sent has no access yet.".to_owned()
        } else {
            format!("Then a token is needed. {give_token}")
        };
        let message =
            format!("The model {id} is gated: accept its conditions at {page} with your account first. {have}{said}");
        return with(Code::AccessDenied, message).with("gated", true).with("page", page);
    }
    if code == "RevisionNotFound" {
        let message = format!("The model {id} has no revision {revision} on the hub. See {page}/commits/main.{said}");
        return with(Code::ModelNotFound, message).with("revision", revision);
    }
    let bad_token = unauthorized && http.has_token() && code != "RepoNotFound";
    if bad_token || hub_message.to_ascii_lowercase().contains("invalid credentials") {
        let message =
            format!("The hub refuses the token that was sent for {id}: is it still valid? {give_token}{said}");
        return with(Code::AccessDenied, message);
    }
    // A file that is not where the hub sends us says nothing of the repository.
    let listing = url.contains("/api/models/");
    let missing = code == "RepoNotFound" || code.is_empty() && listing && (status == 404 || unauthorized);
    if missing {
        let near: Vec<&str> = if known.contains(&id) { Vec::new() } else { suggest(id, known.iter().copied()) };
        let mut message = format!("There is no model {id} at {page}");
        message += if http.has_token() { ", or the token has no access to it." } else { ", or it is private." };
        if !near.is_empty() {
            message += &format!(" Did you mean {}?", near.join(" or "));
        }
        if std::path::Path::new(id).is_dir() {
            message += &format!(" There is a folder of that name here: for the folder write ./{id}.");
        }
        if !http.has_token() {
            message += &format!(" A private one needs a token. {give_token}");
        }
        return with(Code::ModelNotFound, message + &said).with("suggestions", near);
    }
    if error.code == Code::AccessDenied {
        let message = format!("The hub does not let us at the model {id} ({status}). {give_token}{said}");
        return with(Code::AccessDenied, message);
    }
    error.with("model", id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn listings_give_sizes_and_hashes() {
        let (sha1, sha256) = ("a".repeat(40), "b".repeat(64));
        let body = format!(
            r#"[{{"type":"directory","oid":"x","size":0,"path":"onnx"}},
                {{"type":"file","oid":"{sha1}","size":7,"path":"config.json"}},
                {{"type":"file","oid":"{sha1}","size":130,"path":"onnx/model.onnx","xetHash":"c",
                  "lfs":{{"oid":"{sha256}","size":9000000000,"pointerSize":130}}}},
                {{"type":"file","path":"x","oid":"../../etc"}}]"#
        );
        let files: Files = parse_tree(body.as_bytes()).unwrap().into_iter().collect();
        let found = |path: &str| (files[path].bytes(), files[path].hash());
        assert_eq!(files.len(), 3);
        assert_eq!(found("config.json"), (Some(7), Some(sha1.as_str())));
        assert_eq!(found("onnx/model.onnx"), (Some(9_000_000_000), Some(sha256.as_str())));
        assert_eq!(found("x"), (None, None));
        assert!(parse_tree(b"{}").is_none());
    }

    #[test]
    fn pages_are_followed() {
        let url = Url::parse("https://hub/api/models/o/n/tree/c?recursive=true").unwrap();
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_str(link).unwrap());
            next_page(&headers, &url).map(String::from)
        };
        assert_eq!(next(r#"<https://hub/api/x?cursor=1>; rel="next""#).as_deref(), Some("https://hub/api/x?cursor=1"));
        assert_eq!(next(r#"</a>; rel="prev", </b>; rel="next""#).as_deref(), Some("https://hub/b"));
        assert_eq!(next(r#"</a>; rel="prev""#), None);
    }
}
