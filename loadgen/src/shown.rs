//! What of a stranger's text is shown in a message: little, and nothing that a terminal obeys.

/// As much as shows a word that isn't what it should be.
pub(crate) const WORD: usize = 60;

/// As much as shows a line.
pub(crate) const LINE: usize = 200;

/// As many lines as an explanation has.
const LINES: usize = 12;

/// `text` as one line of at most `most` characters; what was cut is marked.
pub(crate) fn shown(text: &str, most: usize) -> String {
    let plain = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    let mut shown: String = text.chars().take(most).map(plain).collect();
    if text.chars().nth(most).is_some() {
        shown.push_str("..");
    }
    shown
}

/// `message` with a limit to its lines, and to the length of each.
pub(crate) fn explained(message: &str) -> String {
    let lines: Vec<_> = message.trim_end().lines().take(LINES).map(|line| shown(line, LINE)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_shown_and_nothing_that_a_terminal_obeys() {
        assert_eq!(shown("many", 4), "many");
        assert_eq!(shown("m\u{e9}ni", 3), "m\u{e9}n..");
        assert_eq!(shown("\u{1b}[2J", 9), "\u{fffd}[2J");
        assert_eq!(explained("a\r\n\tb\n\n"), "a\n\u{fffd}b");
        let long = explained(&"x".repeat(1_000_000).repeat(2));
        assert_eq!(long.len(), LINE + 2);
        assert_eq!(explained(&"x\n".repeat(1_000)).lines().count(), LINES);
    }
}
