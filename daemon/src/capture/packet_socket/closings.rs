//! Which UDP sockets the kernel closed (the destroy groups of `sock_diag`, `linux/sock_diag.h`).
//!
//! In: the kernel's messages. Out: the ends of each socket that was connected. They show a socket
//! that no lookup found: where more sockets closed than were found, somebody else sent too.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_sock_diag::{SockDiagMessage, inet::InetResponse};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use rustix::{io::Errno, net::RecvFlags};

use crate::{attribute::sock_diag::messages, capture::nflog::socket::size_receive_buffer};

/// `SKNLGRP_INET_UDP_DESTROY` and `SKNLGRP_INET6_UDP_DESTROY`.
const GROUPS: [u32; 2] = [2, 4];
/// Receive buffer: some thousand sockets may close while nothing is read.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Longest datagram: one socket with its attributes.
const DATAGRAM_BYTES: usize = 4096;

/// Listens to the kernel.
pub(crate) struct Closings {
    socket: Socket,
    buffer: Box<[u8]>,
    overruns: u64,
}

impl Closings {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        // What is granted does not matter: an overrun is noticed.
        let _ = size_receive_buffer(&socket, BUFFER_BYTES);
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM_BYTES].into_boxed_slice(),
            overruns: 0,
        })
    }

    /// Times that the kernel had more to say than there was room for.
    pub(crate) const fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Gives the local and the remote end of up to `max` sockets to `each`.
    pub(crate) fn read(&mut self, max: usize, mut each: impl FnMut(SocketAddr, SocketAddr)) {
        for _ in 0..max {
            let received = rustix::net::recv(
                self.socket.as_fd(),
                &mut self.buffer[..],
                RecvFlags::DONTWAIT,
            );
            let len = match received {
                Ok((_, len)) => len,
                Err(Errno::INTR) => continue,
                Err(Errno::NOBUFS) => {
                    self.overruns += 1;
                    continue;
                }
                Err(_) => return,
            };
            for message in messages(self.buffer.get(..len).unwrap_or_default()) {
                if let Ok(message) = message
                    && let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) =
                        message.payload
                {
                    let (local, remote) = ends(&socket);
                    if remote.port() != 0 {
                        each(local, remote);
                    }
                }
            }
        }
    }
}

/// The ends as they stand in packets: an IPv4 connection of an IPv6 socket is an IPv4 one.
fn ends(socket: &InetResponse) -> (SocketAddr, SocketAddr) {
    let id = &socket.header.socket_id;
    (
        SocketAddr::new(id.source_address.to_canonical(), id.source_port),
        SocketAddr::new(id.destination_address.to_canonical(), id.destination_port),
    )
}

impl AsFd for Closings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
