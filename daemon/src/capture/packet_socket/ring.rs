//! A packet socket over all interfaces with a receive ring that it shares with the kernel
//! (`TPACKET_V3`, Linux `Documentation/networking/packet_mmap.rst`).
//!
//! In: a filter and the ring's size. Out: full blocks, one borrowed at a time, and the kernel's own
//! count of what it could not put there. Nothing is bound to an interface, none is made
//! promiscuous, nothing can be sent.
//!
//! This is the daemon's only file with `unsafe`: the socket options of packet sockets, the address
//! they are bound to, and the shared memory have no safe library (decision 0130). What lies in a
//! block is read elsewhere, by safe code ([`block`](super::block)). The invariants:
//!
//! 1. The mapping is `BLOCKS * BLOCK_BYTES` long, lives as long as [`Ring`], and only [`Ring`] has
//!    a pointer to it.
//! 2. A block's bytes are lent only while its status word says that it is ours, seen with acquire
//!    ordering; the kernel does not write to such a block (`prb_open_block` waits for its status).
//! 3. Status words are only accessed as atomics. A lent slice leaves out the word of its block.
//! 4. A block is given back, with release ordering, when the loan ends; a loan borrows the ring
//!    mutably, so there is one at a time.
#![expect(
    unsafe_code,
    reason = "memory shared with the kernel and socket options without a safe wrapper (decision 0130)"
)]

use std::{
    ffi::{c_int, c_void},
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::filter::Filter;

/// Bytes of a block. A packet lies in one block, so this is more than the longest packet (64 KiB)
/// with its headers; a multiple of the page size of every machine (up to 64 KiB).
pub const BLOCK_BYTES: usize = 128 * 1024;
/// Blocks of a ring at least: one that is filled, one that is read, and one between them.
pub const BLOCKS_MIN: usize = 3;
/// Blocks of a ring at most (64 MiB).
pub const BLOCKS_MAX: usize = 512;
/// After this long the kernel hands over a block that is not full, in milliseconds. It is the flush
/// interval of NFLOG's groups too.
pub const RETIRE_MILLIS: u32 = 20;

/// Offset of the word in a block that says whose it is (`tpacket_block_desc`, `block_status`).
const STATUS_OFFSET: usize = 8;
/// The block is ours (`TP_STATUS_USER`).
const STATUS_USER: u32 = 1;
/// The block is the kernel's (`TP_STATUS_KERNEL`).
const STATUS_KERNEL: u32 = 0;
/// Size of a frame, which version 3 only uses to check the request (`TPACKET_ALIGNMENT`'s multiple).
const FRAME_BYTES: usize = 2048;

// Numbers of `linux/if_packet.h` and `linux/if_ether.h`.
const PACKET_RX_RING: c_int = 5;
const PACKET_STATISTICS: c_int = 6;
const PACKET_VERSION: c_int = 10;
const TPACKET_V3: c_int = 2;
const ETH_P_ALL: u16 = 3;

/// `struct tpacket_req3`.
#[repr(C)]
struct Request {
    block_size: u32,
    block_nr: u32,
    frame_size: u32,
    frame_nr: u32,
    retire_blk_tov: u32,
    sizeof_priv: u32,
    feature_req_word: u32,
}

/// What the kernel counted since it was last asked (`struct tpacket_stats_v3`).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that passed the filter, those that found no room included.
    pub packets: u32,
    /// Packets that found no room in the ring.
    pub drops: u32,
    /// Times that the ring was full.
    pub freezes: u32,
}

/// A socket of packets without their link headers (`SOCK_DGRAM`), not bound yet: it receives
/// nothing.
pub fn cooked_socket(filter: &Filter) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::PACKET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        // No protocol: the kernel hands over nothing until the socket is bound.
        None,
    )?;
    filter.attach(&socket)?;
    Ok(socket)
}

/// Lets the socket receive from every interface, sent packets included.
pub fn bind_to_all(socket: &OwnedFd) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().unwrap_or_default(),
        sll_protocol: ETH_P_ALL.to_be(),
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a valid `sockaddr_ll` of the length that is said, and outlives the
    // call, which only reads it.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            socklen::<libc::sockaddr_ll>(),
        )
    };
    answer(result)
}

fn socklen<T>() -> libc::socklen_t {
    // The structures here have less than 100 bytes.
    size_of::<T>().try_into().unwrap_or_default()
}

fn answer(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn set_option<T>(socket: &OwnedFd, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is a `#[repr(C)]` structure or an integer, readable for the length that is
    // said; the call only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast(),
            socklen::<T>(),
        )
    };
    answer(result)
}

