//! Examines the machine, for `sakshi doctor` and for the record at a session's start.
//!
//! In: where the case and the inventory are. Out: an [`Examination`].

use std::path::{Path, PathBuf};

use super::{
    SessionError,
    setup::{InventoryFrom, Materials, read_inventory},
};
use crate::{
    capture::nflog::rules::Commands,
    doctor::{Apps, Place, Probes, device_facts, examine as examine_machine, examine_here},
    evidence::{device::DeviceFacts, examination::Examination},
    locate::Atlas,
    platform::clock::Clock,
};

/// What to examine.
#[derive(Debug, Clone)]
pub struct ExamineConfig {
    /// Where a case would lie; none: nobody said so.
    pub case: Option<PathBuf>,
    /// Folder of the inventory; none: the device's own.
    pub inventory: Option<PathBuf>,
    /// The commands that set packet rules.
    pub commands: Commands,
}

/// Examines this machine. Changes nothing.
pub fn examine(config: &ExamineConfig, clock: &dyn Clock) -> Result<Examination, SessionError> {
    let atlas = Atlas::embedded()?;
    let place = place(config.case.as_deref(), &config.commands, &atlas);
    let from = InventoryFrom::chosen(config.inventory.as_deref());
    let named = from.to_string();
    Ok(match (&from, read_inventory(&from)) {
        (InventoryFrom::Nowhere, _) => examine_here(&place, Apps::Nowhere, clock.now()),
        (_, Ok((inventory, problems))) => {
            let apps = Apps::Read {
                from: &named,
                inventory: &inventory,
                problems: &problems,
            };
            examine_here(&place, apps, clock.now())
        }
        (_, Err(error)) => examine_here(&place, Apps::Unreadable(&error.to_string()), clock.now()),
    })
}

/// The same for a session that has read its inventory already, and what handset this is.
pub(super) fn examine_with(
    case: &Path,
    commands: &Commands,
    materials: &Materials,
    from: &InventoryFrom,
    clock: &dyn Clock,
) -> (Examination, DeviceFacts) {
    let place = place(Some(case), commands, &materials.atlas);
    let named = from.to_string();
    let apps = match from {
        InventoryFrom::Nowhere => Apps::Nowhere,
        InventoryFrom::Folder(_) | InventoryFrom::Device => Apps::Read {
            from: &named,
            inventory: &materials.inventory,
            problems: &materials.problems,
        },
    };
    let probes = Probes::take(&place);
    let now = clock.now();
    (
        examine_machine(&place, &probes, apps, now),
        device_facts(&place.root, &probes, now),
    )
}

fn place(case: Option<&Path>, commands: &Commands, atlas: &Atlas) -> Place {
    // Where the current folder is gone, a relative path says what it can.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Place {
        root: PathBuf::from("/"),
        commands: commands.clone(),
        case: case.map(absolute),
        not_before: atlas
            .manifest()
            .iter()
            .map(|source| source.published)
            .max()
            .unwrap_or_default(),
    }
}
