//! Capture files: pcap or pcapng, of Ethernet, with microseconds.

use std::io::{self, Write};

/// Longest packet that is announced.
const SNAP_BYTES: u32 = 262_144;
const ETHERNET: u32 = 1;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The old one.
    Pcap,
    /// The newer one.
    Pcapng,
}

/// Writes packets into a file.
#[derive(Debug)]
pub struct Capture<W> {
    format: Format,
    out: W,
    /// Packets written.
    pub packets: u64,
}

impl<W: Write> Capture<W> {
    /// Begins a file.
    pub fn begin(format: Format, mut out: W) -> io::Result<Self> {
        match format {
            Format::Pcap => {
                out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
                out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
                out.write_all(&SNAP_BYTES.to_le_bytes())?;
                out.write_all(&ETHERNET.to_le_bytes())?;
            }
            Format::Pcapng => {
                let section: [u32; 7] = [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28];
                let interface: [u32; 5] = [1, 20, ETHERNET, SNAP_BYTES, 20];
                for word in section.into_iter().chain(interface) {
                    out.write_all(&word.to_le_bytes())?;
                }
            }
        }
        Ok(Self {
            format,
            out,
            packets: 0,
        })
    }

    /// Appends a packet; its moment in microseconds since 1970.
    pub fn packet(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.packets += 1;
        match self.format {
            Format::Pcap => {
                let seconds = u32::try_from(at / 1_000_000).map_err(io::Error::other)?;
                let micros = (at % 1_000_000) as u32;
                let mut head = [0; 16];
                for (field, word) in head.chunks_mut(4).zip([seconds, micros, len, len]) {
                    field.copy_from_slice(&word.to_le_bytes());
                }
                self.out.write_all(&head)?;
                self.out.write_all(bytes)
            }
            Format::Pcapng => {
                let padded = len.next_multiple_of(4);
                let (high, low) = ((at >> 32) as u32, (at & 0xffff_ffff) as u32);
                for word in [6, 32 + padded, 0, high, low, len, len] {
                    self.out.write_all(&word.to_le_bytes())?;
                }
                self.out.write_all(bytes)?;
                self.out.write_all(&[0; 3][..(padded - len) as usize])?;
                self.out.write_all(&(32 + padded).to_le_bytes())
            }
        }
    }

    /// Writes what waits.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.flush()?;
        Ok(self.packets)
    }
}
