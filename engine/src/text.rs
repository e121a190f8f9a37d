//! Short texts from outside: 1 to 64 bytes of printable ASCII without spaces, by value.
//!
//! What holds: nothing else is ever in one, so it can go into a journal, a log or a line of its own as it is.

/// The most bytes.
const LONGEST: usize = 64;

/// A short text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ShortText {
    length: u8,
    bytes: [u8; LONGEST],
}

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Length(usize),
    Byte { byte: u8, at: usize },
}

impl ShortText {
    pub(crate) fn new(text: &str) -> Result<Self, Unfit> {
        let length = text.len();
        if length == 0 || length > LONGEST {
            return Err(Unfit::Length(length));
        }
        if let Some(at) = text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(Unfit::Byte { byte: text.as_bytes()[at], at });
        }
        let mut bytes = [0; LONGEST];
        bytes[..length].copy_from_slice(text.as_bytes());
        Ok(Self { length: length.to_le_bytes()[0], bytes })
    }

    pub(crate) fn as_str(&self) -> &str {
        // Checked when it was made: printable ASCII.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}
