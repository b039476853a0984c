//! A PostgreSQL of our own: the real server as a child of this process, in a folder, reachable through a socket there.
//!
//! It is the real one because the ledger has to survive a power failure and to serve many sessions (ARCHITECTURE.md has the
//! figures). Nothing listens on the network. Its life is tied to this process by a pipe: whatever ends this process, even
//! a kill that nobody can catch, closes the pipe, and a watcher beside the server has it shut down in order. A start waits
//! for the server before to be gone.

mod fetch;

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use forewarn_config::Secret;
use forewarn_store::postgres::{Config as ClientConfig, Postgres};

use crate::config::Config;

/// Older ones lack what our schema uses.
const MAJOR_MIN: u32 = 14;

/// Who owns cluster and database; nobody but the folder's owner reaches the socket.
const NAME: &str = "forewarn";

/// A server that shuts down, or starts, takes this long at most: it may have a journal to read again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where distributions and people who build it themselves put the programs.
const USUAL_PLACES: [&str; 4] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/bin",
];

/// Paths of sockets are no longer, the name of the socket included.
const SOCKET_PATH_MAX: usize = 100;

/// Runs the server in its own place, with a watcher that asks it to shut down in order (fast: sessions are cut off) when
/// the pipe is closed. The words after the script are the server's.
const WITH_WATCHER: &str =
    r#"exec 3<&0; { cat <&3 >/dev/null; kill -INT $$; } 2>/dev/null & exec "$@" 3<&- </dev/null"#;

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The folder of the server's programs.
    programs: PathBuf,
    major: u32,
    /// The folder that holds the cluster, and the socket.
    home: PathBuf,
    /// Who runs it: PostgreSQL refuses to be root.
    runs_as: Option<(u32, u32)>,
}

impl Place {
    /// Finds the server's programs, or fetches them, and somebody to run them.
    ///
    /// # Errors
    /// With the remedy, when there is no PostgreSQL, or the folder does not do.
    pub(crate) fn find(config: &Config) -> anyhow::Result<Self> {
        let home = &config.postgres_path;
        fs::create_dir_all(home).with_context(|| format!("make the folder {}", home.display()))?;
        let home = home
            .canonicalize()
            .with_context(|| format!("the folder {}", home.display()))?;
        ensure!(
            home.as_os_str().len() + "/.s.PGSQL.5432".len() <= SOCKET_PATH_MAX,
            "the path {} is too long for a socket in it; set [forewarn] postgres_path to a shorter one",
            home.display()
        );
        let (programs, major) = match find_programs(config.postgres_programs.as_deref()) {
            Err(_) if config.postgres_programs.is_none() && config.postgres_fetch => {
                let programs = fetch::programs(&home, &config.postgres_repository)
                    .context("there is no PostgreSQL on this machine; install it (apt-get install postgresql)")?;
                find_programs(Some(&programs))?
            }
            found => found?,
        };
        let runs_as = rustix::process::geteuid()
            .is_root()
            .then(unprivileged)
            .transpose()?;
        if let Some((user, group)) = runs_as {
            chown(&home, Some(user), Some(group))
                .with_context(|| format!("give {} to another user", home.display()))?;
        }
        Ok(Self {
            programs,
            major,
            home,
            runs_as,
        })
    }

    /// Where clients find the database.
    pub(crate) fn url(&self) -> String {
        self.url_of(NAME)
    }

    fn url_of(&self, database: &str) -> String {
        url_of(&self.home, database)
    }

