//! The rules by name, held against the code that keeps them.

use std::fs;
use std::path::{Path, PathBuf};

use ringleader_shared::election::{chang_roberts, lowest_id};
use ringleader_shared::{factorial::rule as factorial, paxos, rule};

/// A rule, as the sources have it: where it is kept, its variant, its name, what it says.
struct Rule {
    kept_in: &'static str,
    variant: String,
    name: &'static str,
    statement: &'static str,
}

macro_rules! rules_of {
    ($($kept_in:literal: $module:ident),*) => {
        [$($module::Rule::ALL.iter().map(|rule| Rule {
            kept_in: $kept_in,
            variant: format!("{rule:?}"),
            name: rule.name(),
            statement: rule.statement(),
        }).collect::<Vec<_>>()),*].into_iter().flatten().collect()
    };
}

/// Those of a hub and its clients, and of each algorithm without a hub.
fn all() -> Vec<Rule> {
    rules_of!("": rule, "election/chang_roberts": chang_roberts, "election/lowest_id": lowest_id, "paxos": paxos,
        "factorial": factorial)
}

/// The sources, but for tests.
fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some("tests") => {}
            _ if path.is_dir() => sources(&path, all),
            _ => all.push(path),
        }
    }
}

/// A rule that no code asks for cannot be broken on purpose, so nobody would see what
/// goes wrong without it.
#[test]
fn every_rule_is_kept_somewhere() {
    let (mut files, root) = (vec![], Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    sources(&root, &mut files);
    let texts: Vec<(PathBuf, String)> =
        files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("UTF-8"))).collect();
    for Rule { kept_in, variant, .. } in all() {
        let asked = format!("keeps(Rule::{variant})");
        let place = root.join(kept_in).to_string_lossy().into_owned();
        let mut code = texts
            .iter()
            .filter(|(path, _)| path.to_string_lossy().starts_with(&place))
            .flat_map(|(_, text)| text.lines())
            .filter(|line| !line.trim_start().starts_with("//"));
        assert!(code.any(|line| line.contains(&asked)), "no code asks for {variant}: expected {asked} in {place}");
    }
}

/// `sim --plant` takes the name; a search of the code, the variant. So no two of an algorithm
/// have one name.
#[test]
fn a_rules_name_is_its_variants_in_kebab_case() {
    for Rule { variant, name, .. } in all() {
        let mut kebab = String::new();
        for letter in variant.chars() {
            if letter.is_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.extend(letter.to_lowercase());
        }
        assert_eq!(name, kebab);
    }
}

#[test]
fn every_rule_says_what_it_says_in_a_sentence() {
    for Rule { name, statement, .. } in all() {
        let statement = statement.trim();
        assert!(statement.ends_with('.') && statement.starts_with(char::is_uppercase), "{name}: {statement:?}");
    }
}
