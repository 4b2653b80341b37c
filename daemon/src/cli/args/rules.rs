//! What may be typed to write rules and statements, and to judge by them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::TextOrJsonl;

pub(super) const RULES_HELP: &str = "How a rule is written: docs/rules.md.\n\n\
    Examples:\n  \
    sakshi rules new my-rules                begin: a set and its cases\n  \
    sakshi rules check my-rules/set.toml     everything that is wrong, with line and remedy\n  \
    sakshi rules test my-rules               does it say what its cases expect?\n  \
    sakshi rules explain case-17             the findings of a case, by number\n  \
    sakshi rules explain case-17 412         why that one, and why the other rules are silent\n  \
    sakshi rules schema > rules.schema.json  for editors";
pub(super) const JUDGE_HELP: &str = "The list is headed *post hoc* and lies outside the case: what \
    was found when it was watched stays as it is.\n\n\
    Examples:\n  \
    sakshi judge case-17 --rules new.toml\n  \
    sakshi judge case-17 --rules new.toml --format jsonl -o post-hoc.jsonl";
pub(super) const CLAIMS_HELP: &str = "Without --declarations, the built-in files of the brands \
    whose apps were seen are used.\n\n\
    Examples:\n  \
    sakshi claims case-17\n  \
    sakshi claims case-17 --declarations answers/ --format jsonl";
pub(super) const DECLARATION_HELP: &str = "Examples:\n  \
    sakshi declaration new OPPO > oppo.toml  a questionnaire for the vendor to fill in\n  \
    sakshi declaration check oppo.toml";

/// `sakshi rules`.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Say everything that is wrong with rule sets, cases or declarations.
    Check {
        /// Files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run the cases beside rule sets: `set.toml` and `cases.toml` in a folder.
    Test {
        /// Folders.
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
    /// Say why a finding was made, value by value, and why the other rules are silent.
    Explain {
        /// Folder of the case.
        #[arg(value_name = "CASE")]
        case: PathBuf,
        /// Number of the finding's record, or a contact such as 1-3; without it, a list of both.
        #[arg(value_name = "FINDING")]
        finding: Option<String>,
    },
    /// Print a JSON Schema of rule sets, for editors.
    Schema,
    /// Make a folder with a rule set and its cases to begin with.
    New {
        /// The folder, which is made.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// `sakshi judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Rule files.
    #[arg(long, required = true, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Form of the list.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJsonl,
    /// File to write, outside the case; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `sakshi claims`.
#[derive(Debug, Args)]
pub struct ClaimsArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Files of statements, or folders of such files.
    #[arg(long, value_name = "DIR|FILE")]
    pub declarations: Vec<PathBuf>,
    /// Form of the register.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJsonl,
}

/// `sakshi declaration`.
#[derive(Debug, Subcommand)]
pub enum DeclarationCommand {
    /// Print a questionnaire for a brand: a file that it fills in, with a guide.
    New {
        /// The brand.
        #[arg(value_name = "BRAND")]
        brand: String,
    },
    /// Say everything that is wrong with files of statements.
    Check {
        /// Files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}
