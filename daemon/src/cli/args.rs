//! What may be typed, and what it means.
//!
//! In: the command line. Out: [`Cli`]. Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 could
//! not, 4 nothing is wrong but nothing vouches for the end of a case.

mod circumstances;
mod handset;
mod talk;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use circumstances::CircumstanceArgs;
pub use handset::{ConsentArgs, ControlArgs, ObserveArgs};
#[cfg(feature = "lab")]
pub use handset::{HandsetArgs, HandsetCommand, HandsetStart, HandsetTarget};
pub use talk::{NoteArgs, PhaseArgs, StatusArgs, Target};

use crate::{
    evidence::segments::QUOTA_MIN, platform::logcat, report::filter::UNKNOWN_COUNTRY,
    session::probe::TARGETS_MAX, time::Timestamp, validate::plan,
};

/// A witness of what a handset's apps send, and where.
#[derive(Debug, Parser)]
#[command(
    name = "sakshi",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 could not, 4 nothing vouches for the end (verify).\n\n\
        Examples:\n  \
        sakshi doctor                                 can this machine be watched?\n  \
        sakshi case new /data/sakshi/case-17          whose handset, by whose order\n  \
        sakshi run --case /data/sakshi/case-17        watch this handset (as root) until stopped\n  \
        sakshi phase idle                             tell the running daemon that a phase begins\n  \
        sakshi stop                                   end the watch in order\n  \
        sakshi findings /data/sakshi/case-17          show what was found\n  \
        sakshi verify /data/sakshi/case-17            is the evidence intact?"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a case that says by whose leave a handset is examined, or add that to one.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        sakshi case new case-17                            asks what a case must have to count\n  \
        sakshi case template > case-17.toml                the same as a file to fill in\n  \
        sakshi case new case-17 --from case-17.toml\n  \
        sakshi case authority case-17 --from better.toml   takes the place of what was recorded"
    )]
    Case(CaseCommand),
    /// Record that a thing changed hands, or list such records.
    #[command(after_help = "Examples:\n  \
        sakshi custody case-17 --by 'A. Rao' --received-from 'Malkhana' --seal 'FSL/26/117'\n  \
        sakshi custody case-17 --by 'A. Rao' --handed-to 'B. Iyer' --item 'sealed bundle'\n  \
        sakshi custody case-17 --list")]
    Custody(CustodyArgs),
    /// Watch this machine's packets live (as root).
    #[command(after_help = "Examples:\n  \
        sakshi run --case /data/sakshi/case-17\n  \
        sakshi run --case case-17 --rules lab.toml --inventory inventory/ --capture nflog")]
    Run(RunArgs),
    /// Judge capture files, or another case's journal, as if they were seen live; or only look for
    /// names in them.
    #[command(after_help = "Examples:\n  \
        sakshi inspect gateway.pcapng --handset 192.168.7.23 --case case-18\n  \
        zcat day1.pcap.gz | sakshi inspect - --dry-run     only look for names\n  \
        sakshi inspect case-17 --case case-17-again        feed a case's journal through again")]
    Inspect(InspectArgs),
    /// Write, check, test and explain rule sets.
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Rules(super::rules::RulesCommand),
    /// Judge a case's contacts by other rules, as a list of its own; changes no byte of the case.
    #[cfg(feature = "lab")]
    Judge(super::judge::JudgeArgs),
    /// Hold what was seen against what brands say of themselves; changes no byte of the case.
    #[cfg(feature = "lab")]
    Claims(super::claims::ClaimsArgs),
    /// Begin or check a brand's file of statements. Exit code 1: something is wrong with it.
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Declaration(super::claims::DeclarationCommand),
    /// Show what was found. Exit code 1: no finding has a value that was asked for.
    #[command(
        visible_alias = "leaks",
        after_help = "Examples:\n  \
        sakshi findings case-17\n  \
        sakshi findings case-17 --phase idle --country CN"
    )]
    Findings(FindingsArgs),
    /// Write what a case holds, without what is personal. Exit code 1: no row has a value that was
    /// asked for.
    #[command(
        after_help = "Several values of one option: any of them. Several options: all of them.\n\n\
        Examples:\n  \
        sakshi export case-17 --what findings --format jsonl\n  \
        sakshi export case-17 --what flows --format csv -o flows.csv\n  \
        sakshi export case-17 --what contacts --app com.example.app --phase idle\n  \
        sakshi export case-17 --what records --unredacted --by 'A. Rao' -o records.jsonl"
    )]
    Export(ExportArgs),
    /// Say what of a span of time was watched, and what was not.
    #[command(after_help = "Examples:\n  \
        sakshi coverage case-17\n  \
        sakshi coverage case-17 --from 2026-11-24T09:00:00Z --to 2026-11-24T10:00:00Z\n  \
        sakshi coverage case-17 --format jsonl")]
    Coverage(CoverageArgs),
    /// Close a case for good and write it as one bundle; the case takes no more records.
    #[command(
        after_help = "The bundle is a tar archive with a signed manifest. Sealing again writes the \
        same bundle again, byte for byte.\n\n\
        Examples:\n  \
        sakshi seal case-17 -o case-17.tar\n  \
        sakshi seal case-17 -o - | age -r age1… -o case-17.tar.age    encrypted to the lab's key"
    )]
    Seal(SealArgs),
    /// Collect published location data into one file for `--data`.
    #[cfg(feature = "lab")]
    #[command(subcommand)]
    Data(super::data_args::DataCommand),
    /// Say where addresses are, as far as sources say, and what that rests on.
    #[cfg(feature = "lab")]
    #[command(after_help = "Example:\n  sakshi locate 13.228.10.20 2600:1f14::1 --format jsonl")]
    Locate(super::data_args::LocateArgs),
    /// Hold round-trip times against the distance to where servers are said to be.
    #[cfg(feature = "lab")]
    #[command(after_help = "Example:\n  sakshi distance case-17 --position 28.61,77.21")]
    Distance(super::data_args::DistanceArgs),
    /// Say on one page, in plain words, what a case or bundle holds and how it is checked.
    #[cfg(feature = "lab")]
    #[command(after_help = "Examples:\n  \
        sakshi summary case-17\n  \
        sakshi summary case-17.tar --html case-17.html")]
    Summary(SummaryArgs),
    /// Draft the certificate of section 63(4)(c), Bharatiya Sakshya Adhiniyam 2023; signs nothing.
    #[cfg(feature = "lab")]
    #[command(
        after_help = "One for each source device, as PDF and as text. Facts are filled in; what \
        a person must say stays blank and marked.\n\n\
        Example:\n  sakshi certificate case-17.tar -o certificate --language both"
    )]
    Certificate(CertificateArgs),
    /// Give the last signed checkpoint in a form that leaves the handset; changes nothing.
    #[command(
        after_help = "Later, `sakshi verify` holds the case against it, and so notices a case that \
        was cut off, set back or made anew.\n\n\
        Examples:\n  \
        sakshi head case-17                      a code for paper\n  \
        sakshi head case-17 --qr                 and the same to be photographed\n  \
        adb shell su -c 'sakshi head /data/sakshi/case-17 --format json' > case-17.head"
    )]
    Head(HeadArgs),
    /// Ask for, keep and check a trusted timestamp (RFC 3161) for a bundle; sends nothing.
    #[cfg(feature = "lab")]
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        sakshi timestamp request case-17.tar -o case-17.tsq\n  \
        sakshi timestamp attach case-17.tar answer.tsr\n  \
        sakshi timestamp verify case-17.tar --roots authority.pem"
    )]
    Timestamp(TimestampCommand),
    /// Check that the evidence of a case or a bundle is intact; changes nothing. Exit code 1: it is
    /// damaged; 4: nothing is wrong, but nothing vouches for its end.
    #[command(after_help = "Examples:\n  \
        sakshi verify case-17\n  \
        sakshi verify case-17 --head 00000-00376-XJWVT-FS8X1-AXKMZ-0R87H-VJ8R4-Z25M7\n  \
        sakshi verify case-17 --head case-17.head\n  \
        sakshi verify case-17.tar\n  \
        sakshi verify --replay case-17")]
    Verify(VerifyArgs),
    /// Say how a running daemon is doing. Exit code 1: none runs.
    #[command(after_help = "Examples:\n  sakshi status\n  sakshi status --follow --format json")]
    Status(StatusArgs),
    /// End a running daemon in order. Exit code 3: none runs.
    #[command(after_help = "Example:\n  sakshi stop")]
    Stop(Target),
    /// Give a running daemon a remark for the record. Exit code 3: it is not on record.
    #[command(after_help = "Example:\n  sakshi note 'consent screen refused'")]
    Note(NoteArgs),
    /// Tell a running daemon that a phase of the examination begins. Exit code 3: it is not on record.
    #[command(after_help = "Example:\n  sakshi phase idle-without-sim")]
    Phase(PhaseArgs),
    /// Keep a consent step: the screen, the notice's version, the app's. Exit code 3: it is not on record.
    #[command(
        after_help = "Example:\n  sakshi consent com.example.app 'notice of 1 March; refused'"
    )]
    Consent(ConsentArgs),
    /// Remove what a daemon that crashed has left behind: packet rules, sockets.
    #[command(after_help = "Example:\n  sakshi clean")]
    Clean(CleanArgs),
    /// Say what this machine offers a watch and what it lacks; changes nothing, sends nothing. Exit
    /// code 1: something failed.
    #[command(
        after_help = "Works without root, and then says what cannot be told.\n\n\
        Examples:\n  \
        sakshi doctor\n  \
        sakshi doctor --case /data/sakshi/case-17 --format json\n  \
        sakshi doctor --inventory inventory/         with a copy of a handset's /data/system"
    )]
    Doctor(DoctorArgs),
    /// Send known traffic on this kernel and report how often the daemon was right (as root).
    /// Nothing leaves the machine. Exit code 1: something was wrong, or a bound does not hold.
    #[command(after_help = "Examples:\n  \
        sakshi validate                              a report in a new folder here\n  \
        sakshi validate -o report --flows 3000 --keep\n  \
        sakshi validate --into case-17               on record in a case that nobody writes now")]
    Validate(ValidateArgs),
    /// A process of a validation.
    #[command(subcommand, hide = true)]
    ValidatePart(ValidatePart),
    /// Work with a rooted handset over adb (docs/handbook.md).
    #[cfg(feature = "lab")]
    Handset(HandsetArgs),
    /// The handset's end of `sakshi handset`.
    #[command(hide = true)]
    Control(ControlArgs),
    /// Tells the running daemon something for its record.
    #[command(hide = true)]
    Observe(ObserveArgs),
    /// Sends the flows of a probe.
    #[command(hide = true)]
    ProbeSend {
        /// Where to.
        targets: Vec<SocketAddr>,
    },
}

