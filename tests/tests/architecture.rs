//! The rules of the house that no lint knows, checked by reading the sources.
//!
//! In: every Rust file of the workspace, as tokens, so that comments and texts do not count. Out:
//! a line per breach with file and line. Each checker is tried on a bad sample below.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Longest function, in lines.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest file, in lines.
const FILE_LINES_MAX: usize = 800;

/// Where Rust sources lie.
const ROOTS: [&str; 11] = [
    "android-shim/src",
    "daemon/src",
    "daemon/tests",
    "rules/src",
    "rules/tests",
    "tests/fuzz",
    "tests/src",
    "tests/tests",
    "verifier/src",
    "verifier/tests",
    "xtask/src",
];

/// Crates of the product: these may not read a clock.
const PRODUCT: [&str; 4] = [
    "android-shim/src",
    "daemon/src",
    "rules/src",
    "verifier/src",
];
/// The only file of the product that reads one.
const CLOCK: &str = "daemon/src/platform/clock.rs";

/// The daemon's rooms, each with the rooms that it may import: those above it, never one below.
/// Types of `sakshi_rules::contact` may be used by all; the engine itself only by those that say
/// `rules`.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("platform", &["time"]),
    // Carries what is known of apps when the inventory changes.
    ("input", &["attribute", "time"]),
    ("packet", &["input", "time"]),
    (
        "capture",
        &["attribute", "input", "packet", "platform", "time"],
    ),
    ("flow", &["input", "packet", "time"]),
    ("attribute", &["input", "time"]),
    ("name", &["input", "time"]),
    ("locate", &["time"]),
    // Only the types that records are made of.
    (
        "evidence",
        &["attribute", "flow", "input", "platform", "time"],
    ),
    // Canonical JSON, for the list of what was gathered.
    ("gather", &["evidence", "locate", "time"]),
    (
        "finding",
        &["attribute", "evidence", "input", "rules", "time"],
    ),
    (
        "pipeline",
        &[
            "attribute",
            "evidence",
            "finding",
            "flow",
            "input",
            "locate",
            "name",
            "packet",
            "rules",
            "time",
        ],
    ),
    ("report", &["evidence", "input", "packet", "time"]),
    (
        "posthoc",
        &["evidence", "finding", "locate", "report", "rules", "time"],
    ),
    ("paper", &["evidence", "report", "time"]),
    ("stamp", &["time"]),
    ("control", &["evidence", "input", "platform", "time"]),
    (
        "doctor",
        &[
            "attribute",
            "capture",
            "control",
            "evidence",
            "input",
            "platform",
            "time",
        ],
    ),
    ("validate", &["evidence", "platform", "time"]),
    (
        "session",
        &[
            "attribute",
            "capture",
            "control",
            "doctor",
            "evidence",
            "input",
            "locate",
            "pipeline",
            "platform",
            "rules",
            "time",
            "validate",
        ],
    ),
    ("handset", &["control", "evidence", "platform", "time"]),
    ("cli", ANY),
    ("lib", ANY),
    ("main", ANY),
];

/// The outermost rooms join all others.
const ANY: &[&str] = &["*"];

/// Where the verifier is: an auditor builds, reads and trusts it alone.
const VERIFIER: &str = "verifier/";

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Breach {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A source file.
struct Source {
    file: String,
    text: String,
    tokens: TokenStream,
}

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let tokens = text
            .parse()
            .unwrap_or_else(|error| panic!("{file} does not parse: {error}"));
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            tokens,
        }
    }

    fn breach(&self, line: usize, what: impl Into<String>) -> Breach {
        Breach {
            file: self.file.clone(),
            line,
            what: what.into(),
        }
    }

    /// The tokens outside test modules.
    fn product_tokens(&self) -> Vec<TokenTree> {
        without_tests(&self.tokens)
    }

    /// The daemon's room to which it belongs.
    fn room(&self) -> Option<&str> {
        let inside = self.file.strip_prefix("daemon/src/")?;
        let first = inside.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources() -> Vec<Source> {
    let root = workspace();
    let mut paths = Vec::new();
    let mut folders: Vec<PathBuf> = ROOTS.iter().map(|dir| root.join(dir)).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue; // Not every crate has tests beside its sources.
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a readable source");
            let inside = path.strip_prefix(&root).expect("inside the workspace");
            Source::new(&inside.to_string_lossy(), &text)
        })
        .collect()
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

