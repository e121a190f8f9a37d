//! Report files: the format by the extension, the file whole or not at all.

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use super::Report;

/// A report file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    path: PathBuf,
    format: Format,
}

/// The forms that a report file can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
}

/// Extensions and their forms.
const FORMATS: [(&str, Format); 1] = [("json", Format::Json)];

/// A report file that can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The extension names no form.
    #[error("{path:?}: no report has that extension, expected one of {known}")]
    Extension {
        /// The path as given.
        path: String,
        /// The extensions that there are.
        known: String,
    },
    /// The system refused.
    #[error("can't write the report {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl FromStr for Output {
    type Err = OutputError;

    fn from_str(text: &str) -> Result<Self, OutputError> {
        let path = PathBuf::from(text);
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let format = FORMATS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
        match format {
            Some((_, format)) => Ok(Self { format: *format, path }),
            None => Err(OutputError::Extension {
                path: text.to_owned(),
                known: FORMATS.map(|(known, _)| format!(".{known}")).join(", "),
            }),
        }
    }
}

impl Output {
    /// Says whether the folder takes a file of that name, before the run and not after it.
    ///
    /// # Errors
    /// [`OutputError::Write`] if it doesn't.
    pub fn check(&self) -> Result<(), OutputError> {
        if self.path.is_dir() {
            return Err(self.error(io::ErrorKind::IsADirectory.into()));
        }
        tempfile::NamedTempFile::new_in(self.folder()).map(drop).map_err(|source| self.error(source))
    }

    /// Writes the report: to a new file beside, which then takes the name.
    ///
    /// # Errors
    /// [`OutputError::Write`] if the system refuses.
    pub fn write(&self, report: &Report) -> Result<(), OutputError> {
        let text = match self.format {
            Format::Json => serde_json::to_vec_pretty(report).map_err(io::Error::from),
        };
        let written = text.and_then(|text| {
            let mut file = tempfile::NamedTempFile::new_in(self.folder())?;
            file.write_all(&text)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        });
        written.map_err(|source| self.error(source))
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn error(&self, source: io::Error) -> OutputError {
        OutputError::Write { path: self.path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_chooses_the_form_and_an_unknown_one_names_the_known() {
        assert!("a/r.json".parse::<Output>().is_ok());
        assert!("R.JSON".parse::<Output>().is_ok());
        for path in ["r.pdf", "r", ".json", ""] {
            let error = path.parse::<Output>().unwrap_err().to_string();
            assert!(error.contains(".json"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_before_the_run() {
        let output: Output = "no/such/folder/r.json".parse().unwrap();
        assert!(output.check().unwrap_err().to_string().contains("no/such/folder/r.json"));
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_named_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        std::fs::create_dir(&path).unwrap();
        let output: Output = path.to_str().unwrap().parse().unwrap();
        assert!(output.check().unwrap_err().to_string().contains("r.json: is a directory"));
    }
}
