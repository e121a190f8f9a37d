# Sourced by every job: strict mode, the repository's root as the current folder, and what several jobs need.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Tools that `ci/setup` installs with cargo are found without a change of the caller's profile.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
target=${CARGO_TARGET_DIR:-$PWD/target}

have() { command -v "$1" >/dev/null 2>&1; }

fail() {
    printf 'ci/%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs the models whose path contains $1_, under `--cfg sellout_$1` and in a target folder of their own.
models() {
    local filter=$1_ listed
    export CARGO_TARGET_DIR=$target/$1 RUSTFLAGS="${RUSTFLAGS:-} --cfg sellout_$1"
    local build=(cargo test --locked -p sellout --profile model --lib "$filter" --)
    listed=$("${build[@]}" --list)
    grep -q ': test$' <<<"$listed" || fail "no test has $filter in its path: there is nothing to check"
    "${build[@]}"
}