/// A sequence of tokens without items that are only there in tests.
fn without_tests(tokens: &TokenStream) -> Vec<TokenTree> {
    let all: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let mut kept = Vec::new();
    let mut index = 0;
    while let Some(token) = all.get(index) {
        let is_test = is_punct(Some(token), '#')
            && matches!(all.get(index + 1), Some(TokenTree::Group(group))
                if matches!(group.stream().to_string().replace(' ', "").as_str(), "cfg(test)" | "test"));
        if is_test {
            index += 2;
            while let Some(token) = all.get(index) {
                index += 1;
                let is_body = matches!(token, TokenTree::Group(group)
                    if group.delimiter() == Delimiter::Brace);
                if is_body || is_punct(Some(token), ';') {
                    break;
                }
            }
        } else {
            kept.push(token.clone());
            index += 1;
        }
    }
    kept
}

/// Calls `look` with each sequence of sibling tokens, the innermost ones too.
fn each_level(tokens: &[TokenTree], look: &mut impl FnMut(&[TokenTree])) {
    look(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            each_level(&without_tests(&group.stream()), look);
        }
    }
}

/// Paths that begin with `root`, as the names after it: `crate::{a::b, c}` gives `a::b` and `c`.
fn paths_from(tokens: &[TokenTree], root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    each_level(tokens, &mut |level| {
        for (index, token) in level.iter().enumerate() {
            if is_ident(Some(token), root)
                && is_punct(level.get(index + 1), ':')
                && is_punct(level.get(index + 2), ':')
            {
                let rest: TokenStream = level
                    .get(index + 3..)
                    .unwrap_or_default()
                    .iter()
                    .cloned()
                    .collect();
                found.extend(heads(&rest).into_iter().map(|head| (line(token), head)));
            }
        }
    });
    found
}

/// The names at the beginning of what follows a path's root.
fn heads(rest: &TokenStream) -> Vec<String> {
    let rest: Vec<TokenTree> = rest.clone().into_iter().collect();
    match rest.first() {
        Some(TokenTree::Group(group)) => {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            inside
                .split(|token| is_punct(Some(token), ','))
                .flat_map(|part| heads(&part.iter().cloned().collect()))
                .collect()
        }
        Some(TokenTree::Ident(ident)) => {
            let deeper = is_punct(rest.get(1), ':') && is_punct(rest.get(2), ':');
            let next = match rest.get(3) {
                Some(TokenTree::Ident(next)) if deeper => format!("::{next}"),
                _ => String::new(),
            };
            vec![format!("{ident}{next}")]
        }
        _ => Vec::new(),
    }
}

