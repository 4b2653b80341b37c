//! What the kernel and the system's commands answer.
//!
//! In: a [`Place`]. Out: [`Probes`], plain values, so that what follows from them can be tested
//! without the machine that gives them. Each command has [`COMMAND_MAX`], each daemon that is asked
//! as well; the commands run beside each other, so that a phone whose lock is held costs one wait.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{Place, below};
use crate::{
    attribute::sock_diag::SockDiag,
    capture::{
        exactness::{BPFFS, TagMap, TagMapError},
        live::LiveConfig,
        nflog::{
            listing::Listing,
            rules::{self, RulesError},
            socket::{Delivery, GroupSocket, SocketError},
        },
    },
    control::{
        client::Connection,
        protocol::{Answer, Request},
        socket,
    },
    input::SocketProto,
    platform::{
        command::{self, CommandError, Invocation},
        machine::{self, Interface},
    },
};

/// How long one command, or a daemon's answer, may take.
pub const COMMAND_MAX: Duration = Duration::from_secs(2);
/// How the groups that are tried would deliver.
const DELIVERY: Delivery = Delivery {
    threshold: 1,
    flush_hundredths: 1,
    gather_bytes: 4096,
    receive_buffer_bytes: 65_536,
};

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried<T> {
    /// It works.
    Works(T),
    /// We may not, so that it cannot be told.
    Refused,
    /// There is nothing to try here.
    Absent,
    /// It does not work.
    Fails {
        /// Why not.
        cause: String,
        /// What to do.
        remedy: String,
    },
}

/// What this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privileges {
    /// Effective user.
    pub uid: u32,
    /// `CAP_NET_ADMIN`.
    pub net_admin: bool,
    /// `CAP_NET_RAW`.
    pub net_raw: bool,
    /// `CAP_BPF` or `CAP_SYS_ADMIN`.
    pub bpf: bool,
}

impl Privileges {
    /// Whether this is root.
    pub const fn root(self) -> bool {
        self.uid == 0
    }
}

/// A command that sets packet rules, of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketFilter {
    /// This machine does not have the family.
    NoFamily,
    /// There is no such command.
    NotFound {
        /// Its name.
        command: String,
    },
    /// It is there.
    Found {
        /// Its name.
        command: String,
        /// What it says of itself, the first line.
        version: Option<String>,
        /// Its filter table.
        listing: Result<Listing, Unlisted>,
    },
}

/// Why a filter table was not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlisted {
    /// We may not.
    NotPermitted,
    /// Somebody has held the lock for a second.
    LockHeld,
    /// Anything else.
    Failed {
        /// What failed.
        cause: String,
        /// What to do.
        remedy: String,
    },
}

/// A daemon that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its process; none: it did not answer in time, or not understandably.
    pub pid: Option<u32>,
    /// Its case.
    pub case: Option<String>,
    /// Whether it watches this network namespace; none: not known.
    pub here: Option<bool>,
}

/// The control sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemons {
    /// Those on which somebody answers.
    pub running: Vec<Running>,
    /// Those that a crash left.
    pub stale: Vec<PathBuf>,
}

/// Everything that was asked.
#[derive(Debug, Clone)]
pub struct Probes {
    /// What we may do.
    pub privileges: Privileges,
    /// Release of the kernel.
    pub release: String,
    /// Interfaces of this namespace.
    pub interfaces: Vec<Interface>,
    /// iptables.
    pub v4: PacketFilter,
    /// ip6tables.
    pub v6: PacketFilter,
    /// Two NFLOG groups that could be bound, and were let go.
    pub nflog: Tried<[u16; 2]>,
    /// A packet socket.
    pub packet_socket: Tried<()>,
    /// Whether the owner of a socket of ours was told as ourselves.
    pub sock_diag: Tried<bool>,
    /// netd's map of tagged sockets, and where it is.
    pub tag_map: Tried<PathBuf>,
    /// What `getprop` lists.
    pub properties: Tried<String>,
    /// What `settings get global` says of `private_dns_mode` and `private_dns_specifier`.
    pub private_dns: Tried<[String; 2]>,
    /// Whether the machine is an Android device at all.
    pub android: bool,
    /// Daemons and what they left; else why not.
    pub daemons: Result<Daemons, String>,
}

impl Probes {
    /// Asks everything.
    pub fn take(place: &Place) -> Self {
        let root = place.root.as_path();
        let has_ipv6 = machine::has_ipv6();
        thread::scope(|scope| {
            let v6 = scope.spawn(|| {
                if has_ipv6 {
                    packet_filter(&place.commands.v6)
                } else {
                    PacketFilter::NoFamily
                }
            });
            let android = scope.spawn(|| (properties(root), private_dns(root)));
            let v4 = packet_filter(&place.commands.v4);
            let gone = |command: &str| PacketFilter::NotFound {
                command: command.to_owned(),
            };
            let (properties, private_dns) =
                android.join().unwrap_or((Tried::Absent, Tried::Absent));
            Self {
                privileges: Privileges {
                    uid: machine::effective_uid(),
                    net_admin: machine::may_administer_network(),
                    net_raw: machine::may_open_raw_sockets(),
                    bpf: machine::may_load_programs(),
                },
                release: machine::kernel_release(),
                interfaces: machine::interfaces(),
                v4,
                v6: v6.join().unwrap_or_else(|_| gone(&place.commands.v6)),
                nflog: nflog(),
                packet_socket: packet_socket(),
                sock_diag: sock_diag(),
                tag_map: tag_map(root),
                properties,
                private_dns,
                android: below(root, "/system/build.prop").exists() || getprop(root).is_some(),
                daemons: daemons(),
            }
        })
    }
}

