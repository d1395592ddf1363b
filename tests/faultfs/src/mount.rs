//! The disk as a file system: each FUSE request becomes one call of the model, under one lock.
//!
//! The kernel caches nothing of it: reads and writes come here directly, and names are asked for each time. So a cut needs
//! no more than to change the model.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use crate::disk::{Disk, Refusal, Stat};

/// The kernel remembers no name and no attribute.
const TTL: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;
const O_ACCMODE: i32 = 3;
const O_TRUNC: i32 = 0o1000;
const O_APPEND: i32 = 0o2000;
const RENAME_NOREPLACE: u32 = 1;

/// A disk that the file system and its orders share.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Disk::new())))
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mounts the disk; it is served by a thread from then on.
pub(crate) fn mount(disk: Shared, at: &Path) -> io::Result<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("quorate-faultfs".to_owned()),
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    fuser::spawn_mount(Served(disk), at, &config)
}

#[derive(Debug)]
struct Served(Shared);

impl Served {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk()
    }
}

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::NotFound => Errno::ENOENT,
        Refusal::Exists => Errno::EEXIST,
        Refusal::NotFolder => Errno::ENOTDIR,
        Refusal::IsFolder => Errno::EISDIR,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::NoSpace => Errno::ENOSPC,
        Refusal::ReadOnly => Errno::EROFS,
        Refusal::Io => Errno::EIO,
        Refusal::Invalid => Errno::EINVAL,
    }
}

fn attributes(req: &Request, stat: Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.inode),
        size: stat.bytes,
        blocks: stat.bytes.div_ceil(512),
        atime: stat.modified,
        mtime: stat.modified,
        ctime: stat.modified,
        crtime: stat.modified,
        kind: if stat.folder { FileType::Directory } else { FileType::RegularFile },
        perm: stat.mode,
        nlink: if stat.folder { 2 } else { 1 },
        uid: req.uid(),
        gid: req.gid(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Permission bits of a mode.
fn permissions(mode: u32, umask: u32) -> u16 {
    u16::try_from(mode & !umask & 0o777).unwrap_or(0o600)
}

fn utf8(name: &OsStr) -> Result<&str, Refusal> {
    name.to_str().ok_or(Refusal::Invalid)
}

fn writes(flags: i32) -> bool {
    flags & O_ACCMODE != 0
}

impl Filesystem for Served {
    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match utf8(name).and_then(|name| self.disk().lookup(parent.0, name)) {
            Ok(stat) => reply.entry(&TTL, &attributes(req, stat), Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn getattr(&self, req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk().stat(ino.0) {
            Ok(stat) => reply.attr(&TTL, &attributes(req, stat)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let mut set = || {
            if let Some(size) = size {
                disk.resize(ino.0, size, SystemTime::now())?;
            }
            if let Some(mode) = mode {
                disk.set_mode(ino.0, permissions(mode, 0))?;
            }
            disk.stat(ino.0)
        };
        match set() {
            Ok(stat) => reply.attr(&TTL, &attributes(req, stat)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = utf8(name).and_then(|name| {
            self.disk().create(parent.0, name, true, permissions(mode, umask), SystemTime::now())
        });
        match made {
            Ok(stat) => reply.entry(&TTL, &attributes(req, stat), Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        finish(reply, utf8(name).and_then(|name| self.disk().remove(parent.0, name, false)));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        finish(reply, utf8(name).and_then(|name| self.disk().remove(parent.0, name, true)));
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            // Exchanging two names is not modelled.
            if flags.bits() & !RENAME_NOREPLACE != 0 {
                return Err(Refusal::Invalid);
            }
            let from = (parent.0, utf8(name)?.to_owned());
            let to = (newparent.0, utf8(newname)?.to_owned());
            self.disk().rename(from, to, flags.bits() & RENAME_NOREPLACE == 0)
        };
        finish(reply, rename());
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let mut disk = self.disk();
        let opened = disk.open(ino.0, writes(flags.0)).and_then(|handle| {
            if flags.0 & O_TRUNC != 0 {
                disk.resize(ino.0, 0, SystemTime::now())?;
            }
            Ok(handle)
        });
        match opened {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut disk = self.disk();
        let created = utf8(name)
            .and_then(|name| disk.create(parent.0, name, false, permissions(mode, umask), SystemTime::now()))
            .and_then(|stat| Ok((stat, disk.open(stat.inode, true)?)));
        match created {
            Ok((stat, handle)) => {
                let attributes = attributes(req, stat);
                let flags = FopenFlags::FOPEN_DIRECT_IO;
                reply.created(&TTL, &attributes, Generation(0), FileHandle(handle), flags);
            }
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk().read(fh.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let place = (flags.0 & O_APPEND == 0).then_some(offset);
        match self.disk().write(fh.0, place, data, SystemTime::now()) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a request is below 4 GiB")),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Closing a file syncs nothing.
        reply.ok();
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.disk().close(fh.0);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let wait_ms = self.disk().slow_sync_ms();
        if wait_ms == 0 {
            return finish(reply, self.disk().sync_file(fh.0));
        }
        // Others go on meanwhile, as on a real disk.
        let disk = self.0.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(wait_ms));
            let synced = disk.disk().sync_file(fh.0);
            finish(reply, synced);
        });
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        finish(reply, self.disk().sync_folder(ino.0));
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = match self.disk().list(ino.0) {
            Ok(listed) => listed,
            Err(refusal) => return reply.error(errno(refusal)),
        };
        let dots = [".", ".."].map(|name| (name.to_owned(), ino.0, true));
        let entries = dots.into_iter().chain(listed.into_iter().map(|(name, s)| (name, s.inode, s.folder)));
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((name, inode, folder), next) in entries.zip(1_u64..).skip(from) {
            let kind = if folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(inode), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (all, free) = self.disk().space();
        let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
        reply.statfs(
            blocks(all),
            blocks(free),
            blocks(free),
            1 << 20,
            1 << 20,
            BLOCK_BYTES,
            255,
            BLOCK_BYTES,
        );
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mut disk = self.disk();
        // Only making a file longer is modelled; holes are not.
        let grow = disk.stat(ino.0).and_then(|stat| match mode {
            0 => disk.resize(ino.0, stat.bytes.max(offset + length), SystemTime::now()),
            _ => Err(Refusal::Invalid),
        });
        finish(reply, grow);
    }
}

fn finish(reply: ReplyEmpty, done: Result<(), Refusal>) {
    match done {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}