fn first_name(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// Which room imports which.
fn imports(source: &Source) -> Vec<Breach> {
    let Some(room) = source.room() else {
        return Vec::new();
    };
    let rooms: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let Some(allowed) = rooms.get(room) else {
        let what = format!("the room `{room}` is not in the table of who may import whom");
        return vec![source.breach(1, what)];
    };
    let may = |other: &str| other == room || *allowed == ANY || allowed.contains(&other);
    let tokens = source.product_tokens();
    let of_rooms = paths_from(&tokens, "crate")
        .into_iter()
        .filter(|(_, path)| rooms.contains_key(first_name(path)) && !may(first_name(path)));
    let of_engine = paths_from(&tokens, "sakshi_rules")
        .into_iter()
        .filter(|(_, path)| first_name(path) != "contact" && !may("rules"));
    of_rooms
        .chain(of_engine)
        .map(|(line, path)| source.breach(line, format!("`{room}` may not import `{path}`")))
        .collect()
}

/// The verifier uses nothing else of the project: no crate of it, and no file of another folder.
fn verifier(source: &Source) -> Vec<Breach> {
    if !source.file.starts_with(VERIFIER) {
        return Vec::new();
    }
    let mut breaches = Vec::new();
    let all: Vec<TokenTree> = source.tokens.clone().into_iter().collect();
    walk(&all, &mut |level| {
        for token in level {
            let found = token.to_string();
            let foreign_crate = matches!(token, TokenTree::Ident(_))
                && (found == "sakshi" || found.starts_with("sakshi_"))
                && found != "sakshi_verifier";
            let other_folder = matches!(token, TokenTree::Literal(_))
                && found.contains("../")
                && found.contains(".rs");
            if foreign_crate || other_folder {
                let what = format!("the verifier may not use `{found}`");
                breaches.push(source.breach(line(token), what));
            }
        }
    });
    breaches
}

/// Crates of this workspace that a manifest names as dependencies.
fn dependencies_of_ours(manifest: &str) -> Vec<String> {
    let mut in_dependencies = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        }
        let ours = line.starts_with("sakshi") || line.contains("path =");
        if in_dependencies && (ours || line.contains("dependencies.sakshi")) {
            found.push(line.to_owned());
        }
    }
    found
}

/// `allow` attributes and unfinished code.
fn shortcuts(source: &Source) -> Vec<Breach> {
    let all: Vec<TokenTree> = source.tokens.clone().into_iter().collect();
    let mut breaches = Vec::new();
    walk(&all, &mut |level| {
        for (index, token) in level.iter().enumerate() {
            let next = level.get(index + 1);
            let call = matches!(next, Some(TokenTree::Group(_)));
            if is_ident(Some(token), "allow") && call && in_attribute(level) {
                let what = "`allow`: say `expect` with a reason";
                breaches.push(source.breach(line(token), what));
            }
            for name in ["todo", "unimplemented", "dbg"] {
                if is_ident(Some(token), name) && is_punct(next, '!') {
                    breaches.push(source.breach(line(token), format!("`{name}!` is left")));
                }
            }
        }
    });
    breaches
}

/// Like [`each_level`], test code included.
fn walk(tokens: &[TokenTree], look: &mut impl FnMut(&[TokenTree])) {
    look(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            walk(&inside, look);
        }
    }
}

/// Whether a level looks like an attribute: `allow(…)` alone, or within `cfg_attr(…)`.
fn in_attribute(level: &[TokenTree]) -> bool {
    let position = level
        .iter()
        .position(|token| is_ident(Some(token), "allow"));
    position.is_some_and(|index| index == 0 || is_punct(level.get(index - 1), ','))
}

/// Functions that do not fit on a screen.
fn long_functions(source: &Source) -> Vec<Breach> {
    let all: Vec<TokenTree> = source.tokens.clone().into_iter().collect();
    let mut breaches = Vec::new();
    walk(&all, &mut |level| {
        for (index, token) in level.iter().enumerate() {
            let Some(TokenTree::Ident(name)) = level.get(index + 1) else {
                continue;
            };
            if !is_ident(Some(token), "fn") {
                continue;
            }
            let body = level[index..]
                .iter()
                .take_while(|token| !is_punct(Some(token), ';'))
                .find_map(|token| match token {
                    TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
                    _ => None,
                });
            let Some(body) = body else { continue };
            let lines = body.span_close().end().line - line(token) + 1;
            if lines > FUNCTION_LINES_MAX {
                let what = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
                breaches.push(source.breach(line(token), what));
            }
        }
    });
    breaches
}

