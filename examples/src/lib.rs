//! The stories lie in `examples/`, one file each; the book shows what they print. Here the pages of the book become
//! doctests.

#[cfg(doctest)]
mod book;
