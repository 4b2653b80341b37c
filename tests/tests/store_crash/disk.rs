//! A disk that forgets: what it shows, and what would be left after the power fails.
//!
//! In: operations of a file system. Out: what a program sees, and after [`Disk::lose_power`] what the
//! next one finds. The rules are POSIX's at their strictest: content is safe after `fsync` of the
//! file, a name after `fsync` of its folder, and of everything else any part may be there or not, by
//! sectors. Disks do all of this; a file system in order promises no more.

use std::collections::BTreeMap;

use sakshi_tests::seed::Seed;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;
/// The number of the root folder, as FUSE wants it.
pub const ROOT: u64 = 1;

/// Why an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such file.
    Missing,
    /// There is one already.
    Exists,
    /// A folder where a file is wanted, or the other way round.
    Kind,
    /// A folder that holds something.
    NotEmpty,
    /// No space is left.
    Full,
    /// The disk reports an error.
    Input,
}

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub content: Content,
    /// Permission bits.
    pub mode: u16,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes.
    File(Vec<u8>),
    /// Names, each with the number of its node.
    Folder(BTreeMap<String, u64>),
}

impl Node {
    fn file(mode: u16) -> Self {
        Self {
            content: Content::File(Vec::new()),
            mode,
        }
    }

    fn folder(mode: u16) -> Self {
        Self {
            content: Content::Folder(BTreeMap::new()),
            mode,
        }
    }
}

/// How the disk misbehaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// No more than so many bytes are free.
    Full(u64),
    /// After so many writes and syncs, each fails.
    Broken(u64),
}

/// How much of what was not synced is there after a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    All,
    /// Each sector and each name, or not, as chance has it.
    Some,
}

/// The disk.
#[derive(Debug)]
pub struct Disk {
    shown: BTreeMap<u64, Node>,
    safe: BTreeMap<u64, Node>,
    next: u64,
    fault: Fault,
}

