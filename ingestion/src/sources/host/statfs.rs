//! How full mounted filesystems are, asked on a thread of its own: a dead server or disk may never answer `statvfs`,
//! and must not stop the collection with it.
//!
//! A mount that does not answer in time is left out and named; a new thread goes on with the rest. The stuck
//! thread comes back when the kernel lets it go, and the mount is asked again. Few threads may be stuck at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::snapshot::Filesystem;

/// How long a round waits for what does not answer: a quarter of the shortest interval. A healthy mount needs microseconds.
const PATIENCE: Duration = Duration::from_millis(250);
/// What each mount gets in any case: the others shall not seem dead because one before them is.
const PATIENCE_LEAST: Duration = Duration::from_millis(50);
/// Threads that may be stuck at once; with so many dead mounts a person has to look.
const STUCK_MAX: usize = 8;
/// Mounts asked per round; what lies beyond is named as a failure.
const MOUNTS_MAX: usize = 512;

/// Asks mounts how full they are.
#[derive(Debug, Default)]
pub(crate) struct Statfs {
    worker: Option<Worker>,
    stuck: Vec<(String, Worker)>,
}

#[derive(Debug)]
struct Worker {
    questions: SyncSender<String>,
    answers: Receiver<io::Result<Filesystem>>,
}

/// What a round brought: how full they are, and who did not say.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) filesystems: BTreeMap<String, Filesystem>,
    pub(crate) failed: Vec<(String, String)>,
}

impl Statfs {
    /// Asks all of `mounts`, waiting about a quarter of a second for those that do not answer.
    pub(crate) fn ask(&mut self, mounts: &[String]) -> Round {
        let deadline = Instant::now() + PATIENCE;
        let stuck = self.still_stuck();
        let mut round = Round::default();
        for mount in mounts.iter().take(MOUNTS_MAX) {
            if stuck.contains(mount) {
                round.failed.push((
                    mount.clone(),
                    "does not answer since an earlier round".into(),
                ));
                continue;
            }
            match self.ask_one(mount, deadline) {
                // A size of zero is a filesystem without storage that the list of types does not know.
                Ok(filesystem) if filesystem.used + filesystem.free + filesystem.reserved == 0 => {}
                Ok(filesystem) => {
                    round.filesystems.insert(mount.clone(), filesystem);
                }
                Err(problem) => round.failed.push((mount.clone(), problem)),
            }
        }
        for mount in mounts.iter().skip(MOUNTS_MAX) {
            round.failed.push((
                mount.clone(),
                format!("is beyond the first {MOUNTS_MAX} mounts"),
            ));
        }
        round
    }

    /// Puts threads that came back to rest, and names the mounts of the others.
    fn still_stuck(&mut self) -> BTreeSet<String> {
        let mut waiting = BTreeSet::new();
        self.stuck.retain(|(mount, worker)| {
            let still = matches!(
                worker.answers.try_recv(),
                Err(std::sync::mpsc::TryRecvError::Empty)
            );
            if still {
                waiting.insert(mount.clone());
            }
            still
        });
        waiting
    }

    fn ask_one(&mut self, mount: &str, deadline: Instant) -> Result<Filesystem, String> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None if self.stuck.len() >= STUCK_MAX => {
                return Err(format!("{STUCK_MAX} other mounts do not answer"));
            }
            None => Worker::start().map_err(|error| format!("cannot start a thread: {error}"))?,
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            worker.questions.try_send(mount.to_owned())
        {
            return Err("the asking thread has ended".into());
        }
        let patience = deadline
            .saturating_duration_since(Instant::now())
            .max(PATIENCE_LEAST);
        match worker.answers.recv_timeout(patience) {
            Ok(answer) => {
                self.worker = Some(worker);
                answer.map_err(|error| error.to_string())
            }
            Err(RecvTimeoutError::Timeout) => {
                self.stuck.push((mount.to_owned(), worker));
                Err(format!(
                    "does not answer within {} ms",
                    patience.as_millis()
                ))
            }
            Err(RecvTimeoutError::Disconnected) => Err("the asking thread has ended".into()),
        }
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (questions, asked) = sync_channel::<String>(1);
        let (answer, answers) = sync_channel(1);
        thread::Builder::new()
            .name("host-statfs".into())
            .spawn(move || {
                for mount in asked {
                    if answer.send(statvfs(&mount)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { questions, answers })
    }
}

fn statvfs(mount: &str) -> io::Result<Filesystem> {
    let stat = rustix::fs::statvfs(mount)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Filesystem {
        used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        free: bytes(stat.f_bavail),
        reserved: bytes(stat.f_bfree.saturating_sub(stat.f_bavail)),
        inodes: (stat.f_files > 0).then_some((stat.f_files, stat.f_ffree)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_says_how_full_it_is_and_what_is_gone_is_named() {
        let round = Statfs::default().ask(&["/".to_owned(), "/no/such/mount".to_owned()]);
        let root = round.filesystems["/"];
        assert!(root.used > 0);
        assert_eq!(round.failed.len(), 1);
        assert_eq!(round.failed[0].0, "/no/such/mount");
    }

    #[test]
    fn a_mount_that_does_not_answer_is_left_out_until_it_does() {
        // Nobody works on these channels: the thread of a dead mount, as seen from here.
        let (questions, _asked) = sync_channel(1);
        let (answer, answers) = sync_channel(1);
        let mut statfs = Statfs {
            worker: Some(Worker { questions, answers }),
            stuck: Vec::new(),
        };
        let mounts = ["/".to_owned(), "/proc".to_owned()];
        let round = statfs.ask(&mounts);
        assert_eq!(
            round.failed.first().map(|(mount, _)| mount.as_str()),
            Some("/")
        );
        assert_eq!(statfs.stuck.len(), 1);
        let round = statfs.ask(&mounts);
        assert_eq!(
            round.failed,
            [(
                "/".to_owned(),
                "does not answer since an earlier round".to_owned()
            )]
        );
        // The kernel lets it go: asked again from then on.
        answer
            .send(Err(io::Error::other("gone")))
            .expect("the receiver is kept");
        assert!(statfs.ask(&mounts).filesystems.contains_key("/"));
    }
}
