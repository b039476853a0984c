//! How a command ends: the exit codes, and failures as one line that says what and one that says what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Every exit code with its meaning, as `--help` and docs/cli.md state them. The services add 70 (`forewarn run --help`).
pub(crate) const CODES: &str = "\
Exit codes:
  0    done, or the answer is yes
  1    the answer is no: unhealthy, invalid settings, a check of the doctor failed
  2    a mistake in the arguments or settings
  3    refused: it would change something without --yes, or there are warnings under --deny-warnings
  4    the server cannot be reached, does not answer in time, or cannot answer now
  5    the server asks who you are
  6    there is no such thing
  7    a conflict: it is there already, or somebody else is at it
  70   a defect, or the result could not be written
  130  interrupted";

/// Why a command has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// The answer is no.
    Negative = 1,
    /// A mistake in the arguments or settings.
    Usage = 2,
    /// It is not done unless asked for more clearly.
    Refused = 3,
    /// Nobody answers, or not in time.
    Unreachable = 4,
    /// Somebody answers, and asks who we are.
    Unauthorised = 5,
    /// There is no such thing.
    NotFound = 6,
    /// It is there already, or somebody else is at it.
    Conflict = 7,
    /// A defect.
    Internal = 70,
}

/// Interrupted from the terminal, as shells count signals: 128 + 2.
pub(crate) const INTERRUPTED: u8 = 130;

/// What a command comes to: done, or a negative answer that it has told.
pub(crate) type Outcome = Result<Answer, Failure>;

/// The answer of a command that came to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done, or yes.
    Yes,
    /// No, and standard output or error says why.
    No,
}

impl Answer {
    pub(crate) fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// A command without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `None`: whoever read our output has seen enough, which is nobody's fault.
    code: Option<Code>,
    what: String,
    remedy: String,
    /// Whether a server said so itself.
    spoken: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            what: what.into(),
            remedy: remedy.into(),
            spoken: false,
        }
    }

    /// The same, as the word of a server that answers.
    pub(crate) fn spoken(self) -> Self {
        Self {
            spoken: true,
            ..self
        }
    }

    /// Whether a server said so itself, and so was there to say it.
    pub(crate) fn is_spoken(&self) -> bool {
        self.spoken
    }

    pub(crate) fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Code::Usage, what, remedy)
    }

    pub(crate) fn not_found(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Code::NotFound, what, remedy)
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == Some(code)
    }

    /// The same under another code.
    pub(crate) fn with_code(self, code: Code) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// The same with another remedy: what helps on the command line may be another thing than what helps elsewhere.
    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: remedy.into(),
            ..self
        }
    }

    /// What went wrong, without the remedy.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The exit code; a reader that has gone is success.
    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code
            .map_or(ExitCode::SUCCESS, |code| ExitCode::from(code as u8))
    }

    /// Whether there is nothing to tell.
    pub(crate) fn is_silent(&self) -> bool {
        self.code.is_none()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "\n help: {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Of writing results.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: None,
                what: String::new(),
                remedy: String::new(),
                spoken: false,
            };
        }
        Self::new(
            Code::Internal,
            format!("the result cannot be written: {error}"),
            "see whether the disk is full",
        )
    }
}