impl Disk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        let shown = BTreeMap::from([(ROOT, Node::folder(0o700))]);
        Self {
            safe: shown.clone(),
            shown,
            next: ROOT + 1,
            fault: Fault::None,
        }
    }

    /// Misbehaves like this from now on.
    pub fn set_fault(&mut self, fault: Fault) {
        self.fault = fault;
    }

    /// Whether a fault has struck: nothing is free, or everything fails.
    pub fn is_struck(&self) -> bool {
        matches!(self.fault, Fault::Full(0) | Fault::Broken(0))
    }

    /// A node by its number.
    pub fn node(&self, number: u64) -> Result<&Node, Refusal> {
        self.shown.get(&number).ok_or(Refusal::Missing)
    }

    /// The number of the node of a name.
    pub fn find(&self, folder: u64, name: &str) -> Result<u64, Refusal> {
        self.names(folder)?
            .get(name)
            .copied()
            .ok_or(Refusal::Missing)
    }

    /// The names in a folder.
    pub fn names(&self, folder: u64) -> Result<&BTreeMap<String, u64>, Refusal> {
        match &self.node(folder)?.content {
            Content::Folder(names) => Ok(names),
            Content::File(_) => Err(Refusal::Kind),
        }
    }

    /// Makes an empty file or folder.
    pub fn make(
        &mut self,
        folder: u64,
        name: &str,
        mode: u16,
        is_folder: bool,
    ) -> Result<u64, Refusal> {
        if self.names(folder)?.contains_key(name) {
            return Err(Refusal::Exists);
        }
        self.spend(1)?;
        let number = self.next;
        self.next += 1;
        let node = if is_folder {
            Node::folder(mode)
        } else {
            Node::file(mode)
        };
        self.shown.insert(number, node);
        self.names_mut(folder)?.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Takes a name away. Who has the file open goes on with it.
    pub fn remove(&mut self, folder: u64, name: &str) -> Result<(), Refusal> {
        let number = self.find(folder, name)?;
        if let Ok(names) = self.names(number)
            && !names.is_empty()
        {
            return Err(Refusal::NotEmpty);
        }
        self.operate()?;
        self.names_mut(folder)?.remove(name);
        Ok(())
    }

    /// Gives a node another name, in place of what had it.
    pub fn rename(&mut self, from: (u64, &str), to: (u64, &str)) -> Result<(), Refusal> {
        let number = self.find(from.0, from.1)?;
        self.names(to.0)?;
        self.operate()?;
        self.names_mut(from.0)?.remove(from.1);
        self.names_mut(to.0)?.insert(to.1.to_owned(), number);
        Ok(())
    }

    /// Sets the permission bits.
    pub fn set_mode(&mut self, number: u64, mode: u16) -> Result<(), Refusal> {
        self.node(number)?;
        if let Some(node) = self.shown.get_mut(&number) {
            node.mode = mode;
        }
        Ok(())
    }

    /// Cuts a file, or makes it longer with zeros.
    pub fn set_length(&mut self, number: u64, length: usize) -> Result<(), Refusal> {
        let grown = length.saturating_sub(self.bytes(number)?.len());
        self.spend(grown)?;
        self.bytes_mut(number)?.resize(length, 0);
        Ok(())
    }

    /// Bytes of a file, fewer at its end.
    pub fn read(&self, number: u64, offset: usize, length: usize) -> Result<&[u8], Refusal> {
        let bytes = self.bytes(number)?;
        let from = offset.min(bytes.len());
        let to = from.saturating_add(length).min(bytes.len());
        Ok(bytes.get(from..to).unwrap_or_default())
    }

    /// Writes bytes of a file; a full disk takes none of them.
    pub fn write(&mut self, number: u64, offset: usize, data: &[u8]) -> Result<(), Refusal> {
        let end = offset.saturating_add(data.len());
        let grown = end.saturating_sub(self.bytes(number)?.len());
        self.spend(grown)?;
        let bytes = self.bytes_mut(number)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(offset..end) {
            place.copy_from_slice(data);
        }
        Ok(())
    }

    /// Makes safe what a file holds, or the names in a folder.
    pub fn sync(&mut self, number: u64) -> Result<(), Refusal> {
        let node = self.node(number)?.clone();
        self.operate()?;
        // A node whose name was never synced is reached by nobody after a loss of power.
        self.safe.insert(number, node);
        Ok(())
    }

    /// Bytes that can still be written, for `statfs`.
    pub fn free(&self) -> u64 {
        match self.fault {
            Fault::Full(free) => free,
            Fault::None | Fault::Broken(_) => 1 << 40,
        }
    }

    /// The power fails: what was synced is there, of the rest as much as `loss` says. Faults end.
    pub fn lose_power(&mut self, loss: Loss, seed: &mut Seed) {
        let mut left = BTreeMap::new();
        let mut open = vec![ROOT];
        while let Some(number) = open.pop() {
            let node = self.left_of(number, loss, seed);
            if let Content::Folder(names) = &node.content {
                open.extend(names.values());
            }
            left.insert(number, node);
        }
        self.safe.clone_from(&left);
        self.shown = left;
        self.fault = Fault::None;
    }

    fn left_of(&self, number: u64, loss: Loss, seed: &mut Seed) -> Node {
        let shown = self.shown.get(&number);
        let safe = self.safe.get(&number);
        match (safe, shown) {
            (Some(safe), Some(shown)) if loss == Loss::Some => mixed(safe, shown, seed),
            (Some(safe), _) => safe.clone(),
            // Its name is there, it was never synced: nothing of it is promised.
            (None, Some(shown)) => {
                let empty = match shown.content {
                    Content::File(_) => Node::file(shown.mode),
                    Content::Folder(_) => Node::folder(shown.mode),
                };
                if loss == Loss::Some {
                    mixed(&empty, shown, seed)
                } else {
                    empty
                }
            }
            (None, None) => Node::file(0),
        }
    }

    fn bytes(&self, number: u64) -> Result<&Vec<u8>, Refusal> {
        match &self.node(number)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Folder(_) => Err(Refusal::Kind),
        }
    }

    fn bytes_mut(&mut self, number: u64) -> Result<&mut Vec<u8>, Refusal> {
        match &mut self.shown.get_mut(&number).ok_or(Refusal::Missing)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Folder(_) => Err(Refusal::Kind),
        }
    }

    fn names_mut(&mut self, number: u64) -> Result<&mut BTreeMap<String, u64>, Refusal> {
        match &mut self.shown.get_mut(&number).ok_or(Refusal::Missing)?.content {
            Content::Folder(names) => Ok(names),
            Content::File(_) => Err(Refusal::Kind),
        }
    }

    /// Counts an operation that takes `bytes` of what is free.
    fn spend(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.operate()?;
        if let Fault::Full(free) = &mut self.fault {
            let left = free.checked_sub(bytes as u64);
            *free = left.unwrap_or(0);
            return left.map(|_| ()).ok_or(Refusal::Full);
        }
        Ok(())
    }

    /// Counts an operation.
    fn operate(&mut self) -> Result<(), Refusal> {
        if let Fault::Broken(left) = &mut self.fault {
            *left = left.checked_sub(1).ok_or(Refusal::Input)?;
        }
        Ok(())
    }
}

