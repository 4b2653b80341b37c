//! Where the program is pinned, and whether it may be: other programs that change the raw table
//! must be able to open what a rule in it names.
//!
//! In: the folder of a BPF file system. Out: a [`Home`] in it, or the reason why not.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::LayerError;
use crate::platform::machine;

/// Where Android and systemd mount it.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Our folder in it.
const FOLDER: &str = "sakshi";
/// `BPF_FS_MAGIC` (linux/magic.h).
const BPFFS_MAGIC: u64 = 0xcafe_4a11;
/// Where `SELinux` answers questions.
const SELINUX: &str = "/sys/fs/selinux";
/// Who changes the raw table on a phone.
const NETD: &str = "u:r:netd:s0";
/// Set in an answer when the asking domain is permissive (`AVD_FLAGS_PERMISSIVE`).
const FLAG_PERMISSIVE: u32 = 1;

/// The place of our pin. It is named after the network namespace, as rules are: a watch in another
/// one has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    folder: PathBuf,
    pin: PathBuf,
}

impl Home {
    /// The place, whether or not anything is there; `bpffs` where it is not [`BPFFS`].
    pub fn named(bpffs: Option<&Path>) -> Self {
        let folder = bpffs.unwrap_or(Path::new(BPFFS)).join(FOLDER);
        let namespace = machine::network_namespace();
        let number: String = namespace.chars().filter(char::is_ascii_digit).collect();
        Self {
            pin: folder.join(format!("owner_{number}")),
            folder,
        }
    }

    /// The place, if a program may be pinned there without harm to others. A folder that was named
    /// by hand is not compared with what the first process sees.
    pub fn find(bpffs: Option<&Path>) -> Result<Self, LayerError> {
        let root = bpffs.unwrap_or(Path::new(BPFFS));
        let is_bpffs = rustix::fs::statfs(root)
            .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == BPFFS_MAGIC));
        if !is_bpffs {
            return Err(LayerError::NoBpffs(root.to_owned()));
        }
        if bpffs.is_none() {
            let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
            let first = Path::new("/proc/1/root").join(BPFFS.trim_start_matches('/'));
            if device(&first) != device(root) {
                return Err(LayerError::OthersView(root.to_owned()));
            }
        }
        if let Some(ours) = denied_to_netd(Path::new(SELINUX)) {
            return Err(LayerError::NetdMayNot { ours });
        }
        Ok(Self::named(bpffs))
    }

    /// The pin's path.
    pub fn pin(&self) -> &Path {
        &self.pin
    }

    /// Makes our folder.
    pub(super) fn prepare(&self) -> Result<(), LayerError> {
        match DirBuilder::new().mode(0o755).create(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(LayerError::Pin {
                path: self.folder.clone(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Removes the pin, and our folder if nothing else is in it.
    pub(super) fn unpin(&self) -> Result<(), LayerError> {
        match fs::remove_file(&self.pin) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LayerError::Pin {
                    path: self.pin.clone(),
                    source: error,
                });
            }
            _ => {}
        }
        // Another namespace's watch may have its pin there.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }
}

/// Our context, if `SELinux` is enforced and denies netd the use of programs that we load. The kernel
/// checks that (`bpf { prog_run }`) each time somebody replaces the table that holds our rule.
fn denied_to_netd(selinux: &Path) -> Option<String> {
    let enforced = read(&selinux.join("enforce"))? == "1";
    let ours = read(Path::new("/proc/self/attr/current"))?;
    // Policies without netd are not a phone's.
    let allowed = !enforced || allows(selinux, NETD, &ours).unwrap_or(true);
    (!allowed).then_some(ours)
}

/// What `SELinux` answers; none where it knows no such class or context.
fn allows(selinux: &Path, source: &str, target: &str) -> Option<bool> {
    let class = read(&selinux.join("class/bpf/index"))?;
    let number: u32 = read(&selinux.join("class/bpf/perms/prog_run"))?
        .parse()
        .ok()?;
    let permission = 1_u32.checked_shl(number.checked_sub(1)?)?;
    let mut access = OpenOptions::new()
        .read(true)
        .write(true)
        .open(selinux.join("access"))
        .ok()?;
    access
        .write_all(format!("{source} {target} {class}").as_bytes())
        .ok()?;
    let mut answer = String::new();
    access.read_to_string(&mut answer).ok()?;
    allowed_in(&answer, permission)
}

/// Reads `allowed decided auditallow auditdeny seqno flags`: masks in hex, then two numbers.
fn allowed_in(answer: &str, permission: u32) -> Option<bool> {
    let mut words = answer.split_ascii_whitespace();
    let allowed = u32::from_str_radix(words.next()?, 16).ok()?;
    let flags: u32 = words
        .nth(4)
        .map_or(Some(0), |flags| u32::from_str_radix(flags, 16).ok())?;
    Some(allowed & permission != 0 || flags & FLAG_PERMISSIVE != 0)
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_end_matches(['\0', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_selinux_answers() {
        let answer = "10 ffffffff 0 ffffffff 21 0";
        assert_eq!(allowed_in(answer, 0x10), Some(true));
        assert_eq!(allowed_in(answer, 0x08), Some(false));
        assert_eq!(allowed_in("0 ffffffff 0 ffffffff 21 1", 0x08), Some(true));
        assert_eq!(allowed_in("", 0x08), None);
        assert_eq!(allowed_in("x", 0x08), None);
    }

    #[test]
    fn a_folder_that_is_no_bpffs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Home::find(Some(folder.path())).unwrap_err();
        assert!(matches!(error, LayerError::NoBpffs(_)), "{error}");
    }

    #[test]
    fn no_selinux_denies_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(denied_to_netd(folder.path()), None);
        fs::write(folder.path().join("enforce"), "0").unwrap();
        assert_eq!(denied_to_netd(folder.path()), None);
    }
}
