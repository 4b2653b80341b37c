//! Boots the emulated handset and judges what comes out of it.
//!
//! In: the files that `cargo xtask handset` built. Out: what happened, a table of checks, figures;
//! exit code 0 when everything holds, 1 when not, 2 for wrong use, 3 when it could not run.

use std::{
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use sakshi_tests::{
    daemon,
    emulated::{
        CASES_ON_DISK, Scenario, TRACES, VALIDATION, disk,
        judge::{self, Check, Judge},
        machine::Boot,
        power::{self, Series},
        stage,
    },
    handset::{Error, Result, inventory},
    seed::Seed,
    wait::Stopwatch,
};

const HELP: &str = "\
Usage: cargo xtask handset [--power-cuts N] [--validate] [--bless]

Boots a virtual handset: an emulated arm64 machine, laid out like a phone, on which the phone's own
binary watches real processes under app UIDs. The cases are taken out, verified, replayed and
compared on this machine.

  --power-cuts N  only cut its power N times under load, on one disk, and see that nothing is lost
  --validate      only run `sakshi validate` on it; with --bless its report goes to docs/validation/
  --bless         write what was found as what is to be found (read the change before you commit it)
";

/// What a machine that never ran on a phone must say of itself.
const VIRTUAL: &str = "on a virtual handset (emulated arm64, no phone)";

struct Options {
    folder: PathBuf,
    power_cuts: Option<u64>,
    validate: bool,
    bless: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("{reason}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let steps = Steps::start();
    let outcome = match options.power_cuts {
        None if options.validate => validate(&options, &steps),
        Some(times) => power_cuts(&options, times, &steps),
        None => watch(&options, &steps),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("virtual handset: {error}");
            ExitCode::from(3)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> std::result::Result<Options, String> {
    let folder = words.next().ok_or("no folder with what is to be booted")?;
    let mut options = Options {
        folder: folder.into(),
        power_cuts: None,
        validate: false,
        bless: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--validate" => options.validate = true,
            "--bless" => options.bless = true,
            "--power-cuts" => {
                let times = words.next().and_then(|number| number.parse().ok());
                options.power_cuts = Some(times.ok_or("--power-cuts wants a number")?);
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(options)
}

/// A fresh handset, ready to be switched on.
fn prepare(folder: &Path, name: &str) -> Result<(Boot, PathBuf)> {
    let work = folder.join(name);
    if work.exists() {
        fs::remove_dir_all(&work).map_err(Error::io(format!("removing {}", work.display())))?;
    }
    fs::create_dir_all(&work).map_err(Error::io(format!("making {}", work.display())))?;
    let boot = Boot {
        kernel: folder.join("kernel"),
        initramfs: folder.join("initramfs"),
        disk: work.join("data.img"),
        log: work.join("console.log"),
    };
    // The programs lie there already.
    let data = folder.join("data");
    inventory::write(&data.join("system"))?;
    disk::make(&boot.disk, &data)?;
    Ok((boot, work))
}

fn watch(options: &Options, steps: &Steps) -> Result<bool> {
    println!("What follows was seen {VIRTUAL}.");
    let (boot, work) = prepare(&options.folder, "watch")?;
    steps.line("the data partition is made");
    boot.start(Scenario::Watch)?
        .run_to_end(&mut |line| steps.line(line))?;
    disk::take_out(&boot.disk, CASES_ON_DISK, &work)?;
    steps.line("the cases are taken out");
    let cases = work.join("sakshi");
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("emulated/expected.jsonl");
    let (report, checks) = Judge::new(&cases, &work, &expected).watch(options.bless)?;
    steps.line("judged");
    for figure in judge::figures(&report) {
        println!("        {figure}");
    }
    Ok(steps.table(&checks))
}

fn power_cuts(options: &Options, times: u64, steps: &Steps) -> Result<bool> {
    println!("What follows was seen {VIRTUAL}.");
    let mut seed = Seed::printed(0x5a4b_0011);
    let (boot, work) = prepare(&options.folder, "power")?;
    let series = power::cut(&boot, times, &mut seed, &mut |line| steps.line(line))?;
    disk::take_out(&boot.disk, CASES_ON_DISK, &work)?;
    let case = work.join("sakshi").join(stage::POWER);
    let mut checks = Vec::new();
    for (at, missing) in series.missing(&case)?.iter().enumerate() {
        let all = series.acknowledged.get(at).map_or(0, Vec::len);
        checks.push(Check {
            what: format!(
                "power cut {}: of {all} acknowledgements {} are gone",
                at + 1,
                missing.len()
            ),
            holds: all > 0 && missing.is_empty(),
        });
    }
    let moments = judge::read_moments(&work.join("sakshi").join(TRACES))?;
    checks.extend(judge::as_before(&moments));
    let unclean = Series::unclean_stops(&case)?;
    checks.push(Check {
        what: format!(
            "{} power cuts, {unclean} unclean stops on record",
            series.cuts()
        ),
        holds: unclean == series.cuts(),
    });
    checks.push(match daemon::verify(&case) {
        Ok(()) => Check {
            what: "the evidence is intact".to_owned(),
            holds: true,
        },
        Err(error) => Check {
            what: error.to_string(),
            holds: false,
        },
    });
    Ok(steps.table(&checks))
}

/// Validates on the emulated kernel and looks at the report.
fn validate(options: &Options, steps: &Steps) -> Result<bool> {
    println!("What follows was seen {VIRTUAL}.");
    let (boot, work) = prepare(&options.folder, "validate")?;
    boot.start(Scenario::Validate)?
        .run_to_end(&mut |line| steps.line(line))?;
    disk::take_out(&boot.disk, CASES_ON_DISK, &work)?;
    let dir = work.join("sakshi").join(VALIDATION);
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(Error::io(format!("reading {}", path.display())))
    };
    let report = daemon::json(&read("validation.json")?)?;
    println!("{}", read("validation.txt")?);
    let says = |key: &str| {
        report["machine"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let kernel = says("kernel");
    let checks = [
        Check {
            what: format!("the guest is arm64: {} {kernel}", says("architecture")),
            holds: says("architecture") == "aarch64",
        },
        Check {
            what: format!(
                "the report says that it is virtual: {}",
                says("virtual_machine")
            ),
            holds: !says("virtual_machine").is_empty(),
        },
        Check {
            what: "the validation was passed".to_owned(),
            holds: report["passed"] == true,
        },
        Check {
            what: "its case is intact".to_owned(),
            holds: daemon::verify(&dir.join("case")).is_ok(),
        },
    ];
    if options.bless {
        let to = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/validation")
            .join(kernel);
        fs::create_dir_all(&to).map_err(Error::io(format!("making {}", to.display())))?;
        for name in ["validation.json", "validation.txt", "truth.jsonl"] {
            let to = to.join(name);
            fs::write(&to, read(name)?).map_err(Error::io(format!("writing {}", to.display())))?;
        }
    }
    Ok(steps.table(&checks))
}

/// Lines that say how far it got.
struct Steps {
    watch: Stopwatch,
    colour: bool,
}

impl Steps {
    fn start() -> Self {
        Self {
            watch: Stopwatch::start(),
            colour: std::io::stdout().is_terminal(),
        }
    }

    fn line(&self, what: &str) {
        // Acknowledgements come by the hundred.
        if !what.starts_with("ack ") {
            println!("{:6.1} s  {what}", self.watch.elapsed().as_secs_f32());
        }
    }

    /// Prints the checks; whether all hold.
    fn table(&self, checks: &[Check]) -> bool {
        for check in checks {
            let (sign, colour) = if check.holds {
                ("✓", "32")
            } else {
                ("✗", "31")
            };
            if self.colour {
                println!("\u{1b}[{colour}m{sign}\u{1b}[0m {}", check.what);
            } else {
                println!("{sign} {}", check.what);
            }
        }
        let failed = checks.iter().filter(|check| !check.holds).count();
        self.line(&format!(
            "{} checks {VIRTUAL}: {failed} failed",
            checks.len()
        ));
        failed == 0 && !checks.is_empty()
    }
}