/// `sakshi validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Folder of the report, which is made.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Flows to send; the more, the closer the bounds.
    #[arg(long, value_name = "N", default_value_t = plan::FLOWS_DEFAULT,
        value_parser = clap::value_parser!(u32).range(i64::from(plan::FLOWS_MIN)..=i64::from(plan::FLOWS_MAX)))]
    pub flows: u32,
    /// What is sent is drawn from this number.
    #[arg(long, value_name = "NUMBER", default_value_t = plan::SEED_DEFAULT)]
    pub seed: u64,
    /// Keep the case in which the daemon kept what it saw.
    #[arg(long)]
    pub keep: bool,
    /// How to watch packets.
    #[arg(long, value_enum, default_value = "auto")]
    pub capture: CaptureChoice,
    /// Record the report in this case.
    #[arg(long, value_name = "CASE")]
    pub into: Option<PathBuf>,
    /// The iptables command; its IPv6 twin is named after it.
    #[arg(long, value_name = "NAME", hide = true)]
    pub iptables: Option<String>,
    /// Folder of a BPF file system that every process sees, instead of /sys/fs/bpf.
    #[arg(long, value_name = "DIR", hide = true)]
    pub bpffs: Option<PathBuf>,
}

/// The processes of a validation.
#[derive(Debug, Subcommand)]
pub enum ValidatePart {
    /// Answers.
    Internet {
        /// Folder of the report, so that a list of processes tells whose it is.
        dir: PathBuf,
    },
    /// Watches while others send.
    Handset {
        /// Process in the other namespace.
        internet: u32,
        /// Flows.
        flows: u32,
        /// Seed.
        seed: u64,
        /// Folder of the case.
        dir: PathBuf,
        /// What the daemon is started with.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        run: Vec<String>,
    },
    /// Sends what standard input says.
    Send,
}

