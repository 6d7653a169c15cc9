//! Small files that outlive a crash, and that one program uses at a time: what a
//! [`Fence`](crate::Fence) and a [`Store`](crate::store::Store) are kept in.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Keeps other programs from using the file, until dropped: `FILE.lock` beside it is
/// locked. A file of its own, because [`replace`] puts another in the place of the first.
pub fn lock(path: &Path) -> Result<File, TryLockError> {
    let lock = File::options().write(true).create(true).truncate(false).open(beside(path, ".lock"));
    let lock = lock.map_err(TryLockError::Error)?;
    lock.try_lock().map(|()| lock)
}

/// Writes this in place of what was there; on the disk when it returns. Whoever crashes
/// here leaves the old text or the new one, and nothing between; and maybe `FILE.new`.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = beside(path, ".new");
    let mut file = File::create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The name has to survive as well.
    File::open(directory(path))?.sync_all()
}

/// `FILE.suffix`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Where the file is.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
