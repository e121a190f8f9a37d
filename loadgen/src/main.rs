//! The `loadgen` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sellout_loadgen::cli::main().into()
}