/// `sakshi case`.
#[derive(Debug, Subcommand)]
pub enum CaseCommand {
    /// Make a case in a new or empty folder; asks, or reads a file. `run` and `inspect` go on in it.
    New {
        /// Folder of the new case.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Filled template, `-` for standard input; without it, questions are asked.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Record the same in a case that is there; what was recorded before stays, and counts no more.
    Authority {
        /// Folder of the case.
        #[arg(value_name = "CASE")]
        case: PathBuf,
        /// Filled template, `-` for standard input; without it, questions are asked.
        #[arg(long, value_name = "FILE", conflicts_with = "show")]
        from: Option<PathBuf>,
        /// Show what is recorded, as JSON; changes nothing. Exit code 1: nothing is.
        #[arg(long)]
        show: bool,
    },
    /// Print a file to fill in.
    Template,
}

/// `sakshi custody`.
#[derive(Debug, Args)]
pub struct CustodyArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// List what is recorded; changes nothing.
    #[arg(long, conflicts_with_all = ["by", "received_from", "handed_to", "item", "seal", "remark", "when"])]
    pub list: bool,
    /// Who records it.
    #[arg(long, value_name = "NAME", required_unless_present = "list")]
    pub by: Option<String>,
    /// From whom it was received.
    #[arg(long, value_name = "NAME")]
    pub received_from: Option<String>,
    /// To whom it was handed.
    #[arg(long, value_name = "NAME")]
    pub handed_to: Option<String>,
    /// Which thing; without it, the handset.
    #[arg(long, value_name = "THING")]
    pub item: Option<String>,
    /// Mark of its seal.
    #[arg(long, value_name = "MARK")]
    pub seal: Option<String>,
    /// Anything else.
    #[arg(long, value_name = "TEXT")]
    pub remark: Option<String>,
    /// When it happened (RFC 3339); without it, now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub when: Option<Timestamp>,
}

