//! Recording with strace: every system call that changes the folder, in the order in which the kernel saw them.
//!
//! Whatever could change the folder in a way that is not understood here (a mapping that is written to, a ring of requests,
//! a copy inside the kernel) ends the recording with an error: a blind recorder would find every program faultless.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};

use super::{Deed, Node, Recording, Step};

/// What is understood, and what must not happen. `?` is for calls that not every architecture has.
const CALLS: &str = "trace=?open,openat,?openat2,?creat,close,?dup,?dup2,dup3,fcntl,lseek,read,readv,write,writev,pwrite64,\
    pwritev,pwritev2,ftruncate,truncate,fallocate,?rename,?renameat,renameat2,?unlink,unlinkat,?rmdir,?mkdir,mkdirat,?link,\
    linkat,?symlink,symlinkat,fsync,fdatasync,mmap,copy_file_range,sendfile,splice,io_uring_setup";

/// What a program writes to its standard error with this in front is what it tells.
const TOLD: &[u8] = b"told ";

/// Runs `program` and records what it does to `root`, an absolute path; what is there already counts as certain. The
/// program tells by writing lines that begin with `told ` to its standard error, each at once. `None`, after saying that
/// `what` is left out, where there is no strace.
///
/// # Errors
/// When the program fails, or does something to the folder that is not understood.
pub fn record(what: &str, program: &Command, root: &Path) -> anyhow::Result<Option<Recording>> {
    if !crate::servers::has_tool("strace", what) {
        return Ok(None);
    }
    let root = root.canonicalize().context("the folder to watch")?;
    let mut parser = Parser::of(&root)?;
    let trace = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-y", "-xx", "-s", "4194304"]);
    strace.args(["-e", CALLS, "-e", "raw=read", "-e", "signal=none", "-o"]);
    strace.arg(trace.path()).arg(program.get_program());
    strace.args(program.get_args());
    for (name, value) in program.get_envs() {
        strace.env(name, value.unwrap_or_default());
    }
    let ran = strace.output().context("run strace")?;
    ensure!(
        ran.status.success(),
        "the program failed: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let mut lines = BufReader::new(fs::File::open(trace.path())?);
    let (mut line, mut number) = (String::new(), 0);
    while lines.read_line(&mut line)? > 0 {
        number += 1;
        let shown = line.get(..300).unwrap_or(&line).to_owned();
        parser
            .line(number, line.trim_end())
            .with_context(|| format!("in the trace: {shown}"))?;
        line.clear();
    }
    parser.finish().map(Some)
}

/// An open file: clones of a descriptor share it.
#[derive(Clone, Debug)]
struct Open {
    node: Node,
    appends: bool,
    position: Arc<Mutex<u64>>,
}

struct Parser {
    root: PathBuf,
    recording: Recording,
    /// What is there now, by its path within the root.
    names: BTreeMap<PathBuf, Node>,
    lengths: HashMap<Node, u64>,
    open: HashMap<i64, Open>,
    /// Calls that have not returned, by thread: where they began, and their words.
    begun: HashMap<String, (usize, String)>,
}

impl Parser {
    fn of(root: &Path) -> anyhow::Result<Self> {
        let mut parser = Self {
            root: root.to_owned(),
            recording: Recording::default(),
            names: BTreeMap::new(),
            lengths: HashMap::new(),
            open: HashMap::new(),
            begun: HashMap::new(),
        };
        let node = parser.node(true);
        parser.names.insert(PathBuf::new(), node);
        parser.take_in(root)?;
        Ok(parser)
    }

    /// What is there before the program begins.
    fn take_in(&mut self, folder: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(&self.root)?.to_owned();
            let node = self.make(name, path.is_dir(), (0, 0));
            if path.is_dir() {
                self.take_in(&path)?;
                continue;
            }
            let mut data = Vec::new();
            fs::File::open(&path)?.read_to_end(&mut data)?;
            let length = data.len() as u64;
            // Journals are mostly holes.
            let used = data
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            data.truncate(used);
            self.step(Deed::Write { node, at: 0, data }, node, (0, 0));
            self.step(Deed::Resize { node, length }, node, (0, 0));
            self.lengths.insert(node, length);
        }
        Ok(())
    }

    fn node(&mut self, is_folder: bool) -> Node {
        self.recording.folders.push(is_folder);
        self.recording.folders.len() - 1
    }

    fn step(&mut self, deed: Deed, on: Node, (begun, done): (usize, usize)) {
        self.recording.steps.push(Step {
            deed,
            on,
            begun,
            done,
            certain: 0,
        });
    }

    fn make(&mut self, path: PathBuf, is_folder: bool, when: (usize, usize)) -> Node {
        let node = self.node(is_folder);
        let on = self.parent(&path);
        self.names.insert(path.clone(), node);
        self.step(Deed::Make { path, node }, on, when);
        node
    }

    fn parent(&self, path: &Path) -> Node {
        let parent = path.parent().and_then(|parent| self.names.get(parent));
        parent.copied().unwrap_or(0)
    }

    /// Puts calls together whose words another thread's have cut in two.
    fn line(&mut self, number: usize, line: &str) -> anyhow::Result<()> {
        let (thread, words) = line.split_once(' ').context("it has no thread")?;
        let words = words.trim_start();
        if let Some(words) = words.strip_suffix(" <unfinished ...>") {
            self.begun
                .insert(thread.to_owned(), (number, words.to_owned()));
            return Ok(());
        }
        if let Some(rest) = words.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").context("it is not resumed")?;
            let (begun, first) = self.begun.remove(thread).context("it was not begun")?;
            return self.call(&format!("{first}{rest}"), (begun, number));
        }
        if words.starts_with("+++") || words.starts_with("---") {
            return Ok(());
        }
        self.call(words, (number, number))
    }

    fn call(&mut self, words: &str, when: (usize, usize)) -> anyhow::Result<()> {
        let (name, rest) = words.split_once('(').context("it is no call")?;
        let (arguments, result) = rest.rsplit_once(") ").context("it has no result")?;
        let result = result
            .trim_start()
            .strip_prefix("= ")
            .context("it has no result")?;
        let result = number(result).context("its result is no number")?;
        if result < 0 {
            return Ok(()); // It failed, and changed nothing.
        }
        let arguments: Vec<&str> = arguments.split(", ").collect();
        let argument = |at: usize| arguments.get(at).copied().context("it lacks an argument");
        match name {
            "open" => self.opened(path(argument(0)?)?, argument(1)?, result, when),
            "openat" => {
                let path = below(argument(0)?, argument(1)?)?;
                self.opened(path, argument(2)?, result, when)
            }
            "close" => {
                self.open
                    .remove(&number(argument(0)?).context("no descriptor")?);
                Ok(())
            }
            "dup" | "dup2" | "dup3" => self.cloned(argument(0)?, result),
            "fcntl" if argument(1)?.starts_with("F_DUPFD") => self.cloned(argument(0)?, result),
            "fcntl" => Ok(()),
            "read" => {
                if let Some(open) = self.at(argument(0)?) {
                    *position(&open) += u64::try_from(result)?;
                }
                Ok(())
            }
            "lseek" => {
                if let Some(open) = self.at(argument(0)?) {
                    *position(&open) = u64::try_from(result)?;
                }
                Ok(())
            }
            "write" if number(argument(0)?) == Some(2) => {
                let told = bytes(argument(1)?)?;
                if told.starts_with(TOLD) {
                    let words = String::from_utf8(told[TOLD.len()..].to_vec())?;
                    self.recording
                        .told
                        .push((when.0, words.trim_end().to_owned()));
                }
                Ok(())
            }
            "write" => {
                let Some(open) = self.at(argument(0)?) else {
                    return Ok(());
                };
                let end = self.lengths.get(&open.node).copied().unwrap_or(0);
                let at = if open.appends { end } else { *position(&open) };
                *position(&open) = at + u64::try_from(result)?;
                self.wrote(open.node, at, bytes(argument(1)?)?, result, when)
            }
            "pwrite64" => {
                let Some(open) = self.at(argument(0)?) else {
                    return Ok(());
                };
                let at = number(argument(3)?).context("no place")?;
                self.wrote(
                    open.node,
                    at.try_into()?,
                    bytes(argument(1)?)?,
                    result,
                    when,
                )
            }
            "ftruncate" => {
                let Some(open) = self.at(argument(0)?) else {
                    return Ok(());
                };
                let length = u64::try_from(number(argument(1)?).context("no length")?)?;
                self.resized(open.node, length, when);
                Ok(())
            }
            "rename" => self.renamed(path(argument(0)?)?, path(argument(1)?)?, when),
            "renameat" | "renameat2" => {
                let from = below(argument(0)?, argument(1)?)?;
                self.renamed(from, below(argument(2)?, argument(3)?)?, when)
            }
            "unlink" | "rmdir" => self.removed(path(argument(0)?)?, when),
            "unlinkat" => self.removed(below(argument(0)?, argument(1)?)?, when),
            "mkdir" | "mkdirat" => {
                let path = if name == "mkdir" {
                    path(argument(0)?)?
                } else {
                    below(argument(0)?, argument(1)?)?
                };
                if let Some(path) = self.within(&path) {
                    self.make(path, true, when);
                }
                Ok(())
            }
            "fsync" | "fdatasync" => {
                if let Some(open) = self.at(argument(0)?) {
                    let data_only = name == "fdatasync";
                    self.step(Deed::Sync { data_only }, open.node, when);
                }
                Ok(())
            }
            "mmap" => {
                let writes =
                    argument(2)?.contains("PROT_WRITE") && argument(3)?.contains("MAP_SHARED");
                ensure!(
                    !(writes && self.at(argument(4)?).is_some()),
                    "a mapping that is written to cannot be recorded"
                );
                Ok(())
            }
            // Known by what they name: a path or a descriptor of the folder.
            _ if name == "io_uring_setup" => bail!("a ring of requests cannot be recorded"),
            _ => {
                for argument in arguments {
                    let named = argument.starts_with('"')
                        && path(argument).is_ok_and(|path| self.within(&path).is_some());
                    let open = !argument.starts_with('"') && self.at(argument).is_some();
                    ensure!(!named && !open, "{name} is not understood");
                }
                Ok(())
            }
        }
    }

    fn opened(
        &mut self,
        path: PathBuf,
        flags: &str,
        descriptor: i64,
        when: (usize, usize),
    ) -> anyhow::Result<()> {
        self.open.remove(&descriptor);
        let Some(path) = self.within(&path) else {
            return Ok(());
        };
        ensure!(
            !flags.contains("O_TMPFILE"),
            "a file without a name is not understood"
        );
        let node = match self.names.get(&path) {
            Some(node) => *node,
            None if flags.contains("O_CREAT") => self.make(path, false, when),
            None => bail!("{} was made unseen", path.display()),
        };
        if flags.contains("O_TRUNC") {
            self.resized(node, 0, when);
        }
        let open = Open {
            node,
            appends: flags.contains("O_APPEND"),
            position: Arc::default(),
        };
        self.open.insert(descriptor, open);
        Ok(())
    }

    fn cloned(&mut self, of: &str, descriptor: i64) -> anyhow::Result<()> {
        match self.at(of) {
            Some(open) => self.open.insert(descriptor, open),
            None => self.open.remove(&descriptor),
        };
        Ok(())
    }

    fn at(&self, descriptor: &str) -> Option<Open> {
        self.open.get(&number(descriptor)?).cloned()
    }

    fn wrote(
        &mut self,
        node: Node,
        at: u64,
        mut data: Vec<u8>,
        taken: i64,
        when: (usize, usize),
    ) -> anyhow::Result<()> {
        // A call may take less than it is given.
        data.truncate(usize::try_from(taken)?);
        let length = self.lengths.entry(node).or_default();
        *length = (*length).max(at + data.len() as u64);
        self.step(Deed::Write { node, at, data }, node, when);
        Ok(())
    }

    fn resized(&mut self, node: Node, length: u64, when: (usize, usize)) {
        self.lengths.insert(node, length);
        self.step(Deed::Resize { node, length }, node, when);
    }

    fn renamed(&mut self, from: PathBuf, to: PathBuf, when: (usize, usize)) -> anyhow::Result<()> {
        let (from, to) = match (self.within(&from), self.within(&to)) {
            (None, None) => return Ok(()),
            (Some(from), Some(to)) => (from, to),
            _ => bail!("something is moved across the border of the folder"),
        };
        let node = self.names.remove(&from).context("it was made unseen")?;
        ensure!(
            from.parent() == to.parent() && !self.recording.folders[node],
            "only files are renamed, and within their folders"
        );
        let on = self.parent(&to);
        self.names.insert(to.clone(), node);
        self.step(Deed::Rename { from, to, node }, on, when);
        Ok(())
    }

    fn removed(&mut self, path: PathBuf, when: (usize, usize)) -> anyhow::Result<()> {
        if let Some(path) = self.within(&path) {
            self.names.remove(&path).context("it was made unseen")?;
            let on = self.parent(&path);
            self.step(Deed::Remove { path }, on, when);
        }
        Ok(())
    }

    fn within(&self, path: &Path) -> Option<PathBuf> {
        let inside = path.strip_prefix(&self.root).ok()?;
        Some(
            inside
                .components()
                .filter(|part| *part != Component::CurDir)
                .collect(),
        )
    }

    fn finish(mut self) -> anyhow::Result<Recording> {
        // Steps that crossed are in the order of their ends until here.
        self.recording.steps.sort_by_key(|step| step.begun);
        self.recording.settle();
        Ok(self.recording)
    }
}

