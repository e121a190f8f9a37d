//! As much of the Rust language as the rules need: comments, literals, test-only items, modules and paths.

use std::collections::BTreeMap;

use crate::tree::{Tree, folder, join};

/// A Rust file, its comments apart from its code. Both keep the line numbers of the text.
#[derive(Debug)]
pub(crate) struct Source {
    /// The code; comments and the insides of literals are blank.
    pub(crate) code: String,
    /// The comments, everything else blank.
    pub(crate) comments: String,
    /// For each line, whether it is compiled for tests only.
    tests: Vec<bool>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let (code, comments) = split(text);
        let tests = test_lines(&code);
        Self { code, comments, tests }
    }

    /// Is the line, counted from 1, compiled for tests only?
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.tests.get(line - 1).copied().unwrap_or_default()
    }

    /// Lines of code from 1, without those that are compiled for tests only.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines()).filter(|(line, _)| !self.is_test(*line))
    }
}

/// A module of a crate, in a file of its own.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) file: String,
    /// `crate`, then the names down to this module.
    pub(crate) path: Vec<String>,
    /// Compiled for tests only.
    pub(crate) test: bool,
}

/// Every module that a crate of the tree declares, each found from its crate's root file.
pub(crate) fn modules(tree: &Tree) -> Vec<Module> {
    let mut found = Vec::new();
    for (manifest, text) in tree.with_extension("toml").filter(|(path, _)| path.ends_with("Cargo.toml")) {
        for root in roots(tree, folder(manifest), text) {
            let test = !root[folder(manifest).len()..].trim_start_matches('/').starts_with("src/");
            descend(tree, Module { file: root, path: vec!["crate".into()], test }, true, &mut found);
        }
    }
    found
}

/// The root files of the package in `package`: where Cargo looks for them, and where its manifest points.
fn roots(tree: &Tree, package: &str, manifest: &str) -> Vec<String> {
    let named = manifest.lines().filter_map(|line| line.trim().strip_prefix("path = \"")?.strip_suffix(".rs\""));
    let mut roots: Vec<_> = named.filter_map(|path| join(package, &format!("{path}.rs"))).collect();
    let package = if package.is_empty() { String::new() } else { format!("{package}/") };
    for (path, _) in tree.with_extension("rs") {
        let Some(inside) = path.strip_prefix(&package) else { continue };
        let parts: Vec<_> = inside.split('/').collect();
        let conventional = matches!(
            parts.as_slice(),
            ["build.rs"]
                | ["src", "lib.rs" | "main.rs"]
                | ["src", "bin", _]
                | ["src", "bin", _, "main.rs"]
                | ["tests" | "benches" | "examples", _]
                | ["tests" | "benches" | "examples", _, "main.rs"]
        );
        if conventional && !roots.iter().any(|root| root == path) {
            roots.push(path.into());
        }
    }
    roots.retain(|root| tree.text(root).is_some());
    roots
}

/// Adds `module` and all that it declares. A `root`'s children lie beside it, another module's in its folder.
fn descend(tree: &Tree, module: Module, root: bool, found: &mut Vec<Module>) {
    let Some(text) = tree.text(&module.file) else { return };
    let beside = folder(&module.file).to_owned();
    let own = if root { beside.clone() } else { module.file.trim_end_matches(".rs").to_owned() };
    let source = Source::new(text);
    let raw: Vec<&str> = text.lines().collect();
    let mut children = Vec::new();
    for (line, code) in (1..).zip(source.code.lines()) {
        let Some(name) = declared(code) else { continue };
        let mut attributes = raw[..line - 1].iter().rev().take_while(|above| above.trim().starts_with("#["));
        let pointed = attributes.find_map(|above| Some(above.trim().strip_prefix("#[path = \"")?.split_once('"')?.0));
        let file = match pointed {
            Some(path) => join(&beside, path),
            None => join(&own, &format!("{name}.rs")),
        };
        let path = module.path.iter().cloned().chain([name.into()]).collect();
        let in_test = module.test || source.is_test(line);
        children.extend(file.map(|file| Module { file, path, test: in_test }));
    }
    found.push(module);
    for child in children {
        descend(tree, child, false, found);
    }
}

/// The name in `mod name;`, whatever its visibility.
fn declared(code: &str) -> Option<&str> {
    let (before, after) = code.split_once("mod ")?;
    let name = after.trim().strip_suffix(';')?;
    let visible = before.trim().is_empty() || before.trim_start().starts_with("pub") || before.trim().ends_with(']');
    (visible && name.chars().all(is_name)).then_some(name)
}

/// A path in the code, its groups opened: `use a::{b, c as d}` is `a::b` and `a::c`, known as `d`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    /// The name by which a `use` makes it known.
    pub(crate) known_as: Option<String>,
}