/// How packets are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureChoice {
    /// NFLOG where the kernel has it, else the packet socket.
    Auto,
    /// The kernel's NFLOG target: the owner comes with the packet.
    Nflog,
    /// A packet socket: owners are best effort.
    Packet,
}

/// How a summary is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// `sakshi run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Folder of the case: a new one, or one to be continued.
    #[arg(long, value_name = "DIR")]
    pub case: PathBuf,
    /// Rule set to judge by, or a brand's file that one asks; may be repeated. Without a set, the
    /// built-in one for an Indian lab.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Location data made by `sakshi data add`; without it, what is built in.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub circumstances: CircumstanceArgs,
    /// How to watch packets.
    #[arg(long, value_enum, default_value = "auto")]
    pub capture: CaptureChoice,
    /// How this handset was rooted, for the record; without it, as the case's authority says.
    #[arg(long, value_name = "TEXT")]
    pub rooted: Option<String>,
    /// Folder with packages.list and packages.xml, instead of /data/system.
    #[arg(long, value_name = "DIR")]
    pub inventory: Option<PathBuf>,
    /// How the closing summary is shown on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
    /// Bytes of the case that kept packets may take: a number, or one with K, M or G (powers of 1024);
    /// 0 keeps none.
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = packets_quota)]
    pub packets_quota: u64,
    /// Receive buffer of the capture sockets in bytes (for tests of overload).
    #[arg(long, value_name = "BYTES", hide = true)]
    pub receive_buffer: Option<usize>,
    /// Bytes after which a new part of the database begins (for tests).
    #[arg(long, value_name = "BYTES", hide = true)]
    pub roll_bytes: Option<u64>,
    /// The iptables command; its IPv6 twin is named after it.
    #[arg(long, value_name = "NAME", hide = true, default_value = "iptables")]
    pub iptables: String,
    /// Folder of a BPF file system that every process sees, instead of /sys/fs/bpf.
    #[arg(long, value_name = "DIR", hide = true)]
    pub bpffs: Option<PathBuf>,
    /// Socket of Android's log.
    #[arg(long, hide = true, value_name = "SOCKET", default_value = logcat::SOCKET)]
    pub logcat: PathBuf,
    /// Have a probe of our own send a few known flows to the lab's own host at start and stop: each
    /// must be found, or the case says that the watch did not work properly. Addresses, no names.
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',', num_args = 1..=TARGETS_MAX)]
    pub probe: Vec<SocketAddr>,
    /// Report of `sakshi validate` (validation.json) to record with the session.
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// Stay when the process that started this one ends, and ask to be spared when memory is short.
    #[arg(long, hide = true)]
    pub stay: bool,
    /// Stop in order when the process that started this one ends.
    #[arg(long, hide = true)]
    pub end_with_parent: bool,
}

