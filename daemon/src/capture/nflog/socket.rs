//! A netlink socket bound to one NFLOG group.
//!
//! In: a group's number and how it shall deliver. Out: datagrams for
//! [`messages`](super::message::messages). Binding, copy mode and flags follow the kernel's
//! `net/netfilter/nfnetlink_log.c`.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, sockopt},
};

use super::message::{self, Message, NLMSG_NOOP};
use crate::platform::machine;

/// Bytes of a packet that the kernel copies at most.
const COPY_RANGE: u32 = 0xffff;
/// Longest datagram: one whole packet with its attributes, or a full batch.
pub const DATAGRAM_BYTES_MAX: usize = 128 * 1024;
/// How long the kernel may take to answer a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Datagrams read at most while an answer is awaited.
const ANSWER_DATAGRAMS_MAX: usize = 1024;

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG`.
const MSG_CONFIG: u16 = 4 << 8 | 1;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;

const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULA_CFG_FLAGS: u16 = 6;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULNL_CFG_F_SEQ: u16 = 1;

/// The first request about a group.
const BIND_GROUP: &str = "bind the group";

/// How a group delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Packets that the kernel gathers before it sends; 1 sends each at once.
    pub threshold: u32,
    /// How long it gathers at most, in hundredths of a second.
    pub flush_hundredths: u32,
    /// Bytes that it gathers at most.
    pub gather_bytes: u32,
    /// Receive buffer of the socket that is asked for, in bytes.
    pub receive_buffer_bytes: usize,
}

/// Why a group could not be opened or read. Shown as its cause, then its remedy.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process listens to the group.
    GroupTaken {
        /// Its number.
        group: u16,
    },
    /// We may not.
    NotPermitted {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel has no NFLOG.
    NotSupported {
        /// What is not there.
        part: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It gave no answer.
    NoAnswer {
        /// Its number.
        group: u16,
    },
    /// Anything else.
    Io {
        /// Its number.
        group: u16,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The part of the kernel that NFLOG's messages come through.
const NFNETLINK: &str = "its netlink family for packet filters";
/// The part that makes them.
const NFNETLINK_LOG: &str = "its log of packets";

impl SocketError {
    /// What failed.
    pub fn cause(&self) -> String {
        match self {
            Self::GroupTaken { group } => {
                format!("NFLOG group {group} is taken by another process")
            }
            Self::NotPermitted { source } => {
                format!("NFLOG needs root (CAP_NET_ADMIN): {source}")
            }
            Self::NotSupported { part, source } => {
                format!("this kernel has no NFLOG ({part} is missing: {source})")
            }
            Self::NoAnswer { group } => {
                format!("the kernel did not answer a request about NFLOG group {group}")
            }
            Self::Io {
                group,
                step,
                source,
            } => format!("NFLOG group {group}: {step}: {source}"),
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::GroupTaken { .. } => "choose another group",
            Self::NotPermitted { .. } => "start it as root",
            Self::NotSupported { .. } => {
                "use a kernel with CONFIG_NETFILTER_NETLINK_LOG, or load its module nfnetlink_log"
            }
            Self::NoAnswer { .. } | Self::Io { .. } => {
                "try again; `sakshi doctor` says what the kernel offers"
            }
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause(), self.remedy())
    }
}

/// What the kernel means by refusing a socket of the family `NETLINK_NETFILTER`.
fn socket_refused(group: u16, source: io::Error) -> SocketError {
    match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::ACCESS) => SocketError::NotPermitted { source },
        Some(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => SocketError::NotSupported {
            part: NFNETLINK,
            source,
        },
        _ => SocketError::Io {
            group,
            step: "open",
            source,
        },
    }
}

/// What it means by refusing to bind a group. A kernel without `nfnetlink_log` does not know the
/// subsystem: EINVAL (`nfnetlink_rcv_msg`); others are for what may stand in its place.
fn bind_refused(group: u16, source: io::Error, may_administer: bool) -> SocketError {
    match Errno::from_io_error(&source) {
        // Who holds the group is told from a missing right by whether we have the right.
        Some(Errno::PERM | Errno::BUSY) if may_administer => SocketError::GroupTaken { group },
        Some(Errno::PERM | Errno::ACCESS) => SocketError::NotPermitted { source },
        Some(
            Errno::INVAL
            | Errno::OPNOTSUPP
            | Errno::NOENT
            | Errno::PROTONOSUPPORT
            | Errno::AFNOSUPPORT
            | Errno::CONNREFUSED,
        ) => SocketError::NotSupported {
            part: NFNETLINK_LOG,
            source,
        },
        _ => SocketError::Io {
            group,
            step: BIND_GROUP,
            source,
        },
    }
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A datagram of so many bytes.
    Datagram(usize),
    /// A datagram too long for the buffer: its packets are lost.
    TooLong,
    /// The kernel dropped datagrams since the last read (`ENOBUFS`).
    Overrun,
    /// Nothing is waiting.
    Nothing,
}

/// A bound group.
pub struct GroupSocket {
    socket: Socket,
    group: u16,
    granted_bytes: usize,
    requests: u32,
}

impl GroupSocket {
    /// Binds `group`. From here on the kernel keeps what rules log to it.
    pub fn open(group: u16, delivery: &Delivery) -> Result<Self, SocketError> {
        let failed = |step| {
            move |source| SocketError::Io {
                group,
                step,
                source,
            }
        };
        let mut socket =
            Socket::new(NETLINK_NETFILTER).map_err(|source| socket_refused(group, source))?;
        socket.bind_auto().map_err(failed("bind"))?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .map_err(failed("connect"))?;
        let granted_bytes = size_receive_buffer(&socket, delivery.receive_buffer_bytes)
            .map_err(|errno| failed("receive buffer")(errno.into()))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(|errno| failed("receive timeout")(errno.into()))?;
        let mut opened = Self {
            socket,
            group,
            granted_bytes,
            requests: 0,
        };
        opened.configure(delivery)?;
        Ok(opened)
    }

    /// The group's number.
    pub const fn group(&self) -> u16 {
        self.group
    }

    /// Receive buffer that the kernel granted, in bytes (its own bookkeeping included, so twice
    /// what was asked for is the full grant).
    pub const fn granted_bytes(&self) -> usize {
        self.granted_bytes
    }

    /// Reads one datagram without waiting.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Received, SocketError> {
        let room = buffer.len();
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            return match rustix::net::recv(self.socket.as_fd(), &mut *buffer, flags) {
                Ok((_, len)) if len > room => Ok(Received::TooLong),
                Ok((_, len)) => Ok(Received::Datagram(len)),
                Err(Errno::AGAIN) => Ok(Received::Nothing),
                Err(Errno::NOBUFS) => Ok(Received::Overrun),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(SocketError::Io {
                    group: self.group,
                    step: "receive",
                    source: errno.into(),
                }),
            };
        }
    }

    /// Asks the kernel for nothing, without waiting. The answer, [`message::Message::Answer`] with the
    /// number that this returns, stands in the queue behind every packet that waits there now. None:
    /// the request could not be made.
    pub fn mark(&mut self) -> Option<u32> {
        self.requests = self.requests.wrapping_add(1);
        let message = header(0, NLMSG_NOOP, self.requests);
        let sent = rustix::net::send(self.socket.as_fd(), &message, SendFlags::DONTWAIT);
        sent.is_ok().then_some(self.requests)
    }

    fn configure(&mut self, delivery: &Delivery) -> Result<(), SocketError> {
        let bind = [NFULNL_CFG_CMD_BIND];
        self.request(BIND_GROUP, &[(NFULA_CFG_CMD, &bind)])
            .map_err(|error| match error {
                SocketError::Io { source, .. } => {
                    bind_refused(self.group, source, machine::may_administer_network())
                }
                other => other,
            })?;
        let mut mode = [0; 6];
        mode[..4].copy_from_slice(&COPY_RANGE.to_be_bytes());
        mode[4] = NFULNL_COPY_PACKET;
        self.request(
            "set how the group delivers",
            &[
                (NFULA_CFG_MODE, &mode),
                (NFULA_CFG_NLBUFSIZ, &delivery.gather_bytes.to_be_bytes()),
                (NFULA_CFG_TIMEOUT, &delivery.flush_hundredths.to_be_bytes()),
                (NFULA_CFG_QTHRESH, &delivery.threshold.to_be_bytes()),
                (NFULA_CFG_FLAGS, &NFULNL_CFG_F_SEQ.to_be_bytes()),
            ],
        )
    }

    /// Sends one request and waits for its answer.
    fn request(
        &mut self,
        step: &'static str,
        attributes: &[(u16, &[u8])],
    ) -> Result<(), SocketError> {
        let group = self.group;
        let failed = |source| SocketError::Io {
            group,
            step,
            source,
        };
        self.requests += 1;
        let wanted = self.requests;
        let message = config_message(group, wanted, attributes);
        self.socket.send(&message, 0).map_err(failed)?;
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        for _ in 0..ANSWER_DATAGRAMS_MAX {
            // Packets may come before the answer once the group is bound; no rule logs to it yet,
            // so there are none of ours.
            let len =
                match rustix::net::recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
                    Ok((_, len)) => len,
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => break,
                    Err(errno) => return Err(failed(errno.into())),
                };
            let answer = message::messages(buffer.get(..len).unwrap_or_default())
                .flatten()
                .find_map(|read| match read {
                    Message::Answer { request, code } if request == wanted => Some(code),
                    _ => None,
                });
            match answer {
                Some(0) => return Ok(()),
                Some(code) => return Err(failed(io::Error::from_raw_os_error(-code))),
                None => {}
            }
        }
        Err(SocketError::NoAnswer { group })
    }
}

impl AsFd for GroupSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks for `bytes`, past the system's limit if we may; says what was granted.
pub(crate) fn size_receive_buffer(socket: impl AsFd, bytes: usize) -> rustix::io::Result<usize> {
    let socket = socket.as_fd();
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        sockopt::set_socket_recv_buffer_size(socket, bytes)?;
    }
    sockopt::socket_recv_buffer_size(socket)
}

fn config_message(group: u16, request: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(group.to_be_bytes());
    for (kind, value) in attributes {
        // Every value above is a few bytes long.
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        body.extend(len.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut message = header(body.len(), MSG_CONFIG, request);
    message.extend(body);
    message
}

/// `struct nlmsghdr` of a request that wants an answer, with room for nothing behind it.
fn header(body_len: usize, kind: u16, request: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(body_len + 16);
    message.extend(
        u32::try_from(body_len + 16)
            .unwrap_or(u32::MAX)
            .to_ne_bytes(),
    );
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend([0; 4]);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_nflog_is_told_by_what_it_answers() {
        let error = |errno: Errno| io::Error::from(errno);
        for errno in [Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT] {
            let told = socket_refused(100, error(errno)).to_string();
            assert!(
                told.starts_with("this kernel has no NFLOG (its netlink family"),
                "{told}"
            );
            assert!(told.contains("CONFIG_NETFILTER_NETLINK_LOG"), "{told}");
        }
        for errno in [
            Errno::INVAL,
            Errno::OPNOTSUPP,
            Errno::NOENT,
            Errno::PROTONOSUPPORT,
        ] {
            let told = bind_refused(100, error(errno), true).to_string();
            assert!(
                told.starts_with("this kernel has no NFLOG (its log of packets is missing"),
                "{told}"
            );
        }
        for (errno, may_administer, starts) in [
            (Errno::PERM, true, "NFLOG group 100 is taken"),
            (Errno::BUSY, true, "NFLOG group 100 is taken"),
            (Errno::PERM, false, "NFLOG needs root"),
            (Errno::NOMEM, true, "NFLOG group 100: bind the group"),
        ] {
            let told = bind_refused(100, error(errno), may_administer).to_string();
            assert!(told.starts_with(starts), "{told}");
        }
    }

    #[test]
    fn builds_aligned_requests() {
        let message = config_message(101, 3, &[(NFULA_CFG_CMD, &[1]), (NFULA_CFG_FLAGS, &[0, 1])]);
        assert_eq!(message.len(), 16 + 4 + 8 + 8);
        let Some(Ok(Message::Other(kind))) = message::messages(&message).next() else {
            panic!("not a message of a kind that is only sent");
        };
        assert_eq!(kind, MSG_CONFIG);
        assert_eq!(&message[16..20], &[0, 0, 0, 101]);
    }
}
