//! The rules by name, held against the code that keeps them.

use std::fs;
use std::path::{Path, PathBuf};

use ringleader_shared::rule::Rule;

/// The sources under a folder, but for tests.
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
    let mut files = vec![];
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).expect("UTF-8")).collect();
    let code = || texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with("//"));
    for rule in Rule::ALL {
        let asked = format!("keeps(Rule::{rule:?})");
        assert!(code().any(|line| line.contains(&asked)), "no code asks for {rule}: expected {asked}");
    }
}

/// `sim --plant` takes the name; a search of the code, the variant. So no two have one name.
#[test]
fn a_rules_name_is_its_variants_in_kebab_case() {
    for rule in Rule::ALL {
        let mut kebab = String::new();
        for letter in format!("{rule:?}").chars() {
            if letter.is_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.extend(letter.to_lowercase());
        }
        assert_eq!(rule.name(), kebab);
        assert_eq!(rule.to_string(), kebab);
    }
}

#[test]
fn every_rule_says_what_it_says_in_a_sentence() {
    for rule in Rule::ALL {
        let statement = rule.statement().trim();
        assert!(statement.ends_with('.') && statement.starts_with(char::is_uppercase), "{rule}: {statement:?}");
    }
}
