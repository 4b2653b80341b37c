//! What a technician does with a handset, step by step.
//!
//! In: a [`Phone`] and a case's name. Out: what the handset said. Each step may be given again after
//! a broken connection.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    adb::Device,
    baseline::Baseline,
    clock::{self, Bounds},
    error::HandsetError,
    phone::{Answer, Phone, quoted},
    pull,
};
use crate::evidence::Hash;

/// Exchanges by which the clocks are compared.
const CLOCK_EXCHANGES: usize = 5;
/// The shim's Java part, and its library, as they are called on the handset.
const SHIM: &str = "shim.jar";
const SHIM_LIBRARY: &str = "libsakshi_android_shim.so";
/// The number of its process there.
const SHIM_PID: &str = "shim.pid";
/// Longest name of a case, in bytes.
const NAME_MAX: usize = 64;

/// The folder of a case on the handset.
pub fn case_dir(cases: &str, name: &str) -> Result<String, HandsetError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(['.', '-'])
    {
        return Ok(format!("{cases}/{name}"));
    }
    Err(HandsetError::Name(name.to_owned()))
}

/// Puts our program onto the handset.
pub fn push(phone: &Phone<'_>, program: &Path) -> Result<String, HandsetError> {
    let of = |source| HandsetError::File {
        path: program.to_owned(),
        source,
    };
    let handset = phone.adb.shell("getprop ro.product.cpu.abi")?;
    let handset = handset.trim();
    let ours = abi(program).map_err(of)?;
    if ours != handset {
        return Err(HandsetError::WrongAbi {
            path: program.to_owned(),
            program: ours.to_owned(),
            handset: handset.to_owned(),
        });
    }
    let from = program.to_string_lossy();
    let to = phone.program();
    again(phone, || {
        phone
            .adb
            .shell(&format!("mkdir -p {}", quoted(&phone.dir)))?;
        phone.adb.push(&from, &to)?;
        phone
            .adb
            .shell(&format!("chmod 755 {}", quoted(&to)))
            .map(drop)
    })?;
    let there = phone.adb.shell(&format!("sha256sum {}", quoted(&to)))?;
    let there = there.split_whitespace().next().unwrap_or_default();
    let here = pull::hash(program)?;
    if let Ok(hash) = there.parse::<Hash>()
        && hash != here
    {
        return Err(HandsetError::Damaged {
            path: PathBuf::from(to),
            got: hash.to_string(),
            expected: here.to_string(),
        });
    }
    let version = phone.done(&["--version"])?;
    Ok(format!(
        "{} (SHA-256 {here}) is in {to}",
        version.out.trim()
    ))
}

/// What kind of processor a program is for, as Android names it (ELF, `e_machine`).
fn abi(program: &Path) -> io::Result<&'static str> {
    let mut head = [0; 20];
    fs::File::open(program)?.read_exact(&mut head)?;
    let [0x7f, b'E', b'L', b'F', .., low, high] = head else {
        return Ok("no program");
    };
    Ok(match u16::from_le_bytes([low, high]) {
        183 => "arm64-v8a",
        62 => "x86_64",
        40 => "armeabi-v7a",
        3 => "x86",
        243 => "riscv64",
        _ => "an unknown processor",
    })
}

fn again(
    phone: &Phone<'_>,
    mut work: impl FnMut() -> Result<(), HandsetError>,
) -> Result<(), HandsetError> {
    loop {
        match work() {
            Err(HandsetError::Dropped(said)) => phone.wait(&said)?,
            other => return other,
        }
    }
}

/// Makes the folder of cases, for root alone.
pub fn make_room(phone: &Phone<'_>, cases: &str) -> Result<(), HandsetError> {
    let line = format!("mkdir -p -m 700 {}", quoted(cases));
    again(phone, || phone.root_shell(&line).map(drop))
}

/// Makes a case on the handset from a filled template, unless it is there.
pub fn make_case(phone: &Phone<'_>, case: &str, authority: &Path) -> Result<(), HandsetError> {
    let shown = ["case", "authority", case, "--show"];
    if phone.ask(&shown)?.ending.code == 0 {
        return Ok(());
    }
    let file = format!("{}/authority.toml", phone.dir);
    again(phone, || {
        phone.adb.push(&authority.to_string_lossy(), &file)
    })?;
    match phone.done(&["case", "new", case, "--from", &file]) {
        // The answer to the first try may have been lost, and the case be there.
        Err(refused @ HandsetError::Refused { .. }) => match phone.ask(&shown)?.ending.code {
            0 => Ok(()),
            _ => Err(refused),
        },
        other => other.map(drop),
    }
}

/// Puts files beside our program, and gives their names there.
pub fn lend(phone: &Phone<'_>, files: &[PathBuf]) -> Result<Vec<String>, HandsetError> {
    let mut names = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let to = format!("{}/rules-{}.toml", phone.dir, number + 1);
        again(phone, || phone.adb.push(&file.to_string_lossy(), &to))?;
        names.push(to);
    }
    Ok(names)
}

