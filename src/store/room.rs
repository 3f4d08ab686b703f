//! Room: how much of the disk must stay free, so that deletions and the ends of jobs can still be stored.

use std::path::Path;

use crate::store::Error;

/// The share of a small disk that must stay free: a twentieth.
const SHARE: u64 = 20;

/// How much of the disk must stay free: so many bytes, or a twentieth of it where that is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    free: u64,
}

impl Room {
    pub(crate) fn new(free: u64) -> Self {
        Self { free }
    }

    /// Errors: less than that is free on the disk of the directory.
    pub(crate) fn check(self, directory: &Path) -> Result<(), Error> {
        // Where nobody can tell, a write will.
        let Ok(disk) = rustix::fs::statvfs(directory) else {
            return Ok(());
        };
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        self.of(bytes(disk.f_bavail), bytes(disk.f_blocks))
    }

    fn of(self, free: u64, whole: u64) -> Result<(), Error> {
        if free < self.free.min(whole / SHARE) {
            return Err(Error::Full);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_of_a_small_disk_and_a_fixed_part_of_a_large_one_stay_free() {
        let room = Room::new(256 << 20);
        let (small, large) = (100 << 20, 1 << 40);
        assert!(room.of(5 << 20, small).is_ok());
        assert!(matches!(room.of((5 << 20) - 1, small), Err(Error::Full)));
        assert!(room.of(256 << 20, large).is_ok());
        assert!(matches!(room.of((256 << 20) - 1, large), Err(Error::Full)));
    }

    #[test]
    fn a_directory_that_is_not_there_is_left_to_the_write() {
        assert!(
            Room::new(u64::MAX)
                .check(Path::new("/nowhere/at/all"))
                .is_ok()
        );
    }
}