/// Every path of the source outside of its tests.
pub(crate) fn mentions(source: &Source) -> Vec<Mention> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_use = tokens[at].1 == "use";
        let after_dot = at > 0 && tokens[at - 1].1 == ".";
        let begins = is_use || (!after_dot && tokens.get(at + 1).is_some_and(|next| next.1 == "::"));
        if begins && tokens[at].1.chars().all(is_name) {
            at = tree_of_paths(&tokens, at + usize::from(is_use), &[], is_use, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Every name that the file's `use` lines make known, with its full path.
pub(crate) fn known(mentions: &[Mention]) -> BTreeMap<String, Vec<String>> {
    mentions.iter().filter_map(|mention| Some((mention.known_as.clone()?, mention.path.clone()))).collect()
}

type Token<'a> = (usize, &'a str);

fn tokens(source: &Source) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, code) in source.lines() {
        let mut rest = code.trim_start();
        while let Some(first) = rest.chars().next() {
            let name = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let length = if name > 0 {
                name
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push((line, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Reads one path or group from `at`, below `above`; returns where it ends.
fn tree_of_paths(
    tokens: &[Token<'_>],
    mut at: usize,
    above: &[String],
    is_use: bool,
    found: &mut Vec<Mention>,
) -> usize {
    let mut path = above.to_vec();
    let first = at;
    while let Some(&(line, token)) = tokens.get(at) {
        let next = tokens.get(at + 1).map(|next| next.1);
        match token {
            "::" => at += 1,
            "{" if is_use => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.1 != "}") {
                    at = if tokens[at].1 == "," { at + 1 } else { tree_of_paths(tokens, at, &path, true, found) };
                }
                return at + 1;
            }
            "*" if is_use => {
                path.push("*".into());
                found.push(Mention { line, path, known_as: None });
                return at + 1;
            }
            name if name.chars().all(is_name) => {
                if name != "self" || path.is_empty() {
                    path.push(name.into());
                }
                at += 1;
                if next == Some("::") {
                    continue;
                }
                let renamed = (is_use && next == Some("as")).then(|| tokens.get(at + 1)).flatten();
                at += if renamed.is_some() { 2 } else { 0 };
                let last = renamed.map(|token| token.1.to_owned()).or_else(|| path.last().cloned());
                found.push(Mention { line, path, known_as: last.filter(|_| is_use) });
                return at;
            }
            _ => {
                found.push(Mention { line, path, known_as: None });
                return at.max(first + 1);
            }
        }
    }
    at
}

pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text as code and as comments, each blank where the other is.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (kind, end) = lexeme(&chars, at);
        let end = end.min(chars.len());
        for &c in &chars[at..end] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if kind == Kind::Code { c } else { blank });
            comments.push(if kind == Kind::Comment { c } else { blank });
        }
        at = end;
    }
    (code, comments)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// What begins at `at`, and where it ends, which may be past the text if that breaks off.
fn lexeme(chars: &[char], at: usize) -> (Kind, usize) {
    let peek = |ahead: usize| chars.get(at + ahead).copied().unwrap_or('\0');
    match (peek(0), peek(1)) {
        ('/', '/') => (Kind::Comment, find(chars, at, |rest| rest[0] == '\n')),
        ('/', '*') => (Kind::Comment, block_comment(chars, at)),
        ('"', _) => (Kind::Literal, string(chars, at)),
        ('\'', '\\') => (Kind::Literal, find(chars, at + 3, |rest| rest[0] == '\'') + 1),
        ('\'', _) if peek(2) == '\'' => (Kind::Literal, at + 3),
        (first, _) if is_name(first) => {
            let end = find(chars, at, |rest| !is_name(rest[0]));
            let prefix: String = chars[at..end].iter().collect();
            let hashes = chars[end..].iter().take_while(|&&c| c == '#').count();
            let quoted = chars.get(end + hashes) == Some(&'"');
            match prefix.as_str() {
                "r" | "br" | "cr" if quoted => (Kind::Literal, raw_string(chars, end + hashes, hashes)),
                "b" | "c" if quoted && hashes == 0 => (Kind::Literal, string(chars, end)),
                _ => (Kind::Code, end),
            }
        }
        _ => (Kind::Code, at + 1),
    }
}

fn find(chars: &[char], from: usize, is_end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|&at| is_end(&chars[at..])).unwrap_or(chars.len())
}