/// Puts a photograph beside our program, and gives its name there.
pub fn lend_photo(phone: &Phone<'_>, photo: &Path) -> Result<String, HandsetError> {
    let ending = photo.extension().and_then(|ending| ending.to_str());
    let to = format!("{}/photo.{}", phone.dir, ending.unwrap_or("picture"));
    again(phone, || phone.adb.push(&photo.to_string_lossy(), &to))?;
    Ok(to)
}

/// Removes what was lent: the case has copies of its own, and an order names people.
pub fn take_back(phone: &Phone<'_>) -> Result<(), HandsetError> {
    let dir = quoted(&phone.dir);
    let line = format!("rm -f {dir}/authority.toml {dir}/rules-*.toml {dir}/photo.*");
    again(phone, || phone.root_shell(&line).map(drop))
}

/// Starts a watch that stays when the cable goes; its status as JSON.
pub fn start(phone: &Phone<'_>, case: &str, more: &[&str]) -> Result<String, HandsetError> {
    let log = format!("{}/log", phone.dir);
    let mut words = vec!["run", "--case", case];
    words.extend(more);
    loop {
        match phone.ask_once(&["--detach", &log], &words) {
            Err(HandsetError::Dropped(said)) => phone.wait(&said)?,
            Err(error) => return Err(error),
            Ok(answer) if answer.ending.code == 0 => return Ok(answer.out),
            Ok(answer) => {
                return Err(HandsetError::Refused {
                    command: words.join(" "),
                    code: answer.ending.code,
                    said: answer.err,
                });
            }
        }
        // The answer was lost; the watch may have begun.
        let status = phone.ask(&["status", "--case", case, "--format", "json"])?;
        if status.ending.code == 0 {
            return Ok(status.out);
        }
    }
}

/// Puts the part that runs in Android's Java beside our program: its dex and its library.
pub fn push_shim(phone: &Phone<'_>, dex: &Path, library: &Path) -> Result<(), HandsetError> {
    for (file, name) in [(dex, SHIM), (library, SHIM_LIBRARY)] {
        let to = format!("{}/{name}", phone.dir);
        again(phone, || phone.adb.push(&file.to_string_lossy(), &to))?;
    }
    Ok(())
}

/// Starts it, if it is there; the watch records that it is missing if it is not.
pub fn start_shim(phone: &Phone<'_>) -> Result<bool, HandsetError> {
    let file = |name: &str| quoted(&format!("{}/{name}", phone.dir));
    let (dex, library, log) = (file(SHIM), file(SHIM_LIBRARY), file("shim.log"));
    let pid = file(SHIM_PID);
    let line = format!(
        "[ -e {dex} ] || exit 0; CLASSPATH={dex} setsid app_process / org.sakshi.Main \
         \"${{SAKSHI_RUNTIME_DIR:-/data/local/tmp/sakshi.run}}\" {library} >{log} 2>&1 </dev/null & \
         echo $! >{pid}; echo started"
    );
    let started = phone.root_shell(&line)?.contains("started");
    if !started {
        let missing = BTreeMap::from([("missing".to_owned(), "true".to_owned())]);
        observe(phone, "shim", &missing)?;
    }
    Ok(started)
}

/// Ends it: by itself it would do so half a minute after the watch.
pub fn end_shim(phone: &Phone<'_>) -> Result<(), HandsetError> {
    let pid = quoted(&format!("{}/{SHIM_PID}", phone.dir));
    // A number may be another process's by now.
    let line = format!(
        "pid=$(cat {pid} 2>/dev/null) || exit 0; \
         grep -q org.sakshi.Main /proc/$pid/cmdline && kill $pid; rm -f {pid}"
    );
    phone.root_shell(&line).map(drop)
}

/// Tells the running watch something, for its record.
pub fn observe(
    phone: &Phone<'_>,
    topic: &str,
    facts: &BTreeMap<String, String>,
) -> Result<Answer, HandsetError> {
    let facts: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut words = vec!["observe", "--source", "pc", "--topic", topic];
    words.extend(facts.iter().map(String::as_str));
    phone.done(&words)
}

/// Compares the clocks and has the watch record it.
pub fn compare_clocks(phone: &Phone<'_>, when: &str) -> Result<(), HandsetError> {
    let mut both: Option<Bounds> = None;
    let mut contradiction = false;
    for _ in 0..CLOCK_EXCHANGES {
        let one = phone.ask(&["--version"])?.clock;
        let narrower = both.map_or(Some(one), |both| both.and(one));
        contradiction |= narrower.is_none();
        both = narrower.or(Some(one));
    }
    let mut facts = both.map_or_else(BTreeMap::new, |both| both.facts(CLOCK_EXCHANGES));
    facts.insert("when".to_owned(), when.to_owned());
    facts.insert(
        "pc_source".to_owned(),
        clock::source_of_this_pc().unwrap_or_else(|| "unknown".to_owned()),
    );
    if contradiction {
        facts.insert("clock_set_meanwhile".to_owned(), "true".to_owned());
    }
    observe(phone, "clock", &facts).map(drop)
}

