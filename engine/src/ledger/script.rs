//! A script that runs whole, and by its digest where the server knows it already.

use redis::Cmd;

/// A script of two keys.
#[derive(Debug, Clone)]
pub(super) struct Script {
    code: String,
    digest: String,
}

impl Script {
    pub(super) fn new(code: &str) -> Self {
        Self { code: code.to_owned(), digest: redis::Script::new(code).get_hash().to_owned() }
    }

    /// The short form, for a server that knows it.
    pub(super) fn known(&self, keys: [&str; 2], arguments: &[String]) -> Cmd {
        Self::call("EVALSHA", &self.digest, keys, arguments)
    }

    /// The form that also teaches it. Unlike SCRIPT LOAD it names the keys, so in a cluster it gets to where they are.
    pub(super) fn taught(&self, keys: [&str; 2], arguments: &[String]) -> Cmd {
        Self::call("EVAL", &self.code, keys, arguments)
    }

    fn call(command: &str, script: &str, keys: [&str; 2], arguments: &[String]) -> Cmd {
        let mut call = redis::cmd(command);
        call.arg(script).arg(keys.len()).arg(&keys).arg(arguments);
        call
    }
}
