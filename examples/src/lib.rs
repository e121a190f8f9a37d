//! Examples.

#[cfg(doctest)]
mod book;