/// Has the watch record how this PC reaches the handset: over Wi-Fi, adb's own traffic is among what
/// is watched.
pub fn record_transport(phone: &Phone<'_>, device: &Device) -> Result<(), HandsetError> {
    let network = device.is_over_network();
    let mut facts = BTreeMap::from([
        ("over", if network { "network" } else { "usb" }.to_owned()),
        ("confounder", network.to_string()),
        ("serial", device.serial.clone()),
    ]);
    // Over a cable too, adbd may listen on the network.
    for (name, line) in [
        ("tcp_port", "getprop service.adb.tcp.port"),
        ("wifi_debugging", "settings get global adb_wifi_enabled"),
    ] {
        let said = phone.adb.shell(line)?;
        // Nothing, or `null`: not set.
        if let Ok(number) = said.trim().parse::<u32>() {
            facts.insert(name, number.to_string());
        }
    }
    let facts = facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    observe(phone, "transport", &facts).map(drop)
}

/// Has the watch record what differs from before the handset was rooted.
pub fn record_baseline(phone: &Phone<'_>, file: &Path) -> Result<usize, HandsetError> {
    let text = fs::read_to_string(file).map_err(|source| HandsetError::File {
        path: file.to_owned(),
        source,
    })?;
    let before = Baseline::parse(&text).map_err(|why| HandsetError::Baseline {
        path: file.to_owned(),
        why,
    })?;
    let now = Baseline::take(&phone.adb, phone.clock.now())?;
    let mut facts = before.difference(&now);
    let counts = facts.iter().filter(|(name, _)| name.ends_with("_count"));
    let count = counts.filter_map(|(_, value)| value.parse::<usize>().ok());
    let count = count.sum();
    facts.insert("sha256".to_owned(), Hash::of(text.as_bytes()).to_string());
    observe(phone, "baseline", &facts)?;
    Ok(count)
}

/// Ends the watch in order.
pub fn stop(phone: &Phone<'_>) -> Result<(), HandsetError> {
    loop {
        match phone.ask_once(&[], &["stop"]) {
            Err(HandsetError::Dropped(said)) => phone.wait(&said)?,
            Err(error) => return Err(error),
            Ok(answer) if answer.ending.code == 0 => return Ok(()),
            Ok(answer) => {
                return Err(HandsetError::Refused {
                    command: "stop".to_owned(),
                    code: answer.ending.code,
                    said: answer.err,
                });
            }
        }
        // The answer was lost; perhaps it has stopped.
        if phone.ask(&["status"])?.ending.code == 1 {
            return Ok(());
        }
    }
}

/// Takes everything of ours off the handset; a case only where a bundle of this PC is its copy, and
/// nothing where another case is there that may not stay. `words` is the program's own `clean`.
pub fn clean(
    phone: &Phone<'_>,
    (cases, keep_cases): (&str, bool),
    bundles: &[PathBuf],
    words: &[&str],
) -> Result<Vec<String>, HandsetError> {
    let mut said = Vec::new();
    let copies: Vec<Hash> = bundles
        .iter()
        .map(|bundle| pull::hash(bundle))
        .collect::<Result<_, _>>()?;
    let here = listed(phone, &format!("ls -1 {} 2>/dev/null", quoted(cases)))?;
    let (mut pulled, mut others) = (Vec::new(), Vec::new());
    for name in here {
        let is_copied = case_dir(cases, &name)
            .ok()
            .map(|case| has_copy(phone, &case, &copies))
            .transpose()?;
        match is_copied {
            Some(true) => pulled.push(name),
            _ => others.push(name),
        }
    }
    if !others.is_empty() && !keep_cases {
        return Err(HandsetError::NotPulled(others));
    }
    said.push(phone.done(words)?.out.trim().to_owned());
    end_shim(phone)?;
    for name in &pulled {
        let case = case_dir(cases, name)?;
        phone.root_shell(&format!("rm -rf {}", quoted(&case)))?;
        said.push(format!("{case} removed; its bundle is here"));
    }
    // Empty, or somebody's: only an empty folder goes.
    let line = format!(
        "rm -rf {}; rmdir {} 2>/dev/null",
        quoted(&phone.dir),
        quoted(cases)
    );
    phone.root_shell(&line)?;
    said.push(format!("{} removed", phone.dir));
    said.extend(others.iter().map(|name| format!("{cases}/{name} stays")));
    Ok(said)
}

fn has_copy(phone: &Phone<'_>, case: &str, copies: &[Hash]) -> Result<bool, HandsetError> {
    // A case that is not sealed must not be by this.
    let line = format!(
        "ls -1 {} 2>/dev/null",
        quoted(&format!("{case}/manifest.json"))
    );
    if copies.is_empty() || listed(phone, &line)?.is_empty() {
        return Ok(false);
    }
    // Skips it all: only its hash comes.
    let answer = phone.stream(&["seal", case, "-o", "-"], u64::MAX, &mut |_| Ok(()))?;
    Ok(copies.contains(&answer.ending.sha256))
}

fn listed(phone: &Phone<'_>, line: &str) -> Result<Vec<String>, HandsetError> {
    let text = phone.root_shell(line)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
