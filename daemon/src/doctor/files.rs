//! Small files of the machine, and what they say.
//!
//! In: a path, or the bytes of `/proc`'s and Android's little formats. Out: values. Whatever is
//! longer than its bound is read as far as that; what cannot be understood is passed over, for
//! these files are the kernel's and grow by columns.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{Mode, OFlags};

/// Bytes of a file that are read at most.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Lines that are looked at; `/proc` of a handset has some hundreds.
pub const LINES_MAX: usize = 16_384;

/// The file's bytes, up to [`FILE_BYTES_MAX`]. What is no regular file (a pipe would make us wait
/// for somebody to write) is refused.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The file as text; bytes that are none become U+FFFD.
pub fn text(path: &Path) -> io::Result<String> {
    read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// One word or line of the kernel's, trimmed of blanks and zeros; none where it cannot be read or
/// says nothing.
pub fn word(path: &Path) -> Option<String> {
    let text = text(path).ok()?;
    let first = text.lines().next()?;
    let word = first.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
    (!word.is_empty()).then(|| word.to_owned())
}

/// Numbers of the NFLOG groups that somebody listens to, as `/proc/net/netfilter/nfnetlink_log`
/// lists them (its first column), sorted.
pub fn nflog_groups(text: &str) -> Vec<u16> {
    let first = |line: &str| line.split_whitespace().next()?.parse().ok();
    let mut groups: Vec<u16> = text.lines().take(LINES_MAX).filter_map(first).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Interfaces that have a default route in `/proc/net/route`: destination and mask 0.
pub fn default_routes_v4(text: &str) -> Vec<String> {
    routes(text, |columns| match columns {
        [name, "00000000", _, _, _, _, _, "00000000", ..] => Some(name),
        _ => None,
    })
}

/// The same of `/proc/net/ipv6_route`: destination `::/0`. The kernel's own unreachable route
/// stands there for `lo`, and is left out.
pub fn default_routes_v6(text: &str) -> Vec<String> {
    routes(text, |columns| match columns {
        [destination, "00", .., name]
            if *name != "lo" && destination.bytes().all(|digit| digit == b'0') =>
        {
            Some(name)
        }
        _ => None,
    })
}

fn routes<'a>(text: &'a str, default: impl Fn(&[&'a str]) -> Option<&'a str>) -> Vec<String> {
    let name = |line: &'a str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        default(&columns).map(str::to_owned)
    };
    let mut names: Vec<String> = text.lines().take(LINES_MAX).filter_map(name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A line of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, unescaped.
    pub on: String,
    /// Kind of the file system (`f2fs`).
    pub kind: String,
    /// Whether it is mounted for reading only.
    pub read_only: bool,
}

/// The mounts, in the order listed: of two on one path the later one counts.
pub fn mounts(text: &str) -> Vec<Mount> {
    text.lines().take(LINES_MAX).filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (fields, system) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(4);
    let on = unescaped(fields.next()?);
    let read_only = fields.next()?.split(',').any(|option| option == "ro");
    let kind = system.split(' ').next()?.to_owned();
    Some(Mount {
        on,
        kind,
        read_only,
    })
}

/// Blanks and backslashes stand as `\ooo` in the kernel's lists.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The mount that a path lies on: the one with the longest path above it.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.on))
        .max_by_key(|mount| mount.on.len())
}

/// A process that holds a lock on a file, by `/proc/locks`; 0 where it lives in another namespace
/// of processes. `device` is (major, minor).
pub fn lock_holder(locks: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    locks.lines().take(LINES_MAX).find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 1234 00:1a:5678 0 EOF`; `->` marks one that waits.
        let mut columns = line.split_whitespace().skip(1).peekable();
        if columns.peek() == Some(&"->") {
            return None;
        }
        let holder: i64 = columns.nth(3)?.parse().ok()?;
        let mut file = columns.next()?.split(':');
        let mut number = || u32::from_str_radix(file.next()?, 16).ok();
        let found = (number()?, number()?);
        let same = found == device && file.next()?.parse() == Ok(inode);
        same.then(|| u32::try_from(holder).unwrap_or(0))
    })
}

/// Android's properties, as `getprop` lists them: `[name]: [value]`, of which those in `wanted`.
pub fn properties<'a>(text: &str, wanted: &[&'a str]) -> BTreeMap<&'a str, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().take(LINES_MAX) {
        let parts = line
            .strip_prefix('[')
            .and_then(|line| line.trim_end().strip_suffix(']'))
            .and_then(|line| line.split_once("]: ["));
        if let Some((name, value)) = parts
            && let Some(name) = wanted.iter().find(|wanted| **wanted == name)
            && !value.is_empty()
        {
            found.insert(*name, value.to_owned());
        }
    }
    found
}

/// A property in the text of one of Android's property files (`name=value`); the first stands, as it
/// does for a read-only property. None where it is not there or says nothing.
pub fn build_property<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    value_of(text.lines().take(LINES_MAX), name)
}

/// A parameter of the bootloader, in the text of `/proc/bootconfig` (`name = "value"`, a line each)
/// or of `/proc/cmdline` (`name=value`, in one line).
pub fn boot_parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    value_of(text.lines().take(LINES_MAX), name)
        .or_else(|| value_of(text.split_whitespace().take(LINES_MAX), name))
        .map(|value| value.trim_matches('"'))
        .filter(|value| !value.is_empty())
}

fn value_of<'a>(mut parts: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let value = |part: &'a str| {
        let (key, value) = part.split_once('=')?;
        (key.trim() == name).then(|| value.trim())
    };
    parts.find_map(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_first_column() {
        let text =
            "  100   4711     0 2 65535     2  1\n  101  4711 0 2 65535 2 1\nx 1\n\n70000 1\n";
        assert_eq!(nflog_groups(text), [100, 101]);
    }

    #[test]
    fn default_routes_are_found_in_both_families() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
                  tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\n\
                  wlan0\t0007A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n";
        assert_eq!(default_routes_v4(v4), ["tun0"]);
        let zeros = "0".repeat(32);
        let v6 = format!(
            "{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200       lo\n\
             {zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000001     wg0\n\
             {zeros} 40 {zeros} 00 {zeros} 00000100 00000001 00000000 00000001   wlan0\n"
        );
        assert_eq!(default_routes_v6(&v6), ["wg0"]);
    }

    #[test]
    fn the_longest_mount_above_a_path_counts_and_the_later_of_two() {
        let text = "1 0 8:1 / / rw - ext4 /dev/root rw\n\
                    2 1 0:1 / /data rw,noatime shared:5 master:1 - f2fs /dev/block/dm-3 rw\n\
                    3 2 0:2 / /data/a\\040b ro - tmpfs tmpfs rw\n\
                    4 1 0:3 / /data ro - erofs x ro\nbroken\n5 1 0:3 / - x\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 4);
        let kind = |path: &str| mount_of(&mounts, Path::new(path)).map(|mount| &*mount.kind);
        assert_eq!(kind("/data/a b/case"), Some("tmpfs"));
        assert_eq!(kind("/data/case"), Some("erofs"));
        assert_eq!(kind("/database"), Some("ext4"));
        assert!(mount_of(&mounts, Path::new("/data/x")).unwrap().read_only);
    }

    #[test]
    fn the_holder_of_a_lock_is_found_and_who_waits_is_not() {
        let locks = "1: FLOCK  ADVISORY  WRITE 77 00:1a:5678 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 78 00:1a:999 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE -1 fd:10:42 0 EOF\n3: x\n";
        assert_eq!(lock_holder(locks, (0, 0x1a), 5678), Some(77));
        assert_eq!(lock_holder(locks, (0, 0x1a), 999), None);
        assert_eq!(lock_holder(locks, (0xfd, 0x10), 42), Some(0));
    }

    #[test]
    fn properties_are_taken_whole() {
        let text = "[ro.a]: [x [y]: z]\r\n[ro.b]: []\n[ro.c]: [no\nro.a: [w]\n";
        let found = properties(text, &["ro.a", "ro.b", "ro.c"]);
        assert_eq!(found, BTreeMap::from([("ro.a", "x [y]: z".to_owned())]));
    }

    #[test]
    fn properties_and_parameters_are_found_by_their_whole_name() {
        let text = "#ro.a=0\n ro.a = x=y \nro.a=z\nro.ab=w\nro.b=\n";
        assert_eq!(build_property(text, "ro.a"), Some("x=y"));
        assert_eq!(build_property(text, "ro.b"), None);
        assert_eq!(build_property(text, "ro"), None);
        let line = "quiet a.b=1 a.c=\"2\" a=3";
        assert_eq!(boot_parameter(line, "a.c"), Some("2"));
        assert_eq!(boot_parameter(line, "a"), Some("3"));
        assert_eq!(boot_parameter("a.b = \"1\"\nc = \"\"\n", "a.b"), Some("1"));
        assert_eq!(boot_parameter("a.b = \"1\"\nc = \"\"\n", "c"), None);
    }

    #[test]
    fn no_more_than_the_bound_is_read_and_nothing_that_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge");
        let file = File::create(&path).unwrap();
        file.set_len(10 * FILE_BYTES_MAX).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, FILE_BYTES_MAX);
        assert_eq!(word(&path), None);
        assert!(read(folder.path()).is_err());
        let pipe = folder.path().join("pipe");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(read(&pipe).is_err());
    }
}