    fn cluster(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Starts the server, and makes cluster and database if they are not there. Blocks.
    ///
    /// # Errors
    /// When it cannot be started, with the end of its log.
    pub(crate) fn start(&self) -> anyhow::Result<Child> {
        self.wait_for_predecessor()?;
        if !self.cluster().exists() {
            self.make_cluster()?;
        }
        let version = fs::read_to_string(self.cluster().join("PG_VERSION"))
            .with_context(|| format!("{} is no cluster", self.cluster().display()))?;
        ensure!(
            version.trim() == self.major.to_string(),
            "{} was made by PostgreSQL {}, and the one in {} is {}; set [forewarn] postgres_programs to the older one, or \
             move the data with pg_upgrade",
            self.cluster().display(),
            version.trim(),
            self.programs.display(),
            self.major
        );
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.join("postgres.log"))
            .context("open the log of PostgreSQL")?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WITH_WATCHER, "forewarn-postgres"]);
        command.arg(self.programs.join("postgres"));
        command.arg("-D").arg(self.cluster());
        command.arg("-k").arg(&self.home);
        for setting in [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=64",
            "shared_buffers=64MB",
            "log_min_messages=warning",
        ] {
            command.args(["-c", setting]);
        }
        self.drop_privileges(&mut command);
        command
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // An interrupt from the terminal is for this process; it decides when the server goes.
            .process_group(0);
        command.spawn().context("start PostgreSQL")
    }

    /// Waits until the server answers, and makes the database if need be.
    ///
    /// # Errors
    /// When it does not answer in time, with the end of its log.
    pub(crate) async fn prepare(&self) -> anyhow::Result<()> {
        let config = ClientConfig {
            url: Secret::new(self.url_of("postgres")),
            pool_size: 1,
            ..ClientConfig::default()
        };
        let admin = Postgres::open(&config, "forewarn")?;
        let begun = Instant::now();
        let session = loop {
            match admin.session().await {
                Ok(session) => break session,
                Err(error) if begun.elapsed() > PATIENCE => bail!("{error}\n{}", self.log_end()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let there = session
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&NAME])
            .await?;
        if there.is_none() {
            session
                .batch_execute(&format!("CREATE DATABASE {NAME}"))
                .await?;
        }
        session.give_back();
        Ok(())
    }

    /// A server that the process before has left shuts down by itself.
    fn wait_for_predecessor(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while let Some(process) = self.predecessor() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "a PostgreSQL (process {process}) still works on {}; stop it",
                self.cluster().display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Who works on the cluster: the process named in its lock, if it is one that was told this very folder.
    fn predecessor(&self) -> Option<u32> {
        let lock = fs::read_to_string(self.cluster().join("postmaster.pid")).ok()?;
        let process: u32 = lock.lines().next()?.trim().parse().ok()?;
        let words = fs::read(format!("/proc/{process}/cmdline")).ok()?;
        let cluster = self.cluster();
        let is_ours = words
            .split(|byte| *byte == 0)
            .any(|word| word == cluster.as_os_str().as_encoded_bytes());
        is_ours.then_some(process)
    }

    /// Makes the cluster beside its place, and moves it there when it is complete.
    fn make_cluster(&self) -> anyhow::Result<()> {
        let draft = self.home.join("data.new");
        match fs::remove_dir_all(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("remove what a start before has left");
            }
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&draft)?;
        if let Some((user, group)) = self.runs_as {
            chown(&draft, Some(user), Some(group))?;
        }
        let mut command = Command::new(self.programs.join("initdb"));
        command.arg("-D").arg(&draft).args([
            "--username",
            NAME,
            // Whoever reaches the socket owns the folder.
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
        ]);
        self.drop_privileges(&mut command);
        let made = command
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .output()
            .context("run initdb")?;
        ensure!(
            made.status.success(),
            "initdb failed: {}{}",
            String::from_utf8_lossy(&made.stderr).trim(),
            match self.runs_as {
                Some((user, _)) => format!(
                    "\nPostgreSQL does not run as root, so it runs as user {user}, who has to be able to reach {}: set \
                     [forewarn] postgres_path to another folder, or run as another user than root",
                    self.home.display()
                ),
                None => String::new(),
            }
        );
        fs::rename(&draft, self.cluster()).context("move the new cluster to its place")?;
        Ok(())
    }

    fn drop_privileges(&self, command: &mut Command) {
        if let Some((user, group)) = self.runs_as {
            // Its other groups are dropped with it.
            command.uid(user).gid(group);
        }
        // Nothing of the environment changes what the server does.
        command.env_clear().env("PATH", "/usr/bin:/bin");
    }

    /// What the server said last.
    fn log_end(&self) -> String {
        let said = fs::read_to_string(self.home.join("postgres.log")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Where clients find the database of the server whose home this folder is.
pub(crate) fn socket_url(home: &Path) -> String {
    url_of(home, NAME)
}

/// The folder is the host of the address.
fn url_of(home: &Path, database: &str) -> String {
    let host: String = home
        .to_string_lossy()
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("postgres://{NAME}@{host}/{database}")
}

/// Folder and major version of the server's programs.
pub(crate) fn find_programs(named: Option<&Path>) -> anyhow::Result<(PathBuf, u32)> {
    let mut places: Vec<PathBuf> = named.map(Path::to_owned).into_iter().collect();
    if places.is_empty() {
        places.extend(USUAL_PLACES.map(PathBuf::from));
        // Debian keeps every version in a folder of its own.
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        places.extend(versions.flatten().map(|entry| entry.path().join("bin")));
    }
    let newest = places
        .into_iter()
        .filter(|place| place.join("initdb").is_file())
        .filter_map(|place| Some((major(&place)?, place)))
        .max();
    match newest {
        Some((major, place)) if major >= MAJOR_MIN => Ok((place, major)),
        Some((major, place)) => bail!(
            "PostgreSQL {major} in {} is too old: {MAJOR_MIN} or newer is needed",
            place.display()
        ),
        None => bail!(
            "there is no PostgreSQL on this machine to run beside this process: install it (apt-get install postgresql), name \
             its folder with [forewarn] postgres_programs, or give the address of another with DATABASE_URL and \
             --set forewarn.postgres=server"
        ),
    }
}

/// `postgres (PostgreSQL) 17.6 (Debian 17.6-1)`, `postgres (PostgreSQL) 18beta1`.
fn major(place: &Path) -> Option<u32> {
    let said = Command::new(place.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    parse_major(&String::from_utf8_lossy(&said.stdout))
}

fn parse_major(said: &str) -> Option<u32> {
    let version = said.split(' ').nth(2)?;
    let digits: String = version.chars().take_while(|c| c.is_ascii_digit()).collect();
    digits.parse().ok()
}

/// User and group of somebody who may do little.
fn unprivileged() -> anyhow::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("read who there is on this machine")?;
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| find_user(&users, name))
        .context("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`; run as another user")
}

fn find_user(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut words = line.split(':').skip(2);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_users_are_read_as_they_are_written() {
        for (said, wanted) in [
            (
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres\n", None),
        ] {
            assert_eq!(parse_major(said), wanted, "{said}");
        }
        let users = "root:x:0:0::/root:/bin/sh\npostgres:x:101:104:P,,,:/var:/bin/bash\nbroken\n";
        assert_eq!(find_user(users, "postgres"), Some((101, 104)));
        assert_eq!(find_user(users, "broken"), None);
        assert_eq!(find_user(users, "nobody"), None);
    }

    #[test]
    fn the_folder_is_the_host_of_the_address() {
        let place = Place {
            programs: "/p".into(),
            major: 17,
            home: "/srv/a b/é".into(),
            runs_as: None,
        };
        assert_eq!(
            place.url(),
            "postgres://forewarn@%2Fsrv%2Fa%20b%2F%C3%A9/forewarn"
        );
    }
}
