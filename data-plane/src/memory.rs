//! How much memory the node uses, and what follows when that is too much: no new connections, no new requests, and idle
//! connections end, until there is room again.
//!
//! What counts is the memory that the process holds. The control thread looks now and then and sets one flag, which is
//! all that the path of a request sees. An allocator may keep what nobody uses any more: when all was shed and nothing
//! came of it, the node goes on within what it holds already, as long as that does not grow.

use crate::{settings::MaxMemory, telemetry::Telemetry};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// How often the memory is looked at.
const TICK: Duration = Duration::from_millis(250);
/// After so many looks without relief what is held is taken for what the allocator keeps: ten seconds.
const NO_RELIEF: u32 = 40;

/// The memory of this process, and its limit.
#[derive(Debug)]
pub(crate) struct Memory {
    status: PathBuf,
    limit: u64,
}

/// Whether there is too much, by one look after another.
#[derive(Debug)]
struct Pressure {
    limit: u64,
    // Above this it is too much: the limit, or what is held although all was shed.
    trigger: u64,
    // For how many looks it has been too much.
    looks: Option<u32>,
}

// === impl Memory ===

impl Memory {
    /// None when there is no limit, or no way to know it.
    pub(crate) fn new(max: MaxMemory) -> Option<Memory> {
        Memory::under(Path::new("/"), max)
    }

    fn under(root: &Path, max: MaxMemory) -> Option<Memory> {
        let limit = match max {
            MaxMemory::Unlimited => return None,
            MaxMemory::Bytes(bytes) => bytes,
            MaxMemory::Percent(percent) => available(root)? / 100 * u64::from(percent),
        };
        let memory = Memory { status: root.join("proc/self/status"), limit };
        memory.used().map(|_| memory)
    }

    fn used(&self) -> Option<u64> {
        kibibytes(&fs::read_to_string(&self.status).ok()?, "VmRSS:")
    }
}

/// Looks at the memory until it is dropped.
pub(crate) async fn watch(memory: Memory, telemetry: Telemetry) {
    let mut pressure = Pressure::new(memory.limit);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(used) = memory.used() else { continue };
        let before = pressure.is_on();
        pressure.look(used);
        telemetry.memory().looked(used, memory.limit, pressure.is_on());
        match (before, pressure.is_on()) {
            (false, true) => tracing::warn!(
                memory.used_bytes = used,
                memory.limit_bytes = memory.limit,
                "the node uses too much memory: it turns away connections and requests"
            ),
            (true, false) => tracing::info!(
                memory.used_bytes = used,
                memory.limit_bytes = memory.limit,
                "the node takes connections and requests again"
            ),
            (true, true) | (false, false) => {}
        }
    }
}

// What the machine has, or the control groups of the process allow, whichever is less.
fn available(root: &Path) -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string(root.join("proc/meminfo")).ok()?, "MemTotal:")?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let allowed = groups.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // A group is limited by those above it too. In a container the path may be one of the host, and only the mount is
        // there.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        let limits = groups.filter_map(|group| {
            let text = fs::read_to_string(root.join(mount).join(group).join(file)).ok()?;
            // `max` is no number.
            text.trim().parse::<u64>().ok()
        });
        limits.min()
    });
    Some(allowed.chain([machine]).min().unwrap_or(machine))
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

// === impl Pressure ===

impl Pressure {
    fn new(limit: u64) -> Pressure {
        Pressure { limit, trigger: limit, looks: None }
    }

    fn is_on(&self) -> bool {
        self.looks.is_some()
    }

    fn look(&mut self, used: u64) {
        let (enough, most) = (self.limit - self.limit / 10, self.limit + self.limit / 8);
        match self.looks {
            _ if used < enough => (self.trigger, self.looks) = (self.limit, None),
            None if used >= self.trigger => self.looks = Some(0),
            None => {}
            // What is held does not go away, and nothing is left to be shed.
            Some(looks) if looks >= NO_RELIEF && used < most => {
                (self.trigger, self.looks) = (used + self.limit / 50, None);
            }
            Some(looks) => self.looks = Some(looks.saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let common =
            [("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 5 kB\n"), ("proc/self/status", "VmRSS:\t    10 kB\n")];
        for (path, text) in common.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_least_that_anybody_allows_is_the_limit() {
        let check = |files: &[(&str, &str)], kib: u64| {
            let root = machine(files);
            let memory = Memory::under(root.path(), MaxMemory::Percent(50)).unwrap();
            assert_eq!((memory.limit / 100, memory.used()), (kib * 1024 / 200, Some(10 * 1024)), "{files:?}");
        };
        let (second, first) = (("proc/self/cgroup", "0::/a/b\n"), ("proc/self/cgroup", "3:cpu:/\n2:x,memory:/a\n"));
        check(&[], 1000);
        check(&[second], 1000);
        check(&[second, ("sys/fs/cgroup/a/b/memory.max", "max\n")], 1000);
        check(&[second, ("sys/fs/cgroup/a/b/memory.max", "max\n"), ("sys/fs/cgroup/a/memory.max", "512000\n")], 500);
        check(&[second, ("sys/fs/cgroup/memory.max", "102400\n")], 100);
        check(&[first, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "204800\n")], 200);
        check(&[first, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n")], 1000);
        let root = machine(&[]);
        assert!(Memory::under(root.path(), MaxMemory::Unlimited).is_none());
        assert_eq!(Memory::under(root.path(), MaxMemory::Bytes(7)).unwrap().limit, 7);
        assert!(Memory::under(&root.path().join("nowhere"), MaxMemory::Percent(80)).is_none());
    }

    #[test]
    fn pressure_begins_at_the_limit_and_ends_well_below() {
        let mut pressure = Pressure::new(1000);
        for (used, on) in [(999, false), (1000, true), (950, true), (900, true), (899, false), (999, false)] {
            pressure.look(used);
            assert_eq!(pressure.is_on(), on, "{used}");
        }
    }

    #[test]
    fn what_is_only_kept_is_not_shed_for_ever() {
        let mut pressure = Pressure::new(1000);
        let looks = |pressure: &mut Pressure, used: u64| (0..NO_RELIEF + 2).for_each(|_| pressure.look(used));
        looks(&mut pressure, 1010);
        assert!(!pressure.is_on());
        // As long as it does not grow.
        pressure.look(1029);
        assert!(!pressure.is_on());
        pressure.look(1030);
        assert!(pressure.is_on());
        // And never up to the last byte.
        looks(&mut pressure, 1125);
        assert!(pressure.is_on());
        pressure.look(800);
        pressure.look(1000);
        assert!(pressure.is_on());
    }
}