/// Files that are too long or do not say what they are for.
fn files(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let what = format!("the file has {lines} lines, at most {FILE_LINES_MAX}");
        breaches.push(source.breach(lines, what));
    }
    if !source.text.starts_with("//!") {
        breaches.push(source.breach(1, "the file does not begin with `//!` and what it is for"));
    }
    breaches
}

/// Clocks that are read outside the injected one.
fn clocks(source: &Source) -> Vec<Breach> {
    let in_product = PRODUCT.iter().any(|root| source.file.starts_with(root));
    if !in_product || source.file == CLOCK {
        return Vec::new();
    }
    let tokens = source.product_tokens();
    ["SystemTime", "Instant"]
        .iter()
        .flat_map(|clock| paths_from(&tokens, clock))
        .filter(|(_, path)| path == "now")
        .map(|(line, _)| source.breach(line, "reads a clock that is not injected"))
        .collect()
}

/// Crates with more than one file that has `unsafe` in it.
fn unsafe_files(sources: &[Source]) -> Vec<Breach> {
    let mut by_crate: BTreeMap<&str, Vec<Breach>> = BTreeMap::new();
    for source in sources {
        let all: Vec<TokenTree> = source.tokens.clone().into_iter().collect();
        let mut first = None;
        walk(&all, &mut |level| {
            let found = level.iter().find(|token| is_ident(Some(token), "unsafe"));
            first = first.or(found.map(line));
        });
        let name = source.file.split('/').next().unwrap_or_default();
        if let Some(line) = first {
            let what = "a second file of this crate with `unsafe`";
            let breaches = by_crate.entry(name).or_default();
            breaches.push(source.breach(line, what));
        }
    }
    by_crate
        .into_values()
        .filter(|files| files.len() > 1)
        .flatten()
        .collect()
}