/// `sakshi inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Capture files (pcap, pcapng, gzip, zstd), `-` for standard input, or a case's folder.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folder of a new case that the result is kept in, or one fresh from `sakshi case new`.
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    pub case: Option<PathBuf>,
    /// Only look for names: count packets, flows, and flows by what names them. Nothing is judged or
    /// kept.
    #[arg(long, conflicts_with_all = ["case", "inventory", "rules", "data", "CircumstanceArgs"])]
    pub dry_run: bool,
    /// Address of the handset; may be repeated. Without it, who sends the SYN, or speaks first.
    #[arg(long, value_name = "ADDR")]
    pub handset: Vec<IpAddr>,
    /// Folder with the handset's packages.list and packages.xml.
    #[arg(long, value_name = "DIR")]
    pub inventory: Option<PathBuf>,
    /// Rule set to judge by, or a brand's file that one asks; may be repeated. Without a set, the
    /// built-in one for an Indian lab.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Location data made by `sakshi data add`; without it, what is built in.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub circumstances: CircumstanceArgs,
    /// How the closing summary is shown on standard output.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `sakshi findings`.
#[derive(Debug, Args)]
pub struct FindingsArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Which ones.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Which rows are wanted. Each may be repeated: any of the values.
#[derive(Debug, Clone, Args)]
pub struct FilterArgs {
    /// Owner: a package, a platform UID's name, a process, or a UID.
    #[arg(long, value_name = "NAME")]
    pub app: Vec<String>,
    /// Country of the server (ISO 3166-1 alpha-2), or `unknown`.
    #[arg(long, value_name = "CC", value_parser = country)]
    pub country: Vec<String>,
    /// Rule that says something of the contact.
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// Phase of the examination; '' for before the first.
    #[arg(long, value_name = "PHASE")]
    pub phase: Vec<String>,
    /// What lasted until then or longer (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// What began before (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
}

/// A country as it is typed.
fn country(text: &str) -> Result<String, String> {
    if text == UNKNOWN_COUNTRY {
        return Ok(text.to_owned());
    }
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(text.to_ascii_uppercase());
    }
    Err(format!(
        "give two letters, such as IN, or `{UNKNOWN_COUNTRY}`"
    ))
}

/// What to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhatChoice {
    /// Findings of every outcome.
    Findings,
    /// Contacts.
    Contacts,
    /// Flows.
    Flows,
    /// What was not seen.
    Gaps,
    /// Every record as stored.
    Records,
    /// Packets as the journal kept them (with `--format pcapng`).
    #[cfg(feature = "lab")]
    Packets,
}

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatChoice {
    /// One JSON object a line.
    Jsonl,
    /// CSV with a header line.
    Csv,
    /// Apache Parquet; each row says of which case it is.
    #[cfg(feature = "lab")]
    Parquet,
    /// Packets with comments, for Wireshark (with `--what packets`).
    #[cfg(feature = "lab")]
    Pcapng,
}

/// `sakshi export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// What to export.
    #[arg(long, value_enum)]
    pub what: WhatChoice,
    /// In which form.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: FormatChoice,
    /// Which rows.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// File to write, outside the case; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write what is personal as well; the case records that, and who did it.
    #[arg(long, requires = "by")]
    pub unredacted: bool,
    /// Who takes unredacted data out.
    #[arg(long, value_name = "NAME", requires = "unredacted")]
    pub by: Option<String>,
}

/// Form of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJsonl {
    /// For people.
    Text,
    /// One JSON object a line.
    Jsonl,
}

/// `sakshi coverage`.
#[derive(Debug, Args)]
pub struct CoverageArgs {
    /// Folder of the case.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Start of the span (RFC 3339); without it, the machine's start before the first session.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Timestamp>,
    /// End of the span (RFC 3339); without it, the last moment that the case knows of.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<Timestamp>,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJsonl,
}

/// `sakshi summary`.
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// Folder of the case, or a bundle.
    #[arg(value_name = "CASE|BUNDLE")]
    pub from: PathBuf,
    /// Write the page as one HTML file as well, outside the case.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `sakshi timestamp`.
