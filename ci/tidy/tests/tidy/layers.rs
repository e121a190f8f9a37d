//! Layers point one way: an arrow never points up.
//!
//! The table below is the whole rule. Paths are compared after groups are opened, and `use` names, re-exports of
//! the crate's root, `self` and `super` are followed. Comments and test-only items may mention what they like.

use std::collections::BTreeMap;

use crate::{
    assert_caught, assert_clean,
    rust::{Mention, Module, Source, known, mentions, modules},
    tree::Tree,
};

struct Layer {
    name: &'static str,
    /// A module's file without `.rs`, or a folder: it and everything below it.
    home: &'static [&'static str],
    /// What it must not know: a path, and everything below it.
    forbidden: &'static [&'static str],
    /// What of that it may know all the same.
    except: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "core",
        home: &["engine/src/core"],
        forbidden: &[
            "crate",
            "std::env",
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "std::sync::Condvar",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "parking_lot",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "getrandom",
            "jiff::Timestamp::now",
            "jiff::Zoned::now",
            "redis",
            "rustix",
            "tokio",
        ],
        except: &["crate::core", "crate::sync"],
    },
    Layer {
        name: "journal",
        home: &["engine/src/journal"],
        forbidden: &["crate::engine", "crate::ledger", "crate::sim", "redis", "tokio"],
        except: &[],
    },
    Layer {
        name: "engine",
        home: &["engine/src/engine"],
        forbidden: &["crate::ledger", "crate::sim", "redis", "tokio"],
        except: &[],
    },
    Layer {
        name: "ledger",
        home: &["engine/src/ledger"],
        // What `core` and `journal` show to the world is seen through the crate's root, `use crate::Timestamp`.
        forbidden: &["crate::core", "crate::journal", "crate::sim"],
        except: &[],
    },
    Layer {
        name: "library",
        home: &["engine"],
        forbidden: &["sellout_bench", "sellout_examples", "sellout_loadgen"],
        except: &[],
    },
];

/// The tools see the library as its users do: no file of it may be pulled in by its path.
const TOOLS: &[&str] = &["loadgen", "bench", "examples"];

fn one_way(tree: &Tree, layers: &[Layer]) -> Vec<String> {
    let modules = modules(tree);
    let mut complaints = Vec::new();
    for layer in layers {
        for module in modules.iter().filter(|module| !module.test && is_home(layer, &module.file)) {
            let source = Source::new(tree.text(&module.file).expect("a module has a file"));
            // In `ledger` a name that the root re-exports is public, and allowed; elsewhere it is followed.
            let follow = layer.forbidden.contains(&"crate");
            for (line, path) in full_paths(tree, &modules, module, &mentions(&source), follow) {
                if layer.forbidden.iter().any(|top| covers(top, &path))
                    && !layer.except.iter().any(|top| below(top, &path))
                {
                    complaints.push(format!("{}:{line}: {} must not know `{path}`", module.file, layer.name));
                }
            }
        }
    }
    complaints
}

