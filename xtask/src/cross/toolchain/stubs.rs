//! Stands in for the parts of a toolchain that only an NDK has.
//!
//! In: the C files of `xtask/cross` and the list of Android's functions. Out, in the cache:
//! libraries with the names of Android's and the functions of the list, which a program is linked
//! with but which are never run; the code with which a program begins; an unwinder that does not
//! unwind. Made anew each time, since that takes a moment.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{API, Cache};
use crate::{
    cross::{
        allowed::{LIBRARIES, Symbols},
        cache, scripts,
    },
    steps::{Outcome, run_command},
};

/// Makes all stubs.
pub fn make(lld: &Path, cache: &Cache) -> Outcome {
    let folder = cache.path("stubs");
    let (musl, android) = (folder.join("musl"), folder.join("android"));
    cache::remove(&folder)?;
    cache::create(&musl)?;
    cache::create(&android)?;
    unwinder("aarch64-linux-musl", &musl)?;
    let target = format!("aarch64-linux-android{API}");
    unwinder(&target, &android)?;
    let start = android.join("crtbegin_dynamic.o");
    compile(&target, &scripts().join("android-crtbegin.c"), &start)?;
    let symbols = Symbols::load()?;
    for library in LIBRARIES {
        stub_library(lld, &target, library, &symbols, &android)?;
    }
    Ok(())
}

/// The library that is linked as an unwinder.
fn unwinder(target: &str, folder: &Path) -> Outcome {
    let object = folder.join("no-unwinder.o");
    compile(target, &scripts().join("no-unwinder.c"), &object)?;
    let archive = folder.join("libunwind.a");
    run_command(Command::new("llvm-ar").arg("rcs").arg(archive).arg(object))
}

/// A library with the name of Android's and its functions, all of them empty.
fn stub_library(
    lld: &Path,
    target: &str,
    library: &str,
    symbols: &Symbols,
    folder: &Path,
) -> Outcome {
    let source = folder.join(format!("{library}.s"));
    cache::write(&source, &assembly(symbols.of(library)))?;
    let object = folder.join(format!("{library}.o"));
    compile(target, &source, &object)?;
    let mut link = Command::new(lld);
    link.args(["-flavor", "gnu", "-m", "aarch64linux", "-shared", "-soname"]);
    link.arg(library).arg(object);
    run_command(link.arg("-o").arg(folder.join(library)))
}

/// Assembly that defines symbols and does nothing.
fn assembly<'a>(symbols: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from(".text\n");
    for symbol in symbols {
        for part in [
            ".globl ",
            symbol,
            "
.type ",
            symbol,
            ", %function
",
            symbol,
            ":
",
        ] {
            text.push_str(part);
        }
    }
    text.push_str("    ret\n");
    text
}

fn compile(target: &str, source: &Path, object: &PathBuf) -> Outcome {
    let mut clang = Command::new("clang");
    clang.arg(format!("--target={target}"));
    clang.args(["-O1", "-fPIC", "-Wall", "-Werror", "-c"]);
    run_command(clang.arg(source).arg("-o").arg(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defines_every_symbol_once() {
        let text = assembly(["abort", "accept"].into_iter());
        assert_eq!(text.matches("abort:\n").count(), 1);
        assert_eq!(text.matches(".globl accept\n").count(), 1);
        assert!(text.ends_with("ret\n"));
    }
}