fn position(open: &Open) -> std::sync::MutexGuard<'_, u64> {
    open.position.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number that a word begins with: a result, a length, or a descriptor, behind which stands its path.
fn number(word: &str) -> Option<i64> {
    if let Some(hex) = word.strip_prefix("0x") {
        let end = hex
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(hex.len());
        return i64::from_str_radix(&hex[..end], 16).ok();
    }
    let end = word[usize::from(word.starts_with('-'))..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(word.len(), |end| end + usize::from(word.starts_with('-')));
    word[..end].parse().ok()
}

/// A path that does not say below which folder: it has to be absolute, since where the program stands is not followed.
fn path(word: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(String::from_utf8(bytes(word)?)?);
    ensure!(
        path.is_absolute(),
        "a path that is not absolute cannot be followed"
    );
    Ok(path)
}

/// A path that may begin at an open folder: `5<path>` or `AT_FDCWD<path>`.
fn below(folder: &str, word: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(String::from_utf8(bytes(word)?)?);
    let folder = folder
        .split_once('<')
        .and_then(|(_, path)| path.strip_suffix('>'));
    match folder {
        Some(folder) => {
            let folder = String::from_utf8(unescaped(folder)?)?;
            Ok(PathBuf::from(folder).join(path))
        }
        None => bail!("where a path begins is not told"),
    }
}

/// `"\x66\x6f\x6f"` as bytes.
fn bytes(word: &str) -> anyhow::Result<Vec<u8>> {
    let inside = word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'));
    unescaped(inside.context("a text is cut short")?)
}

fn unescaped(text: &str) -> anyhow::Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).context("no digit");
    let pieces = text.as_bytes().chunks(4).map(|piece| match piece {
        [b'\\', b'x', high, low] => Ok((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => bail!("a text is not escaped"),
    });
    pieces.collect()
}