/// The receiving socket and its ring.
pub struct Ring {
    memory: NonNull<u8>,
    blocks: usize,
    /// Block that the kernel fills next or has filled.
    next: usize,
    socket: OwnedFd,
}

// SAFETY: the pointer is owned by this value alone and not bound to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Opens it and begins to receive what `filter` takes. `bytes` is rounded up to whole blocks
    /// and kept within [`BLOCKS_MIN`] and [`BLOCKS_MAX`].
    pub fn open(filter: &Filter, bytes: usize) -> io::Result<Self> {
        let blocks = bytes.div_ceil(BLOCK_BYTES).clamp(BLOCKS_MIN, BLOCKS_MAX);
        let socket = cooked_socket(filter)?;
        set_option(&socket, PACKET_VERSION, &TPACKET_V3)?;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let request = Request {
            block_size: count(BLOCK_BYTES),
            block_nr: count(blocks),
            frame_size: count(FRAME_BYTES),
            frame_nr: count(BLOCK_BYTES / FRAME_BYTES * blocks),
            retire_blk_tov: RETIRE_MILLIS,
            sizeof_priv: 0,
            feature_req_word: 0,
        };
        set_option(&socket, PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * BLOCK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast())
            .ok_or_else(|| io::Error::other("the ring was mapped at address 0"))?;
        let ring = Self {
            memory,
            blocks,
            next: 0,
            socket,
        };
        bind_to_all(&ring.socket)?;
        Ok(ring)
    }

    /// Bytes of the ring.
    pub const fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// The next block, if the kernel has handed it over. It is given back when the loan ends.
    pub fn next_block(&mut self) -> Option<Block<'_>> {
        let start = self.next * BLOCK_BYTES;
        // SAFETY: `next` is less than `blocks` (set in `open` and `Block::drop` only), so the block
        // lies within the mapping (invariant 1).
        let block = unsafe { self.memory.add(start) };
        // SAFETY: the word lies within the block and is aligned, since blocks begin at multiples of
        // the page size; it is accessed as an atomic only (invariant 3).
        let status = unsafe { AtomicU32::from_ptr(block.add(STATUS_OFFSET).as_ptr().cast()) };
        // Acquire: what the kernel wrote before it handed the block over is seen.
        if status.load(Ordering::Acquire) & STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the block is ours until its status says otherwise (invariant 2), the slice begins
        // behind the status word (invariant 3) and ends with the block (invariant 1), and it lives
        // no longer than the loan, which borrows the ring (invariant 4).
        let bytes = unsafe {
            let body = block.add(super::block::BODY_OFFSET).as_ptr();
            std::slice::from_raw_parts(body, BLOCK_BYTES - super::block::BODY_OFFSET)
        };
        Some(Block {
            bytes,
            status,
            next: &mut self.next,
            blocks: self.blocks,
        })
    }

    /// What was counted since the last call.
    pub fn statistics(&self) -> io::Result<Statistics> {
        let mut statistics = Statistics::default();
        let mut len = socklen::<Statistics>();
        // SAFETY: the kernel writes at most `len` bytes of integers, for which there is room.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                (&raw mut statistics).cast::<c_void>(),
                &raw mut len,
            )
        };
        answer(result)?;
        Ok(statistics)
    }

    /// Receives nothing more; what lies in the ring is handed over within [`RETIRE_MILLIS`].
    pub fn close_intake(&self) -> io::Result<()> {
        Filter::nothing().attach(&self.socket)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and length, and no loan outlives the ring.
        let _ = unsafe { libc::munmap(self.memory.as_ptr().cast(), self.bytes()) };
    }
}

/// A block on loan.
pub struct Block<'a> {
    bytes: &'a [u8],
    status: &'a AtomicU32,
    next: &'a mut usize,
    blocks: usize,
}

impl Block<'_> {
    /// What lies behind the status word, to the block's end.
    pub const fn body(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        *self.next = (*self.next + 1) % self.blocks;
        // Nothing reads through the slice any more, but it is still a field: let go of it first.
        self.bytes = &[];
        // Release: the kernel writes only after we have read.
        self.status.store(STATUS_KERNEL, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_are_as_long_as_the_kernel_s() {
        assert_eq!(size_of::<Request>(), 28);
        assert_eq!(size_of::<Statistics>(), 12);
        assert_eq!(size_of::<libc::sockaddr_ll>(), 20);
        assert_eq!(BLOCK_BYTES % FRAME_BYTES, 0);
        const { assert!(BLOCK_BYTES > 65_536 + 4_096) };
    }
}