fn check(rule: impl Fn(&Source) -> Vec<Breach>) {
    let breaches: Vec<String> = sources()
        .iter()
        .flat_map(|source| rule(source).into_iter().map(|breach| breach.to_string()))
        .collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn rooms_import_only_what_is_above_them() {
    check(imports);
}

#[test]
fn the_verifier_can_be_trusted_alone() {
    check(verifier);
}

#[test]
fn the_verifier_depends_on_nothing_of_ours() {
    let path = workspace().join(VERIFIER).join("Cargo.toml");
    let manifest = fs::read_to_string(path).expect("a manifest");
    assert_eq!(dependencies_of_ours(&manifest), Vec::<String>::new());
    let bad = "[package]\nname = \"sakshi-x\"\n[dev-dependencies]\nsakshi.workspace = true\n\
        [target.'cfg(unix)'.dependencies]\nx = { path = \"../x\" }\n[[bin]]\npath = \"y\"\n";
    assert_eq!(dependencies_of_ours(bad).len(), 2);
}

#[test]
fn nothing_is_waved_through_or_left_open() {
    check(shortcuts);
}

#[test]
fn functions_fit_on_a_screen() {
    check(long_functions);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    check(files);
}

#[test]
fn only_the_injected_clock_is_read() {
    check(clocks);
}

#[test]
fn unsafe_code_is_in_one_file_of_a_crate() {
    let breaches = unsafe_files(&sources());
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn the_sources_are_found() {
    let files: Vec<String> = sources().into_iter().map(|source| source.file).collect();
    for expected in [
        "daemon/src/lib.rs",
        "rules/src/contact.rs",
        "verifier/src/lib.rs",
        "xtask/src/main.rs",
    ] {
        assert!(files.iter().any(|file| file == expected), "{expected}");
    }
}

/// The lines on which a rule finds a breach in a sample.
fn lines(rule: impl Fn(&Source) -> Vec<Breach>, file: &str, text: &str) -> Vec<usize> {
    let breaches = rule(&Source::new(file, text));
    breaches.into_iter().map(|breach| breach.line).collect()
}

#[test]
fn a_wrong_import_is_seen() {
    let flow = "daemon/src/flow/table.rs";
    let text = "use crate::{\n  time::Timestamp,\n  evidence::{Store, Record},\n};\n\
        fn f() { format!(\"{}\", crate::report::x()); }\n// crate::report\n";
    assert_eq!(lines(imports, flow, text), [1, 5]);
    assert_eq!(lines(imports, flow, "use crate::time::T;"), []);
    let in_tests = "#[cfg(test)]\nmod tests { use crate::evidence::Store; }";
    assert_eq!(lines(imports, flow, in_tests), []);
    let engine = "use sakshi_rules::judge::judge;\nuse sakshi_rules::contact::Owner;";
    assert_eq!(lines(imports, flow, engine), [1]);
    assert_eq!(lines(imports, "daemon/src/finding.rs", engine), []);
    assert_eq!(lines(imports, "daemon/src/attic.rs", ""), [1]);
    assert_eq!(lines(imports, "xtask/src/main.rs", "use crate::x;"), []);
}

#[test]
fn a_verifier_that_uses_the_rest_is_seen() {
    let text = "use sakshi::evidence::Store;\nuse sakshi_verifier::verify;\n\
        #[path = \"../../daemon/src/evidence/chain.rs\"]\nmod chain;\nfn f() { sakshi_rules::x() }";
    let file = "verifier/src/verify.rs";
    assert_eq!(lines(verifier, file, text), [1, 3, 5]);
    assert_eq!(lines(verifier, "daemon/src/evidence/mod.rs", text), []);
}

#[test]
fn a_shortcut_is_seen() {
    let text = "#![allow(dead_code)]\n#[cfg_attr(test, allow(x))]\nfn f() { todo!() }\n\
        fn allow(x: u8) {}\n// todo!()\nfn g() { self.allow(1); dbg!(2); }";
    assert_eq!(lines(shortcuts, "a.rs", text), [1, 2, 3, 6]);
}

#[test]
fn a_long_function_is_seen() {
    let of = |lines: usize| format!("impl A {{\nfn f() {{\n{}}}\n}}", "x();\n".repeat(lines - 2));
    assert_eq!(lines(long_functions, "a.rs", &of(FUNCTION_LINES_MAX)), []);
    assert_eq!(
        lines(long_functions, "a.rs", &of(FUNCTION_LINES_MAX + 1)),
        [2]
    );
    assert_eq!(lines(long_functions, "a.rs", "trait T { fn f(); }"), []);
}

#[test]
fn a_long_or_silent_file_is_seen() {
    let long = "//! A file.\n".to_owned() + &"\n".repeat(FILE_LINES_MAX);
    assert_eq!(lines(files, "a.rs", &long), [FILE_LINES_MAX + 1]);
    assert_eq!(lines(files, "a.rs", "fn f() {}"), [1]);
    assert_eq!(lines(files, "a.rs", "//! What it is for.\n"), []);
}

#[test]
fn a_clock_is_seen() {
    let text = "fn f() { std::time::SystemTime::now(); }\n#[cfg(test)]\nmod t { fn g() { \
        Instant::now(); } }\nfn h() { Instant::now() }";
    assert_eq!(lines(clocks, "daemon/src/flow/mod.rs", text), [1, 4]);
    assert_eq!(lines(clocks, CLOCK, text), []);
    assert_eq!(lines(clocks, "xtask/src/main.rs", text), []);
}

#[test]
fn a_second_unsafe_file_is_seen() {
    let of = |file: &str| Source::new(file, "fn f() { unsafe { g() } }");
    let clean = Source::new("daemon/src/a.rs", "// unsafe\nfn f() { g(\"unsafe\") }");
    let one = [of("daemon/src/b.rs"), of("rules/src/b.rs"), clean];
    assert_eq!(unsafe_files(&one), []);
    let two = [of("daemon/src/b.rs"), of("daemon/src/c.rs")];
    assert_eq!(unsafe_files(&two).len(), 2);
}
