//! The disk that forgets, as a file system of the real kernel.
//!
//! In: a [`Disk`] and an empty folder. Out: a mount that any program can use until it is dropped.
//! The kernel writes through (FUSE without its write-back cache), so that the disk knows what was
//! synced and what was not.

use std::{
    ffi::OsStr,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::disk::{Content, Disk, Refusal};

/// How long the kernel may believe an answer: nothing changes behind its back while it is mounted.
const BELIEVED: Duration = Duration::from_mins(1);
/// Block size that is told.
const BLOCK: u32 = 4096;

/// A mounted disk; unmounted when dropped.
pub struct Mount {
    session: Option<BackgroundSession>,
}

impl Mount {
    /// Mounts the disk at `folder`.
    pub fn new(disk: &Arc<Mutex<Disk>>, folder: &Path) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("forgetful".to_owned()),
            MountOption::NoAtime,
        ];
        let session = fuser::spawn_mount(Served(Arc::clone(disk)), folder, &config)?;
        Ok(Self {
            session: Some(session),
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("the forgetful disk could not be unmounted: {error}");
        }
    }
}

/// The disk as FUSE asks it.
struct Served(Arc<Mutex<Disk>>);

impl Served {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::Missing => Errno::ENOENT,
        Refusal::Exists => Errno::EEXIST,
        Refusal::Kind => Errno::EINVAL,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::Full => Errno::ENOSPC,
        Refusal::Input => Errno::EIO,
    }
}

fn attributes(disk: &Disk, number: u64) -> Result<FileAttr, Refusal> {
    let node = disk.node(number)?;
    let (kind, size, nlink) = match &node.content {
        Content::File(bytes) => (FileType::RegularFile, bytes.len() as u64, 1),
        Content::Folder(_) => (FileType::Directory, 0, 2),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: node.mode,
        nlink,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    })
}

fn name(name: &OsStr) -> Result<&str, Refusal> {
    name.to_str().ok_or(Refusal::Kind)
}

/// Permission bits of a mode.
fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0)
}

fn length(bytes: u64) -> Result<usize, Refusal> {
    usize::try_from(bytes).map_err(|_| Refusal::Full)
}

fn done(result: Result<(), Refusal>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

fn entry(result: Result<FileAttr, Refusal>, reply: ReplyEntry) {
    match result {
        Ok(found) => reply.entry(&BELIEVED, &found, Generation(0)),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, wanted: &OsStr, reply: ReplyEntry) {
        let disk = self.disk();
        let found = name(wanted)
            .and_then(|wanted| disk.find(parent.0, wanted))
            .and_then(|number| attributes(&disk, number));
        entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.disk(), ino.0) {
            Ok(found) => reply.attr(&BELIEVED, &found),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let changed = mode
            .map_or(Ok(()), |mode| disk.set_mode(ino.0, bits(mode)))
            .and_then(|()| {
                size.map_or(Ok(()), |size| {
                    length(size).and_then(|size| disk.set_length(ino.0, size))
                })
            })
            .and_then(|()| attributes(&disk, ino.0));
        match changed {
            Ok(found) => reply.attr(&BELIEVED, &found),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        wanted: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mut disk = self.disk();
        let fresh = name(wanted)
            .and_then(|wanted| disk.make(parent.0, wanted, bits(mode & !umask), true))
            .and_then(|number| attributes(&disk, number));
        entry(fresh, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, wanted: &OsStr, reply: ReplyEmpty) {
        let mut disk = self.disk();
        done(
            name(wanted).and_then(|wanted| disk.remove(parent.0, wanted)),
            reply,
        );
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, wanted: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, wanted, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        old: &OsStr,
        newparent: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut disk = self.disk();
        let renamed = name(old)
            .and_then(|old| Ok((old, name(new)?)))
            .and_then(|(old, new)| disk.rename((parent.0, old), (newparent.0, new)));
        done(renamed, reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        wanted: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mut disk = self.disk();
        let fresh = name(wanted)
            .and_then(|wanted| disk.make(parent.0, wanted, bits(mode & !umask), false))
            .and_then(|number| attributes(&disk, number));
        match fresh {
            Ok(fresh) => reply.created(
                &BELIEVED,
                &fresh,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let disk = self.disk();
        let bytes = length(offset)
            .and_then(|offset| Ok((offset, length(size.into())?)))
            .and_then(|(offset, size)| disk.read(ino.0, offset, size));
        match bytes {
            Ok(bytes) => reply.data(bytes),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut disk = self.disk();
        match length(offset).and_then(|offset| disk.write(ino.0, offset, data)) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.disk().sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.disk().sync(ino.0), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let disk = self.disk();
        let names = match disk.names(ino.0) {
            Ok(names) => names,
            Err(refusal) => return reply.error(errno(refusal)),
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (name, number)) in names.iter().enumerate().skip(from) {
            let kind = match disk.node(*number).map(|node| &node.content) {
                Ok(Content::Folder(_)) => FileType::Directory,
                Ok(Content::File(_)) | Err(_) => FileType::RegularFile,
            };
            if reply.add(INodeNo(*number), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = self.disk().free() / u64::from(BLOCK);
        reply.statfs(1 << 28, free, free, 1 << 20, 1 << 20, BLOCK, 255, BLOCK);
    }
}