fn block_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        let step = match chars[at..] {
            ['/', '*', ..] => 1,
            ['*', '/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string(chars: &[char], quote: usize, hashes: usize) -> usize {
    let closes = |rest: &[char]| rest[0] == '"' && rest[1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    find(chars, quote + 1, closes) + 1 + hashes
}

/// For each line of code, whether an attribute keeps it for tests.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    let line_of = |at: usize| code[..at].matches('\n').count();
    let mut from = 0;
    while let Some(at) = code[from..].find("[cfg(").map(|ahead| from + ahead) {
        let open = at + "[cfg".len();
        let close = closing(code, open);
        from = close;
        if needs_test(&code[open + 1..close]) {
            let whole_file = code[..at].ends_with('!');
            from = if whole_file { code.len() } else { item_end(code, (close + 2).min(code.len())) };
            let last = line_of(from.saturating_sub(1)).min(marks.len() - 1);
            marks[line_of(at)..=last].fill(true);
        }
    }
    marks
}

/// Does the predicate hold in tests only?
fn needs_test(predicate: &str) -> bool {
    let predicate = predicate.trim();
    let parts = |inside: &str| -> Vec<bool> { commas(inside).into_iter().map(needs_test).collect() };
    if let Some(inside) = predicate.strip_prefix("all(").and_then(|rest| rest.strip_suffix(')')) {
        parts(inside).contains(&true)
    } else if let Some(inside) = predicate.strip_prefix("any(").and_then(|rest| rest.strip_suffix(')')) {
        !parts(inside).contains(&false)
    } else {
        predicate == "test"
    }
}

/// The parts of a list, cut at its own commas.
fn commas(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Where the bracket that opens at `open` is closed.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (ahead, c) in code[open..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + ahead;
        }
    }
    code.len()
}

/// Where the item, statement, field or arm that begins at `from` ends.
fn item_end(code: &str, from: usize) -> usize {
    let (mut at, mut angles) = (from, 0);
    while let Some(c) = code[at..].chars().next() {
        match c {
            ';' => return at + 1,
            '{' => return (closing(code, at) + 1).min(code.len()),
            '}' => return at,
            ',' if angles == 0 => return at + 1,
            '(' | '[' => at = closing(code, at).min(code.len() - 1),
            '<' => angles += 1,
            '>' if !code[..at].ends_with(['-', '=']) => angles -= 1,
            _ => {}
        }
        at += c.len_utf8();
    }
    code.len()
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let text = "let a = \"// no\"; // yes\nlet b = r#\"/* \" */\"#; /* a /* b */ c */ let c = '\"';\n\
                let d: &'static str;";
    let source = Source::new(text);
    let code: Vec<_> = source.code.lines().map(|line| line.split_whitespace().collect::<String>()).collect();
    assert_eq!(code, ["leta=;", "letb=;letc=;", "letd:&'staticstr;"]);
    let comments: Vec<_> = source.comments.lines().map(str::trim).collect();
    assert_eq!(comments, ["// yes", "/* a /* b */ c */", ""]);
}

#[test]
fn only_items_that_need_the_test_cfg_are_tests() {
    let text = "#[cfg(test)]\nmod tests {\n}\nfn a() {}\n\
                #[cfg(all(test, sellout_loom))]\n#[derive(Debug)]\nstruct B(u8);\n\
                #[cfg(not(test))]\nfn c() {}\n#[cfg(any(test, feature = \"x\"))]\nfn d() {}\n";
    let source = Source::new(text);
    let kept: Vec<_> = source.lines().map(|(line, _)| line).collect();
    assert_eq!(kept, [4, 8, 9, 10, 11]);
}

#[test]
fn paths_are_read_out_of_groups() {
    let source = Source::new("use std::{time::{self, Instant as Now}, fs};\nfn f() { time::Duration::ZERO.max(x); }\n");
    let mentions = mentions(&source);
    let paths: Vec<_> = mentions.iter().map(|mention| mention.path.join("::")).collect();
    assert_eq!(paths, ["std::time", "std::time::Instant", "std::fs", "time::Duration::ZERO"]);
    assert_eq!(known(&mentions)["Now"], ["std", "time", "Instant"]);
}

#[test]
fn modules_are_found_from_the_roots() {
    let tree = Tree::of(&[
        ("a/Cargo.toml", ""),
        ("a/src/lib.rs", "pub(crate) mod b;\n#[cfg(test)]\nmod t;\n"),
        ("a/src/b.rs", "mod c;\n"),
        ("a/src/b/c.rs", ""),
        ("a/src/t.rs", ""),
        ("a/tests/d.rs", ""),
    ]);
    let found: Vec<_> = modules(&tree).into_iter().map(|m| (m.file, m.path.join("::"), m.test)).collect();
    let expected = [
        ("a/src/lib.rs", "crate", false),
        ("a/src/b.rs", "crate::b", false),
        ("a/src/b/c.rs", "crate::b::c", false),
        ("a/src/t.rs", "crate::t", true),
        ("a/tests/d.rs", "crate", true),
    ];
    assert_eq!(found, expected.map(|(file, path, test)| (file.to_owned(), path.to_owned(), test)));
}
