//! Looks at what was built: can a phone load it, and is it small enough?
//!
//! In: the output folder. Out: a line for each file, for the reader; an error that says all that is
//! wrong with it.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use super::{
    allowed::{LIBRARIES, Symbols},
    cache::told,
    elf::{self, Elf},
    target::{Kind, Product, Target},
    workspace,
};
use crate::steps::output;

/// Largest file, in bytes, embedded location data included.
const SIZE_MAX: usize = 6 * 1024 * 1024;
/// Most crates in a file, those of the workspace included.
const CRATES_MAX: usize = 130;
/// Newer phones load nothing that is aligned to less, in bytes.
const PAGE_MIN: u64 = 16 * 1024;
/// Android's dynamic linker.
const LINKER: &str = "/system/bin/linker64";
/// Functions that Java finds by their names begin so.
const JAVA: &str = "Java_org_sakshi_";

/// Looks at files of a target; a line about each.
pub fn inspect(target: Target, products: &[Product], folder: &Path) -> Result<Vec<String>, String> {
    let symbols = Symbols::load()?;
    let mut lines = Vec::new();
    let mut imports = Vec::new();
    for product in products {
        let path = folder.join(product.file);
        let bytes = fs::read(&path).map_err(|error| told("read", &path, &error))?;
        let elf = elf::read(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let crates = crates(target, product.package)?;
        let faults = faults(product.kind, &elf, bytes.len(), crates, &symbols);
        if !faults.is_empty() {
            let faults = faults.join("\n  ");
            return Err(format!("{}:\n  {faults}", path.display()));
        }
        lines.push(format!(
            "{} of at most {} MiB, {crates} of at most {CRATES_MAX} crates: {}",
            mib(bytes.len()),
            mib(SIZE_MAX),
            path.display()
        ));
        imports.extend(elf.imports);
    }
    if target == Target::Android && products == target.products() {
        for symbol in symbols.unused(&imports) {
            lines.push(format!("note: {symbol} is in the list and no longer used"));
        }
    }
    Ok(lines)
}

/// All that is wrong with a file.
fn faults(kind: Kind, elf: &Elf, size: usize, crates: usize, symbols: &Symbols) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |is_well: bool, fault: String| {
        if !is_well {
            faults.push(fault);
        }
    };
    let (most, is) = (mib(SIZE_MAX), mib(size));
    expect(
        size <= SIZE_MAX,
        format!("{is} MiB, more than {most}: what has become bigger?"),
    );
    expect(
        crates <= CRATES_MAX,
        format!("{crates} crates, more than {CRATES_MAX}: is the new dependency worth it?"),
    );
    expect(
        elf.machine == elf::AARCH64,
        format!("for machine {}, not arm64", elf.machine),
    );
    expect(
        elf.page >= PAGE_MIN,
        format!(
            "segments aligned to {} bytes, expected {PAGE_MIN} or more",
            elf.page
        ),
    );
    let interpreter = elf.interpreter.as_deref();
    let wanted = (kind == Kind::AndroidProgram).then_some(LINKER);
    expect(
        interpreter == wanted,
        format!("started by {interpreter:?}, expected {wanted:?}"),
    );
    for library in &elf.needed {
        let is_known = kind != Kind::StaticProgram && LIBRARIES.contains(&library.as_str());
        expect(is_known, format!("wants the library {library}"));
    }
    for symbol in symbols.beyond(&elf.imports) {
        expect(
            false,
            format!(
                "wants the function {symbol}; if bionic has it since API 24 or earlier, add it to \
                 xtask/cross/bionic-api24.txt, else avoid it"
            ),
        );
    }
    expect(
        kind != Kind::AndroidLibrary || elf.exports.iter().any(|name| name.starts_with(JAVA)),
        format!("offers no function {JAVA}…"),
    );
    faults
}

/// How many crates are in what a package is built into; macros, which run here, do not count.
fn crates(target: Target, package: &str) -> Result<usize, String> {
    let mut tree = Command::new("cargo");
    tree.args(["tree", "--locked", "-p", package, "--no-default-features"]);
    tree.args([
        "--target",
        target.triple(),
        "--edges",
        "normal,no-proc-macro",
    ]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    Ok(distinct(&output(tree.current_dir(workspace()))?))
}

fn distinct(tree: &str) -> usize {
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)")) // Told before.
        .filter(|line| !line.is_empty())
        .collect();
    crates.len()
}

/// Mebibytes with two digits.
fn mib(bytes: usize) -> String {
    let hundredths = bytes.saturating_mul(100).div_ceil(1024 * 1024);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Elf {
        elf::read(&elf::tests::sample()).expect("an ELF file")
    }

    fn faults_of(kind: Kind, elf: &Elf, size: usize, crates: usize) -> Vec<String> {
        let symbols = Symbols::load().expect("the list");
        faults(kind, elf, size, crates, &symbols)
    }

    #[test]
    fn finds_nothing_wrong_with_a_program_for_android() {
        let none: [String; 0] = [];
        let found = faults_of(Kind::AndroidProgram, &program(), SIZE_MAX, CRATES_MAX);
        assert_eq!(found, none);
    }

    #[test]
    fn names_all_that_is_wrong() {
        let mut elf = program();
        elf.machine = 62;
        elf.page = 4096;
        elf.interpreter = Some("/lib/ld-musl-aarch64.so.1".to_owned());
        elf.needed.push("libz.so".to_owned());
        elf.imports.push("a_function_of_tomorrow".to_owned());
        let found = faults_of(Kind::AndroidProgram, &elf, SIZE_MAX + 1, CRATES_MAX + 1);
        for word in [
            "6.01 MiB",
            "131 crates",
            "machine 62",
            "4096 bytes",
            "ld-musl",
            "libz.so",
            "a_function_of_tomorrow",
        ] {
            let told = found.iter().filter(|fault| fault.contains(word)).count();
            assert_eq!(told, 1, "{word}: {found:?}");
        }
    }

    #[test]
    fn a_static_program_wants_nothing() {
        let found = faults_of(Kind::StaticProgram, &program(), 1, 1);
        assert_eq!(found.len(), 2, "interpreter and library: {found:?}");
    }

    #[test]
    fn a_library_offers_something_to_java() {
        let mut elf = program();
        elf.interpreter = None;
        let found = faults_of(Kind::AndroidLibrary, &elf, 1, 1);
        assert_eq!(found, ["offers no function Java_org_sakshi_…"]);
        elf.exports.push("Java_org_sakshi_Shim_version".to_owned());
        assert!(faults_of(Kind::AndroidLibrary, &elf, 1, 1).is_empty());
    }

    #[test]
    fn counts_a_crate_once() {
        assert_eq!(
            distinct("a v1.0.0\nb v1.0.0\n\na v1.0.0 (*)\na v1.1.0\n"),
            3
        );
    }
}