/// What is safe, with any part of what is shown besides.
fn mixed(safe: &Node, shown: &Node, seed: &mut Seed) -> Node {
    let content = match (&safe.content, &shown.content) {
        (Content::File(old), Content::File(new)) => Content::File(mixed_bytes(old, new, seed)),
        (Content::Folder(old), Content::Folder(new)) => {
            Content::Folder(mixed_names(old, new, seed))
        }
        (old, _) => old.clone(),
    };
    Node {
        content,
        mode: shown.mode,
    }
}

fn mixed_bytes(old: &[u8], new: &[u8], seed: &mut Seed) -> Vec<u8> {
    let length = if seed.below(2) == 0 {
        old.len()
    } else {
        new.len()
    };
    let mut bytes = old.to_vec();
    bytes.resize(length, 0);
    for (index, sector) in bytes.chunks_mut(SECTOR).enumerate() {
        let from = index * SECTOR;
        let written = new.get(from..(from + sector.len()).min(new.len()));
        if let Some(written) = written
            && seed.below(2) == 0
        {
            sector[..written.len()].copy_from_slice(written);
        }
    }
    bytes
}

fn mixed_names(
    old: &BTreeMap<String, u64>,
    new: &BTreeMap<String, u64>,
    seed: &mut Seed,
) -> BTreeMap<String, u64> {
    old.keys()
        .chain(new.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter_map(|name| {
            let (old, new) = (old.get(name), new.get(name));
            let kept = if old == new || seed.below(2) == 0 {
                old
            } else {
                new
            };
            kept.map(|number| (name.clone(), *number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with(name: &str, bytes: &[u8]) -> (Disk, u64) {
        let mut disk = Disk::new();
        let file = disk.make(ROOT, name, 0o600, false).expect("made");
        disk.write(file, 0, bytes).expect("written");
        (disk, file)
    }

    #[test]
    fn forgets_what_was_not_synced() {
        let (mut disk, file) = disk_with("a", b"one");
        disk.sync(file).expect("synced");
        disk.lose_power(Loss::All, &mut Seed::new(1));
        assert_eq!(disk.find(ROOT, "a"), Err(Refusal::Missing));

        let (mut disk, file) = disk_with("a", b"one");
        disk.sync(file).expect("synced");
        disk.sync(ROOT).expect("synced");
        disk.write(file, 0, b"two").expect("written");
        disk.lose_power(Loss::All, &mut Seed::new(1));
        assert_eq!(disk.read(file, 0, 9), Ok(&b"one"[..]));
    }

    #[test]
    fn may_keep_any_sector_of_the_rest() {
        let (mut disk, file) = disk_with("a", &[1; 4 * SECTOR]);
        disk.sync(file).expect("synced");
        disk.sync(ROOT).expect("synced");
        disk.write(file, 0, &[2; 4 * SECTOR]).expect("written");
        disk.lose_power(Loss::Some, &mut Seed::new(3));
        let left = disk.read(file, 0, 4 * SECTOR).expect("read").to_vec();
        let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(left.chunks(SECTOR).all(whole));
        assert!(left.contains(&1) && left.contains(&2));
    }

    #[test]
    fn fills_up_and_breaks() {
        let (mut disk, file) = disk_with("a", b"");
        disk.set_fault(Fault::Full(4));
        assert_eq!(disk.write(file, 0, b"1234"), Ok(()));
        assert_eq!(disk.write(file, 0, b"4321"), Ok(()), "nothing grows");
        assert_eq!(disk.write(file, 4, b"5"), Err(Refusal::Full));
        disk.set_fault(Fault::Broken(1));
        assert_eq!(disk.sync(file), Ok(()));
        assert_eq!(disk.sync(file), Err(Refusal::Input));
        assert!(disk.is_struck());
    }
}
