//! Power cuts: the emulator is killed under load, again and again, on one disk image.
//!
//! In: what is booted, how often, a seed for the moments. Out: what the daemon had acknowledged
//! before each cut, compared with what is in the case at the end.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use super::{Scenario, machine::Boot};
use crate::{
    daemon::{self, Acknowledged},
    handset::{Error, Result},
    seed::Seed,
};

/// Acknowledgements that are heard before the power may be cut.
const HEARD_MIN: usize = 2;
/// Latest moment of a cut after that, in milliseconds.
const CUT_AFTER_MS_MAX: u64 = 2_500;

/// What a series of power cuts came to.
#[derive(Debug, Default)]
pub struct Series {
    /// Per cut, what had been acknowledged in that boot.
    pub acknowledged: Vec<Vec<Acknowledged>>,
}

/// Boots, waits for the load, cuts the power; cleans up after the first cut if another follows; `told` hears of each cut.
pub fn cut(boot: &Boot, times: u64, seed: &mut Seed, told: &mut dyn FnMut(&str)) -> Result<Series> {
    let mut series = Series::default();
    for number in 1..=times {
        if number == 2 {
            // Once it is cleaned up; otherwise the next watch begins as it is.
            boot.start(Scenario::Clean)?.run_to_end(told)?;
        }
        let mut heads = Vec::new();
        let mut machine = boot.start(Scenario::Load)?;
        while heads.len() < HEARD_MIN {
            let line = machine.next_line()?.ok_or_else(|| {
                Error::Unexpected("the emulated handset ended before it was cut".to_owned())
            })?;
            heads.extend(head(&line));
        }
        let after = seed.below(CUT_AFTER_MS_MAX);
        thread::sleep(Duration::from_millis(after));
        heads.extend(machine.cut_power()?.iter().filter_map(|line| head(line)));
        told(&format!(
            "power cut {number}, {after} ms after the load was acknowledged: {} acknowledgements",
            heads.len()
        ));
        series.acknowledged.push(heads);
    }
    boot.start(Scenario::Close)?.run_to_end(told)?;
    Ok(series)
}

/// An acknowledgement on the console. A line that was torn by the cut is none.
fn head(line: &str) -> Option<Acknowledged> {
    let mut words = line.strip_prefix("ack ")?.split(' ');
    let (seq, hash) = (words.next()?.parse().ok()?, words.next()?);
    (hash.len() == 64).then(|| Acknowledged {
        seq,
        hash: hash.to_owned(),
    })
}

impl Series {
    /// How many cuts there were.
    pub fn cuts(&self) -> usize {
        self.acknowledged.len()
    }

    /// Of each cut: what was acknowledged and is not in the case, or is another record there.
    pub fn missing(&self, case: &Path) -> Result<Vec<Vec<Acknowledged>>> {
        let records: BTreeMap<u64, String> = daemon::export(case, "records")?
            .iter()
            .filter_map(|record| {
                Some((record["seq"].as_u64()?, record["hash"].as_str()?.to_owned()))
            })
            .collect();
        let held = |head: &&Acknowledged| records.get(&head.seq) != Some(&head.hash);
        Ok(self
            .acknowledged
            .iter()
            .map(|heads| heads.iter().filter(held).cloned().collect())
            .collect())
    }

    /// Unclean stops that the case tells of.
    pub fn unclean_stops(case: &Path) -> Result<usize> {
        let gaps = daemon::export(case, "gaps")?;
        Ok(gaps
            .iter()
            .filter(|gap| gap["cause"] == "unclean_stop")
            .count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_acknowledgement_and_no_torn_one() {
        let hash = "ab".repeat(32);
        let read = head(&format!("ack 17 {hash}")).expect("a head");
        assert_eq!((read.seq, read.hash.as_str()), (17, hash.as_str()));
        assert_eq!(head(&format!("ack 17 {}", &hash[..60])), None);
        assert_eq!(head("under load"), None);
    }
}
