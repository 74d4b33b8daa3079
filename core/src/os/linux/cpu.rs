//! Which processors this process may use, and how much of them.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::os::per_process::PerProcess;

/// Below this many processors' worth of time a busy wait is paid with time that is missing later.
const ENOUGH: f64 = 1.5;

/// Whether this thread can wait busily for process `peer` without taking the time that one needs:
/// there is a processor for each, and no quota that both would burn. An unknown peer (0) is taken
/// to be anywhere.
pub(crate) fn room_beside(peer: i32) -> bool {
    let Ok(mine) = sched_getaffinity(None) else {
        // More processors than the set can name.
        return !quota_is_tight();
    };
    // Alone on one processor: fine as long as the other side is kept off it.
    let apart = || {
        let theirs = Pid::from_raw(peer).and_then(|pid| sched_getaffinity(Some(pid)).ok());
        theirs.is_some_and(|theirs| (0..CpuSet::MAX_CPU).all(|cpu| !(mine.is_set(cpu) && theirs.is_set(cpu))))
    };
    (mine.count() > 1 || apart()) && !quota_is_tight()
}

/// Read once: a process is not moved to another group often enough to look again.
fn quota_is_tight() -> bool {
    static TIGHT: PerProcess<OnceLock<bool>> = PerProcess::new();
    *TIGHT.get().get_or_init(|| {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let quota = quota(&groups, |path| std::fs::read_to_string(path).ok());
        quota.is_some_and(|processors| processors < ENOUGH)
    })
}

/// The smallest quota of the control groups named in `groups` (the text of `/proc/self/cgroup`) and
/// those above them, in processors.
fn quota(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let mut least: Option<f64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let mount = match controllers {
            "" => PathBuf::from("/sys/fs/cgroup"),
            names if names.split(',').any(|name| name == "cpu") => Path::new("/sys/fs/cgroup").join(names),
            _ => continue,
        };
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            let folder = mount.join(group);
            let text = match controllers {
                "" => read(&folder.join("cpu.max")),
                _ => read(&folder.join("cpu.cfs_quota_us"))
                    .and_then(|quota| Some(quota + " " + &read(&folder.join("cpu.cfs_period_us"))?)),
            };
            // `max`, and -1 in the older form, mean none.
            let numbers: Vec<f64> = text.iter().flat_map(|t| t.split_whitespace()).flat_map(str::parse).collect();
            if let [quota, period] = numbers[..]
                && quota > 0.0
                && period > 0.0
            {
                let processors = quota / period;
                least = Some(least.map_or(processors, |l| l.min(processors)));
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(groups: &str, files: &[(&str, &str)]) -> Option<f64> {
        quota(groups, |path| files.iter().find(|f| Path::new(f.0) == path).map(|f| f.1.to_owned()))
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let files = [
            ("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/a/cpu.max", "50000 100000\n"),
            ("/sys/fs/cgroup/cpu.max", "300000 100000\n"),
        ];
        assert_eq!(of("0::/a/b\n", &files), Some(0.5));
        assert_eq!(of("0::/\n", &files), Some(3.0));
        assert_eq!(of("0::/elsewhere\n", &files[..2]), None);
    }

    #[test]
    fn the_older_form_is_read_too() {
        let files = [
            ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "120000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(of("12:cpuset:/x\n4:cpu,cpuacct:/x\n0::/\n", &files), Some(1.2));
        assert_eq!(of("4:cpu,cpuacct:/\n", &files), None);
        assert_eq!(of("nonsense", &files), None);
    }
}
