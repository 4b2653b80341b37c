//! What is built for the phone.

/// A platform that we build for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One static file that runs on any arm64 kernel; Java cannot load it.
    Musl,
    /// A program and a library for Android's own C library.
    Android,
}

/// A file that comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Its name in the output folder.
    pub file: &'static str,
    /// The package that it is built from.
    pub package: &'static str,
    /// What it has to be.
    pub kind: Kind,
}

/// What a file has to be, to be of use on a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program that needs no other file.
    StaticProgram,
    /// A program that Android's dynamic linker starts.
    AndroidProgram,
    /// A library that Java loads.
    AndroidLibrary,
}

const MUSL: [Product; 1] = [Product {
    file: "sakshi",
    package: "sakshi",
    kind: Kind::StaticProgram,
}];
const ANDROID: [Product; 2] = [
    Product {
        file: "sakshi",
        package: "sakshi",
        kind: Kind::AndroidProgram,
    },
    Product {
        file: "libsakshi_android_shim.so",
        package: "sakshi-android-shim",
        kind: Kind::AndroidLibrary,
    },
];

impl Target {
    /// The targets that the words on the command line mean; all when there are none.
    pub fn parse(words: &[&str]) -> Result<Vec<Self>, String> {
        if words.is_empty() {
            return Ok(vec![Self::Musl, Self::Android]);
        }
        words
            .iter()
            .map(|word| match *word {
                "musl" => Ok(Self::Musl),
                "android" => Ok(Self::Android),
                other => Err(format!(
                    "unknown target `{other}`; expected `musl`, `android`, or nothing for both, or only `shim`"
                )),
            })
            .collect()
    }

    /// Its name among Rust's targets.
    pub fn triple(self) -> &'static str {
        match self {
            Self::Musl => "aarch64-unknown-linux-musl",
            Self::Android => "aarch64-linux-android",
        }
    }

    /// Its files.
    pub fn products(self) -> &'static [Product] {
        match self {
            Self::Musl => &MUSL,
            Self::Android => &ANDROID,
        }
    }

    /// The step that builds, for the reader.
    pub fn building(self) -> &'static str {
        match self {
            Self::Musl => "build for aarch64-unknown-linux-musl",
            Self::Android => "build for aarch64-linux-android",
        }
    }

    /// The step that checks, for the reader.
    pub fn checking(self) -> &'static str {
        match self {
            Self::Musl => "check aarch64-unknown-linux-musl",
            Self::Android => "check aarch64-linux-android",
        }
    }

    /// The step that makes the standard library, for the reader.
    pub fn making_std(self) -> &'static str {
        match self {
            Self::Musl => "standard library for aarch64-unknown-linux-musl",
            Self::Android => "standard library for aarch64-linux-android",
        }
    }
}
