//! The command line as a report repeats it: what was asked, and no password.
//!
//! Whatever stands before the last `@` of a URL is left out, and so is every `pass` in its query: a URL that was
//! mistyped shows no more than one that was not.

use std::ffi::OsString;

/// What is shown in place of a secret.
const HIDDEN: &str = "***";

/// The words of a command line without secrets.
pub(super) fn repeated(words: impl Iterator<Item = OsString>) -> Vec<String> {
    words.map(|word| without_secrets(&word.to_string_lossy())).collect()
}

/// Whether a URL has something that others should not read.
pub(super) fn has_secret(url: &str) -> bool {
    without_secrets(url) != url
}

fn without_secrets(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let rest = match rest.rsplit_once('@') {
        Some((_, place)) => format!("{HIDDEN}@{place}"),
        None => rest.to_owned(),
    };
    let Some((place, query)) = rest.split_once('?') else { return format!("{scheme}://{rest}") };
    let shown = |pair: &str| match pair.split_once('=') {
        Some((key, _)) if key.to_lowercase().starts_with("pass") => format!("{key}={HIDDEN}"),
        _ => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(shown).collect();
    format!("{scheme}://{place}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_left_out_wherever_it_stands_in_a_url() {
        for (word, shown) in [
            ("meizu-mx3", "meizu-mx3"),
            ("redis://127.0.0.1:6379/3", "redis://127.0.0.1:6379/3"),
            ("redis://:hunter2@h", "redis://***@h"),
            ("redis://shop:hunter2@h:7000/1", "redis://***@h:7000/1"),
            ("redis://hunter2@h", "redis://***@h"),
            ("redis://:hun/ter2?@h", "redis://***@h"),
            ("redis://:hun@ter2@h", "redis://***@h"),
            ("--redis=redis://:hunter2@h", "--redis=redis://***@h"),
            ("redis+unix:///run/r.sock?db=1&pass=hunter2&user=x", "redis+unix:///run/r.sock?db=1&pass=***&user=x"),
        ] {
            let all = repeated([OsString::from(word)].into_iter());
            assert_eq!(all, [shown], "{word}");
            assert_eq!(has_secret(word), shown != word);
        }
    }
}