fn run(program: &str, args: &[&str]) -> Result<String, CommandError> {
    command::run(&Invocation {
        program,
        args,
        stdin: None,
        timeout: COMMAND_MAX,
    })
    .map(|output| output.stdout)
}

fn packet_filter(command: &str) -> PacketFilter {
    let version = match run(command, &["-V"]) {
        Ok(said) => said.lines().next().map(str::to_owned),
        Err(CommandError::NotFound { program }) => {
            return PacketFilter::NotFound { command: program };
        }
        Err(_) => None,
    };
    let listing = rules::look(command, COMMAND_MAX).map_err(|error| match error {
        RulesError::NotPermitted => Unlisted::NotPermitted,
        RulesError::LockHeld { .. } => Unlisted::LockHeld,
        other => Unlisted::Failed {
            cause: other.cause(),
            remedy: other.remedy().to_owned(),
        },
    });
    PacketFilter::Found {
        command: command.to_owned(),
        version,
        listing,
    }
}

/// Binds the two groups that a watch would take, and lets them go.
fn nflog() -> Tried<[u16; 2]> {
    if !machine::may_administer_network() {
        return Tried::Refused;
    }
    let mut bound: Vec<GroupSocket> = Vec::with_capacity(2);
    for group in LiveConfig::default().groups {
        match GroupSocket::open(group, &DELIVERY) {
            Ok(socket) => bound.push(socket),
            Err(SocketError::GroupTaken { .. }) => {}
            Err(SocketError::NotPermitted { .. }) => return Tried::Refused,
            Err(error) => {
                return Tried::Fails {
                    cause: error.cause(),
                    remedy: error.remedy().to_owned(),
                };
            }
        }
        if let [first, second] = bound.as_slice() {
            return Tried::Works([first.group(), second.group()]);
        }
    }
    Tried::Fails {
        cause: "every NFLOG group that a watch may take is taken by another process".to_owned(),
        remedy: "end those that listen there".to_owned(),
    }
}

/// Opens a packet socket of protocol 0, which receives nothing.
fn packet_socket() -> Tried<()> {
    if !machine::may_open_raw_sockets() {
        return Tried::Refused;
    }
    let opened = rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    );
    match opened {
        Ok(_) => Tried::Works(()),
        Err(errno) => Tried::Fails {
            cause: format!("packet sockets cannot be opened: {errno}"),
            remedy: "use a kernel with CONFIG_PACKET".to_owned(),
        },
    }
}

/// Asks for a datagram socket of our own on the loopback, over which nothing is sent.
fn sock_diag() -> Tried<bool> {
    let found = SockDiag::open().and_then(|mut kernel| {
        let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let Ok(Ok(local)) = ours.as_ref().map(UdpSocket::local_addr) else {
            return Ok(false);
        };
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let socket = kernel.owner(SocketProto::Udp, local, nobody)?;
        Ok(socket.is_some_and(|socket| socket.uid == machine::effective_uid()))
    });
    found.map_or_else(
        |error| Tried::Fails {
            cause: error.to_string(),
            remedy: "use a kernel with CONFIG_INET_DIAG and CONFIG_INET_UDP_DIAG".to_owned(),
        },
        Tried::Works,
    )
}

/// Opens netd's map of tagged sockets, and lets it go.
fn tag_map(root: &Path) -> Tried<PathBuf> {
    match TagMap::find(&below(root, BPFFS)) {
        Ok(map) => Tried::Works(map.path().to_owned()),
        Err(TagMapError::Absent(_)) => Tried::Absent,
        Err(_) if !machine::may_load_programs() => Tried::Refused,
        Err(error) => Tried::Fails {
            cause: error.to_string(),
            remedy: "see whether SELinux lets this process read netd's maps".to_owned(),
        },
    }
}

/// A program of Android's own, where it is there.
fn system_program(root: &Path, name: &str) -> Option<String> {
    let path = below(root, "/system/bin").join(name);
    path.is_file()
        .then(|| path.to_str().map(str::to_owned))
        .flatten()
}

fn getprop(root: &Path) -> Option<String> {
    system_program(root, "getprop")
}

fn failed(error: &CommandError) -> Tried<String> {
    Tried::Fails {
        cause: error.to_string(),
        remedy: "run it by hand and see".to_owned(),
    }
}

fn properties(root: &Path) -> Tried<String> {
    match getprop(root) {
        Some(program) => run(&program, &[]).map_or_else(|error| failed(&error), Tried::Works),
        None => Tried::Absent,
    }
}

fn private_dns(root: &Path) -> Tried<[String; 2]> {
    let Some(program) = system_program(root, "settings") else {
        return Tried::Absent;
    };
    let get = |name| run(&program, &["get", "global", name]).map(|said| said.trim().to_owned());
    let both = get("private_dns_mode")
        .and_then(|mode| get("private_dns_specifier").map(|specifier| [mode, specifier]));
    both.map_or_else(
        |error| Tried::Fails {
            cause: error.to_string(),
            remedy: "look into the settings of the handset".to_owned(),
        },
        Tried::Works,
    )
}

fn daemons() -> Result<Daemons, String> {
    let (running, stale) =
        socket::found().map_err(|error| format!("{}: {error}", socket::folder().display()))?;
    let running = running.iter().map(|path| asked(path)).collect();
    Ok(Daemons { running, stale })
}

fn asked(path: &Path) -> Running {
    let answer = Connection::at_within(path, COMMAND_MAX)
        .and_then(|mut connection| connection.ask(&Request::Status));
    match answer {
        Ok(Answer::Status(status)) => Running {
            pid: Some(status.pid),
            case: Some(status.case),
            here: Some(status.network_namespace == machine::network_namespace()),
        },
        _ => Running {
            pid: None,
            case: None,
            here: None,
        },
    }
}