#[cfg(feature = "lab")]
#[derive(Debug, Subcommand)]
pub enum TimestampCommand {
    /// Write the request; a person sends it to a time stamping authority.
    Request {
        /// Bundle, or its manifest.json.
        #[arg(value_name = "BUNDLE|MANIFEST")]
        of: PathBuf,
        /// File for the request.
        #[arg(short, long, value_name = "FILE.tsq")]
        output: PathBuf,
    },
    /// Keep the authority's answer beside the bundle, as BUNDLE.tsr.
    Attach {
        /// Bundle, or its manifest.json.
        #[arg(value_name = "BUNDLE|MANIFEST")]
        of: PathBuf,
        /// The answer.
        #[arg(value_name = "FILE.tsr")]
        answer: PathBuf,
    },
    /// Check the answer offline; changes nothing. Exit code 1: it does not hold.
    Verify {
        /// Bundle, or its manifest.json.
        #[arg(value_name = "BUNDLE|MANIFEST")]
        of: PathBuf,
        /// The answer; without it, the one beside the bundle.
        #[arg(long, value_name = "FILE.tsr")]
        answer: Option<PathBuf>,
        /// Certificates of the roots that you trust, in PEM.
        #[arg(long, value_name = "ROOTS.pem")]
        roots: PathBuf,
    },
}

/// In which language.
#[cfg(feature = "lab")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LanguageChoice {
    /// English.
    En,
    /// Hindi.
    Hi,
    /// Both, each in its own files.
    Both,
}

/// `sakshi certificate`.
#[cfg(feature = "lab")]
#[derive(Debug, Args)]
pub struct CertificateArgs {
    /// Folder of the case, or a bundle.
    #[arg(value_name = "CASE|BUNDLE")]
    pub from: PathBuf,
    /// Folder for the drafts, outside the case; files of their names are replaced.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// In which language.
    #[arg(long, value_enum, default_value = "both")]
    pub language: LanguageChoice,
}

/// A moment as it is typed.
fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| {
        "give a time with its offset, such as 2026-11-24T09:00:00Z or \
         2026-11-24T14:30:00+05:30"
            .to_owned()
    })
}

/// A hash beside SHA-256.
#[cfg(feature = "lab")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlsoChoice {
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
}

/// `sakshi seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// Folder of the case; no daemon may be writing into it.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// New file for the bundle, `-` for standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Hash every file with these as well, since the certificate's form names them.
    #[cfg(feature = "lab")]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "HASHES")]
    pub also: Vec<AlsoChoice>,
}

/// `sakshi head`.
#[derive(Debug, Args)]
pub struct HeadArgs {
    /// Folder of the case; a daemon may be writing into it.
    #[arg(value_name = "CASE")]
    pub case: PathBuf,
    /// Draw a QR code of case and code as well.
    #[arg(long, conflicts_with = "format")]
    pub qr: bool,
    /// Write the head as a file as well, outside the case.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `sakshi verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder of the case, a bundle that `sakshi seal` wrote, or `-` for a bundle from standard
    /// input.
    #[arg(value_name = "CASE|BUNDLE")]
    pub case: PathBuf,
    /// A head that left the handset: the code from paper, the text of the QR code, or a checkpoint
    /// file. Without it an older state that was put back cannot be noticed.
    #[arg(long, value_name = "HEAD", value_parser = sakshi_verifier::read_expected)]
    pub head: Option<sakshi_verifier::ExpectedHead>,
    /// Feed the journal through again, if nothing is damaged, and compare every finding: who, what,
    /// where, and what the rule said. Exit code 1: one differs.
    #[arg(long)]
    pub replay: bool,
    /// How the result is shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `sakshi doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How the result is shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
    /// Folder with packages.list and packages.xml, instead of /data/system.
    #[arg(long, value_name = "DIR")]
    pub inventory: Option<PathBuf>,
    /// Where the case would lie; its room and file system are looked at.
    #[arg(long, value_name = "DIR")]
    pub case: Option<PathBuf>,
    /// The iptables command; its IPv6 twin is named after it.
    #[arg(long, value_name = "NAME", hide = true, default_value = "iptables")]
    pub iptables: String,
}

/// `sakshi clean`.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The iptables command; its IPv6 twin is named after it.
    #[arg(long, value_name = "NAME", hide = true, default_value = "iptables")]
    pub iptables: String,
    /// Folder of a BPF file system that every process sees, instead of /sys/fs/bpf.
    #[arg(long, value_name = "DIR", hide = true)]
    pub bpffs: Option<PathBuf>,
}

/// A quota for kept packets in bytes: 0, or at least [`QUOTA_MIN`].
fn packets_quota(text: &str) -> Result<u64, String> {
    let unit = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(unit.unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err("give a number of bytes, or one with K, M or G behind it".to_owned()),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if bytes == 0 || bytes >= QUOTA_MIN => Ok(bytes),
        Some(_) => Err("give at least 1M, or 0 to keep none".to_owned()),
        None => Err("give a number of bytes below 2^64".to_owned()),
    }
}