fn is_home(layer: &Layer, file: &str) -> bool {
    let stem = file.trim_end_matches(".rs");
    layer.home.iter().any(|home| stem.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Is `path` the forbidden `top`, below it, or a glob that brings it in?
fn covers(top: &str, path: &str) -> bool {
    below(top, path) || path.strip_suffix("::*").is_some_and(|glob| below(glob, top))
}

fn below(top: &str, path: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every mention of `module`, as a path from its crate's root or from another crate.
fn full_paths(
    tree: &Tree,
    modules: &[Module],
    module: &Module,
    found: &[Mention],
    follow: bool,
) -> Vec<(usize, String)> {
    let names = known(found);
    let root = root_names(tree, modules, module);
    let full = |mention: &Mention| {
        let path = absolute(&mention.path, &module.path, modules, &names);
        let shown = (follow && path[0] == "crate" && path.len() > 1).then(|| root.get(&path[1])).flatten();
        let path = shown.map_or(path.clone(), |real| [real, &path[2..]].concat());
        (mention.line, path.join("::"))
    };
    found.iter().map(full).collect()
}

/// What the root of the module's crate re-exports, by name.
fn root_names(tree: &Tree, modules: &[Module], module: &Module) -> BTreeMap<String, Vec<String>> {
    let crate_of = |file: &str| file.split_once("/src/").map(|(package, _)| package.to_owned());
    let same =
        |other: &&Module| other.path.len() == 1 && crate_of(&other.file) == crate_of(&module.file) && !other.test;
    let root = modules.iter().find(same).expect("a module belongs to a crate");
    let names = known(&mentions(&Source::new(tree.text(&root.file).expect("a module has a file"))));
    let full = |path: &Vec<String>| absolute(path, &root.path, modules, &BTreeMap::new());
    names.iter().map(|(name, path)| (name.clone(), full(path))).collect()
}

/// `path` as `here` means it.
fn absolute(
    path: &[String],
    here: &[String],
    modules: &[Module],
    names: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let Some((first, rest)) = path.split_first() else { return vec![String::new()] };
    let child = [here, std::slice::from_ref(first)].concat();
    let parent = &here[..here.len().saturating_sub(1)];
    match first.as_str() {
        "crate" => path.to_vec(),
        "self" => [here, rest].concat(),
        "super" if rest.first().is_some_and(|next| next == "super") => absolute(rest, parent, modules, names),
        "super" => [parent, rest].concat(),
        _ if modules.iter().any(|module| module.path == child) => [&child, rest].concat(),
        name => match names.get(name) {
            Some(real) if real[0] != *name => [&absolute(real, here, modules, &BTreeMap::new()), rest].concat(),
            _ => path.to_vec(),
        },
    }
}

fn tools_see_the_public_side(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let is_tool = |path: &str| TOOLS.iter().any(|tool| path.starts_with(&format!("{tool}/")));
    for (path, text) in tree.with_extension("rs").filter(|(path, _)| is_tool(path)) {
        let source = Source::new(text);
        for ((line, code), raw) in (1..).zip(source.code.lines()).zip(text.lines()) {
            if code.contains("#[path") {
                complaints.push(format!("{path}:{line}: a tool declares modules of its own only"));
            }
            let includes = ["include!", "include_str!", "include_bytes!"].iter().any(|name| code.contains(name));
            if includes && raw.contains("engine/src") {
                complaints.push(format!("{path}:{line}: a tool uses the library's public side, not its files"));
            }
        }
    }
    complaints
}

#[test]
fn layers_point_one_way() {
    assert_clean(&one_way(&Tree::repository(), LAYERS));
}

#[test]
fn an_arrow_that_points_up_is_caught() {
    let files = [
        ("engine/Cargo.toml", ""),
        (
            "engine/src/lib.rs",
            "mod clock;\nmod core;\nmod engine;\nmod journal;\nmod ledger;\nmod sim;\n\
             pub use clock::Clock;\npub use core::Slot;\n",
        ),
        ("engine/src/clock.rs", ""),
        (
            "engine/src/core.rs",
            "mod a;\nmod b;\n// crate::engine is only mentioned\nuse crate::core::a;\nuse crate::sync::Arc;\n",
        ),
        (
            "engine/src/core/a.rs",
            "use crate::{Slot, engine::Engine};\nuse std::time::{Duration, Instant};\n\
             fn f() { fs::read(); }\nuse std::fs;\n",
        ),
        (
            "engine/src/core/b.rs",
            "fn f(c: crate::Clock) {}\nuse super::super::journal;\n\
             #[cfg(test)]\nmod tests { use std::thread; }\nuse std::time::*;\n",
        ),
        ("engine/src/journal.rs", "use crate::core::Slot;\nfn f() { crate::ledger::g(); }\n"),
        ("engine/src/ledger.rs", "use crate::Slot;\nuse crate::core::a;\nfn f() { tokio::spawn(); }\n"),
        ("engine/src/engine.rs", "use crate::core::a;\nfn f() { crate::sim::g(); }\n"),
        ("engine/src/sim.rs", "use crate::{core::a, engine::f, journal::f as g, ledger::f as h};\n"),
        ("engine/tests/sale.rs", "use std::thread;\n"),
    ];
    let expected = [
        "engine/src/core/a.rs:1: core must not know `crate::engine::Engine`",
        "engine/src/core/a.rs:2: core must not know `std::time::Instant`",
        "engine/src/core/a.rs:3: core must not know `std::fs::read`",
        "engine/src/core/a.rs:4: core must not know `std::fs`",
        "engine/src/core/b.rs:1: core must not know `crate::clock::Clock`",
        "engine/src/core/b.rs:2: core must not know `crate::journal`",
        "engine/src/core/b.rs:5: core must not know `std::time::*`",
        "engine/src/journal.rs:2: journal must not know `crate::ledger::g`",
        "engine/src/engine.rs:2: engine must not know `crate::sim::g`",
        "engine/src/ledger.rs:2: ledger must not know `crate::core::a`",
    ];
    assert_caught(&one_way(&Tree::of(&files), LAYERS), &expected);
}

#[test]
fn every_layer_has_a_home() {
    let tree = Tree::repository();
    let homeless = |layer: &&Layer| !layer.home.iter().any(|home| tree.has(home) || tree.has(&format!("{home}.rs")));
    let complaints: Vec<_> =
        LAYERS.iter().filter(homeless).map(|layer| format!("{}: no such module", layer.name)).collect();
    assert_clean(&complaints);
}

#[test]
fn tools_use_the_public_side() {
    assert_clean(&tools_see_the_public_side(&Tree::repository()));
}

#[test]
fn a_tool_that_reaches_inside_is_caught() {
    let files = [
        ("bench/src/a.rs", "#[path = \"../../engine/src/core/slot.rs\"]\nmod slot;\n"),
        ("loadgen/src/b.rs", "include!(\"../../engine/src/clock.rs\");\n"),
        ("examples/src/c.rs", "include_str!(\"../../docs/src/guarantees.md\");\nuse sellout::Engine;\n"),
    ];
    assert_caught(&tools_see_the_public_side(&Tree::of(&files)), &["bench/src/a.rs:1", "loadgen/src/b.rs:1"]);
}
