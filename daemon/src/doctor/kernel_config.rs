//! What the running kernel was built with.
//!
//! In: `/proc/config.gz`, else `/boot/config-RELEASE`. Out: for each option that matters to a watch
//! whether it is built in (`y`), a module (`m`) or absent. Names follow `android-base.config`.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use flate2::read::MultiGzDecoder;

use super::files;

/// Bytes of a decompressed configuration that are read; a kernel's has some 200 KiB.
pub const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An option, and what is lost without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelOption {
    /// Without `CONFIG_`.
    pub name: &'static str,
    /// What is lost without it; empty: nothing that this version uses.
    pub lost: &'static str,
}

const fn option(name: &'static str, lost: &'static str) -> KernelOption {
    KernelOption { name, lost }
}

const NO_NFLOG: &str = "NFLOG, and with it the owner of each packet and the count of lost ones: \
                        packet sockets are used instead";
const NO_SOCK_DIAG: &str = "for whom the platform's sockets act";

/// Every option that matters, sorted by name. The filter tables are asked for themselves (iptables
/// may work by nftables, without them).
pub const OPTIONS: [KernelOption; 17] = [
    option("BPF_SYSCALL", "exact owners by xt_bpf"),
    option("CGROUP_BPF", ""),
    option("INET_DIAG", NO_SOCK_DIAG),
    option("INET_DIAG_DESTROY", ""),
    option("INET_UDP_DIAG", NO_SOCK_DIAG),
    option("IP6_NF_FILTER", ""),
    option("IP_NF_FILTER", ""),
    option("NETFILTER_NETLINK_LOG", NO_NFLOG),
    option(
        "NETFILTER_XT_MATCH_BPF",
        "exact owners by xt_bpf, and answers of QUIC servers where u32 is missing as well",
    ),
    option(
        "NETFILTER_XT_MATCH_HASHLIMIT",
        "a server's first packets where no other rule takes them",
    ),
    option(
        "NETFILTER_XT_MATCH_MULTIPORT",
        "the rest of cleartext packets behind 4096 bytes",
    ),
    option(
        "NETFILTER_XT_MATCH_OWNER",
        "the quick look-up for whom system services act",
    ),
    option("NETFILTER_XT_MATCH_U32", ""),
    option("NETFILTER_XT_TARGET_NFLOG", NO_NFLOG),
    option("PACKET", "the fallback where NFLOG cannot be used"),
    option("TUN", ""),
    option("VETH", ""),
];

/// How an option stands in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// In the kernel.
    In,
    /// As a module.
    Module,
    /// Not at all.
    Absent,
}

impl Built {
    /// As kernel configurations write it; `absent` for what they leave out.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "y",
            Self::Module => "m",
            Self::Absent => "absent",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelConfig {
    /// The options, each of [`OPTIONS`] by name, and the file they come from.
    Known {
        /// As the machine names it.
        file: String,
        /// How each stands.
        options: BTreeMap<&'static str, Built>,
    },
    /// Nothing; the text says why.
    Unknown(String),
}

impl KernelConfig {
    /// How an option stands; none: not known.
    pub fn get(&self, name: &str) -> Option<Built> {
        match self {
            Self::Known { options, .. } => options.get(name).copied(),
            Self::Unknown(_) => None,
        }
    }
}

/// Finds and reads the configuration of the kernel with this release.
pub fn find(root: &Path, release: &str) -> KernelConfig {
    const PACKED: &str = "/proc/config.gz";
    // A release is the kernel's own word; one with a slash in it is not taken for a path.
    let plain = format!("/boot/config-{}", release.replace('/', "_"));
    let mut why = Vec::new();
    for file in [PACKED, &plain] {
        let read = files::read(&super::below(root, file))
            .map_err(|error| error.to_string())
            .and_then(|bytes| parse(&bytes));
        match read {
            Ok(options) => {
                let file = file.to_owned();
                return KernelConfig::Known { file, options };
            }
            Err(cause) => why.push(format!("{file}: {cause}")),
        }
    }
    KernelConfig::Unknown(why.join("; "))
}

/// Reads a configuration, gzip or plain.
///
/// # Errors
/// In plain words: what is no configuration at all, and a gzip that is damaged (its options might
/// be the ones that are cut off).
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<&'static str, Built>, String> {
    let mut plain = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(bytes)
            .take(CONFIG_BYTES_MAX)
            .read_to_end(&mut plain)
            .map_err(|error| format!("its gzip is damaged ({error})"))?;
    } else {
        plain.extend(bytes);
    }
    let text = String::from_utf8_lossy(&plain);
    let mut options: BTreeMap<&'static str, Built> = OPTIONS
        .iter()
        .map(|option| (option.name, Built::Absent))
        .collect();
    let mut is_config = false;
    for line in text.lines() {
        let Some((name, value)) = line
            .strip_prefix("CONFIG_")
            .and_then(|line| line.split_once('='))
        else {
            continue;
        };
        is_config = true;
        let built = match value.trim_end() {
            "y" => Built::In,
            "m" => Built::Module,
            _ => continue,
        };
        if let Some(found) = options.get_mut(name) {
            *found = built;
        }
    }
    if is_config {
        Ok(options)
    } else {
        Err("it is no kernel configuration".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn reads_plain_and_packed() {
        let text = "# Linux\nCONFIG_TUN=m\nCONFIG_PACKET=y\r\n# CONFIG_VETH is not set\n\
                    CONFIG_HZ=250\nCONFIG_INET_DIAG=\"y\"\n";
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        for bytes in [text.as_bytes().to_vec(), packed.finish().unwrap()] {
            let options = parse(&bytes).unwrap();
            assert_eq!(options.len(), OPTIONS.len());
            assert_eq!(options["TUN"], Built::Module);
            assert_eq!(options["PACKET"], Built::In);
            for absent in ["VETH", "INET_DIAG"] {
                assert_eq!(options[absent], Built::Absent, "{absent}");
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let damaged = [&[0x1f, 0x8b, 8, 0][..], &[0xff; 200]].concat();
        for (bytes, says) in [
            (&b""[..], "no kernel configuration"),
            (b"\0\xffjunk", "no kernel configuration"),
            (&damaged, "gzip is damaged"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn options_are_sorted() {
        assert!(OPTIONS.is_sorted_by_key(|option| option.name));
    }
}
