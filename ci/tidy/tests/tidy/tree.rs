//! The files of the repository, or of a fixture, by their paths from the root.

use std::{collections::BTreeMap, fs, path::Path};

/// Folders that are built, not written; names hold at any depth, paths from the root.
const BUILT: &[&str] = &[".git", "target", "docs/book"];

/// Every file; those that aren't UTF-8 are known by name only.
#[derive(Debug)]
pub(crate) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// The repository that this test was built from.
    pub(crate) fn repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = BTreeMap::new();
        walk(&root, "", &mut files);
        assert!(files.contains_key("Cargo.toml"), "the walk starts at the workspace");
        Self { files }
    }

    /// A fixture of `(path, text)`.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).into(), Some((*text).into()))).collect() }
    }

    /// Every file that is text: its path and what it says.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Texts whose name ends with `.extension`.
    pub(crate) fn with_extension<'a>(&'a self, extension: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let ending = format!(".{extension}");
        self.texts().filter(move |(path, _)| path.ends_with(&ending))
    }

    /// What the file at `path` says, if it is there.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
    }

    /// Is there a file or a folder at `path`?
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }
}

/// The folder of `path`, without a slash at its end; empty for the root.
pub(crate) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `relative`, seen from `folder`; nothing if it leads out of the repository.
pub(crate) fn join(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn walk(root: &Path, folder: &str, files: &mut BTreeMap<String, Option<String>>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder of the repository is readable") {
        let entry = entry.expect("an entry of the repository is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if BUILT.contains(&name.as_str()) || BUILT.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(root, &path, files);
        } else {
            files.insert(path, fs::read_to_string(entry.path()).ok());
        }
    }
}
