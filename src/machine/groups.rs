//! What the machine and the control groups of this process allow it: memory and processors' time.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The smallest budget, in MiB: a small job, an upload and a model fit into it.
pub const LEAST_MIB: u32 = 64;
/// MiB that are left beside the budget for the program itself, its database and its threads.
const PROGRAM_MIB: u64 = 64;
/// Of what there is, how much the budget and the program take, in percent.
const SHARE: u64 = 80;

/// The budget where nobody says otherwise: 80 % of the memory of the machine or of the smallest limit of its control groups, less
/// 64 MiB for the program; 64 MiB at least, and where nothing can be read.
///
/// `root` is where `proc` and `sys` are.
pub fn default_mib(root: &Path) -> u32 {
    let limits = group_limits(root).chain(installed(root));
    let bytes = limits.min().unwrap_or(0);
    let mib = (((bytes / 100) * SHARE) >> 20).saturating_sub(PROGRAM_MIB);
    u32::try_from(mib).unwrap_or(u32::MAX).max(LEAST_MIB)
}

/// Bytes of memory that the machine has.
fn installed(root: &Path) -> Option<u64> {
    let told = read_to_string(root.join("proc/meminfo")).ok()?;
    let total = told
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Thousandths of a processor that the control groups of this process leave it, where they set a quota: the least of it and of
/// those around it.
///
/// `root` is where `proc` and `sys` are.
pub fn processor_quota(root: &Path) -> Option<u32> {
    let second = group_files(root, "cpu", ("cpu.max", "cpu.cfs_quota_us"));
    let quotas = second.into_iter().filter_map(|file| {
        let told = read_to_string(&file).ok()?;
        let mut numbers = told.split_whitespace();
        // A group without a quota says so by a word, or by -1.
        let quota: u64 = numbers.next()?.parse().ok()?;
        let period: u64 = match numbers.next() {
            Some(period) => period.parse().ok()?,
            None => number(&file.with_file_name("cpu.cfs_period_us"))?,
        };
        u32::try_from((1000 * quota).checked_div(period)?).ok()
    });
    quotas.min()
}

/// The limits of the control groups that this process is in and of those around them.
fn group_limits(root: &Path) -> impl Iterator<Item = u64> {
    let files = group_files(root, "memory", ("memory.max", "memory.limit_in_bytes"));
    // A group without a limit says so by a word, or by more bytes than there are.
    files.into_iter().filter_map(|file| number(&file))
}

fn number(file: &Path) -> Option<u64> {
    read_to_string(file).ok()?.trim().parse().ok()
}

/// Where a controller says something of the groups of this process and of those around them: a file of cgroup v2, or one of v1.
fn group_files(root: &Path, controller: &str, (second, first): (&str, &str)) -> Vec<PathBuf> {
    let groups = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounted = root.join("sys/fs/cgroup");
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if names.is_empty() {
            for base in [mounted.clone(), mounted.join("unified")] {
                files.extend(with_ancestors(&base, path, second));
            }
        } else if names.split(',').any(|name| name == controller) {
            for base in [mounted.join(controller), mounted.join(names)] {
                files.extend(with_ancestors(&base, path, first));
            }
        }
    }
    files
}

/// A file of a group, and of each group around it. In a container the path may lead nowhere from what is mounted, whose own file
/// is then that of the container.
fn with_ancestors(base: &Path, path: &str, file: &str) -> Vec<PathBuf> {
    let inside = Path::new(path.trim_start_matches('/'));
    let ancestors = inside.ancestors();
    ancestors.map(|group| base.join(group).join(file)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A machine of 1000 MiB with these files.
    fn machine(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().expect("a scratch folder");
        let memory = ("proc/meminfo", "MemFree: 7 kB\nMemTotal:    1024000 kB\n");
        for (path, text) in files.iter().chain([&memory]) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    /// The default of it.
    fn budget(files: &[(&str, &str)]) -> u32 {
        default_mib(machine(files).path())
    }

    #[test]
    fn the_quota_is_the_least_of_the_group_and_of_those_around_it() {
        let quota = |files: &[(&str, &str)]| processor_quota(machine(files).path());
        assert_eq!(quota(&[]), None);
        let second = ("proc/self/cgroup", "0::/a/b\n");
        assert_eq!(
            quota(&[second, ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n")]),
            None
        );
        let both = [
            second,
            ("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/cpu.max", "25000 50000\n"),
        ];
        assert_eq!(quota(&both), Some(500));
        let first = ("proc/self/cgroup", "3:cpu,cpuacct:/a\n");
        let period = ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
        let file = "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us";
        assert_eq!(quota(&[first, period, (file, "-1\n")]), None);
        assert_eq!(quota(&[first, period, (file, "75000\n")]), Some(750));
    }

    /// 80 % of so many MiB, less 64.
    const fn of(mib: u32) -> u32 {
        mib * 8 / 10 - 64
    }

    #[test]
    fn it_is_four_fifths_of_the_machine_where_no_group_has_less() {
        assert_eq!(budget(&[]), of(1000));
        let unlimited = [
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
        ];
        assert_eq!(budget(&unlimited), of(1000));
        let unlimited = [
            ("proc/self/cgroup", "4:memory:/a\n"),
            (
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ];
        assert_eq!(budget(&unlimited), of(1000));
    }

    #[test]
    fn it_is_four_fifths_of_the_smallest_limit_of_a_group_or_of_one_around_it() {
        let second = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "524288000\n"),
            ("sys/fs/cgroup/a/memory.max", "314572800\n"),
        ];
        assert_eq!(budget(&second), of(300));
        let first = [
            ("proc/self/cgroup", "5:cpu,memory:/a/b\n0::/c\n"),
            (
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "419430400\n",
            ),
        ];
        assert_eq!(budget(&first), of(400));
        let elsewhere = [
            ("proc/self/cgroup", "4:memory:/docker/1234\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "209715200\n"),
        ];
        assert_eq!(budget(&elsewhere), of(200));
    }

    #[test]
    fn it_is_the_least_where_there_is_less_or_nothing_can_be_read() {
        let little = [
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "1048576\n"),
        ];
        assert_eq!(budget(&little), LEAST_MIB);
        let root = tempfile::tempdir().expect("a scratch folder");
        assert_eq!(default_mib(root.path()), LEAST_MIB);
        assert!(default_mib(Path::new("/")) >= LEAST_MIB);
    }
}
