//! What people decide about alerts: that somebody looks after one, or that one is over. Pure, like everything else here.
//!
//! - *Acknowledged*: the alert stays what it was underneath, predicted or open, and nobody is told of it again, until it
//!   is worse than what was told: a person has acknowledged what was known then. That puts it back, and is told.
//! - *Resolved by a person*: the alert is over although its condition may hold. Then the condition is *closed*: it says
//!   nothing more until it has ceased, and what begins after that is new. Of a closed prediction the limit itself is
//!   another matter: when it is reached, that is told.
//! - A command about an alert that is not active changes nothing; above all it never brings one back. What it came to is
//!   an [`Answer`] like any other, so whoever waits for it learns of it.
//! - A command that comes again is the same command, as long as it is among the last [`RECENT`]. The ledger keeps the
//!   first answer anyway.

use std::collections::{BTreeMap, VecDeque};

use forewarn_messages::AlertCommand;
use forewarn_rules::{Rule, RuleConfig};
use forewarn_types::{AlertState, LogTime, ResourceKey, Src};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::alert::{Finding, Say, Transition};
use super::failure::Thing;
use super::{Machine, Work, words};

/// Commands that are known again when they come a second time: more than anybody sends while an answer is on its way.
const RECENT: usize = 1_000;

/// What a person wants of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// That others know it is being looked after.
    Acknowledge,
    /// That it be over.
    Resolve,
}

impl Deed {
    /// The word used in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }
}

/// Who brought a transition about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// By which command.
    pub command_id: Uuid,
    /// A person's name, or a program's.
    pub actor: String,
    /// What they said about it.
    pub message: Option<String>,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Who wanted it.
    pub by: By,
    /// Whose alert.
    pub tenant: String,
    /// Which alert.
    pub alert_id: Uuid,
    /// What was wanted.
    pub deed: Deed,
    /// What came of it.
    pub outcome: Outcome,
    /// Transitions of all alerts so far, this command's own among them.
    pub ordinal: u64,
    /// The log's time of the command.
    pub log_time: LogTime,
    /// The command's place in the log.
    pub src: Src,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, by this transition of the alert.
    Done {
        /// Which one.
        sequence: i64,
    },
    /// Somebody had acknowledged it before.
    Already {
        /// Who.
        actor: String,
        /// When, in the log's time.
        at: LogTime,
    },
    /// No alert that is active has this id. Whether there ever was one is what the ledger knows.
    NotActive,
}

/// What people have decided, as far as it matters for what comes next.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct People {
    /// The last commands, the newest behind.
    recent: VecDeque<Uuid>,
    pub(super) decided: BTreeMap<ResourceKey, Decisions>,
}

pub(super) type Decisions = BTreeMap<Finding, Decided>;

/// What was decided about a finding of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Decided {
    /// Its alert is acknowledged.
    Acknowledged {
        /// What it is underneath: predicted or open.
        stood: AlertState,
        actor: String,
        at: LogTime,
    },
    /// Its alert was resolved while the condition held.
    Closed {
        /// What it was underneath.
        stood: AlertState,
        /// The rule whose condition it is.
        rule: String,
    },
}

impl Machine {
    /// Takes in a command at its place in the merged sequence. No answer: the command was taken in before.
    pub fn command(
        &mut self,
        deed: Deed,
        command: &AlertCommand,
        log_time: LogTime,
        src: Src,
    ) -> (Vec<Transition>, Option<Answer>) {
        let mut out = Vec::new();
        self.advance(log_time, src, &mut out);
        if std::mem::take(&mut self.is_fresh) {
            self.close_orphans(src, &mut out);
        }
        if self.people.recent.contains(&command.command_id) {
            return (out, None);
        }
        self.people.recent.push_back(command.command_id);
        if self.people.recent.len() > RECENT {
            self.people.recent.pop_front();
        }
        let by = By {
            command_id: command.command_id,
            actor: cut(&command.actor, AlertCommand::ACTOR_CHARS),
            message: command
                .message
                .as_deref()
                .map(|text| cut(text, AlertCommand::MESSAGE_CHARS)),
        };
        let mut outcome = Outcome::NotActive;
        if let Some((key, finding)) = self.find(command) {
            self.with(&key, src, &mut out, |work| {
                work.by = Some(by.clone());
                outcome = work.decide(deed, &finding, &by);
            });
        }
        let answer = Answer {
            by,
            tenant: command.tenant.clone(),
            alert_id: command.alert_id,
            deed,
            outcome,
            ordinal: self.state.ordinal,
            log_time,
            src,
        };
        (out, Some(answer))
    }

    /// Where an alert that is not over is remembered. Commands are rare, so everybody is looked at.
    fn find(&self, command: &AlertCommand) -> Option<(ResourceKey, Finding)> {
        let of_tenant = self
            .state
            .resources
            .iter()
            .filter(|(key, _)| key.tenant == command.tenant);
        of_tenant
            .flat_map(|(key, resource)| resource.alerts.iter().map(move |it| (key, it)))
            .find(|(_, (_, alert))| alert.id == command.alert_id && alert.is_active())
            .map(|(key, (finding, _))| (key.clone(), finding.clone()))
    }
}

impl Work<'_> {
    fn decide(&mut self, deed: Deed, finding: &Finding, by: &By) -> Outcome {
        if let (Deed::Acknowledge, Some(Decided::Acknowledged { actor, at, .. })) =
            (deed, self.decided.get(finding))
        {
            return Outcome::Already {
                actor: actor.clone(),
                at: *at,
            };
        }
        // Pending is no alert yet, as far as anybody can know.
        let Some(stood) = self.standing(finding).filter(is_told) else {
            return Outcome::NotActive;
        };
        match deed {
            Deed::Acknowledge => {
                self.say_so(finding, AlertState::Acknowledged, words::acknowledged(by));
                let decided = Decided::Acknowledged {
                    stood,
                    actor: by.actor.clone(),
                    at: self.now,
                };
                self.decided.insert(finding.clone(), decided);
            }
            Deed::Resolve => {
                self.say_so(finding, AlertState::Resolved, words::resolved(by));
                self.close(finding, stood);
            }
        }
        let sequence = self.out.last().map_or(0, |transition| transition.sequence);
        Outcome::Done { sequence }
    }

    /// Moves the alert as it is, for no other reason than that a person says so.
    fn say_so(&mut self, finding: &Finding, to: AlertState, (headline, reason): (String, String)) {
        let Some(alert) = self.resource.alerts.get(finding) else {
            return;
        };
        let say = Say {
            rule: alert.rule.clone(),
            to,
            severity: alert.severity,
            step_end: self.resource.step_end,
            headline,
            reason: (to == AlertState::Resolved).then_some(reason),
            details: Value::Null,
            prediction: None,
            backfill: alert.backfill,
        };
        self.say(finding, say);
    }

    /// Whatever holds of a finding whose alert a person has resolved says nothing more until it has ceased.
    fn close(&mut self, finding: &Finding, stood: AlertState) {
        match finding {
            Finding::Rule { rule, subject } => {
                let place = (rule.clone(), subject.clone());
                let holds = match self.rules.get(rule).map(Rule::config) {
                    Some(RuleConfig::Anomaly(_)) => self.resource.episodes.contains_key(rule),
                    Some(RuleConfig::Threshold(_)) => self.resource.held.contains_key(&place),
                    // That a resource is silent is said once, when it falls silent.
                    _ => false,
                };
                if holds {
                    self.put_away(finding.clone(), stood, rule.clone());
                }
            }
            Finding::Failure { failure, subject } => {
                let thing = Thing {
                    failure: *failure,
                    subject: subject.clone(),
                };
                let owner = self.resource.alerts.get(finding);
                if let Some(owner) = owner.map(|alert| alert.rule.clone())
                    && self.resource.failures.contains_key(&thing)
                {
                    self.put_away(finding.clone(), stood, owner);
                }
                // Threshold rules that stood back for it would speak of the same thing at once.
                for (rule, subject) in self.held_about(&thing) {
                    let about = Finding::Rule {
                        rule: rule.clone(),
                        subject,
                    };
                    self.put_away(about, AlertState::Open, rule);
                }
            }
        }
    }

    fn put_away(&mut self, finding: Finding, stood: AlertState, rule: String) {
        self.decided
            .insert(finding, Decided::Closed { stood, rule });
    }

    /// What a finding is, whatever people have said of it: the state of its alert, under an acknowledgement too, or what it
    /// was when its alert was resolved by a person and its condition has not ceased since.
    pub(super) fn standing(&self, finding: &Finding) -> Option<AlertState> {
        let decided = self.decided.get(finding);
        let active = self
            .resource
            .alerts
            .get(finding)
            .filter(|alert| alert.is_active());
        match (active.map(|alert| alert.state), decided) {
            (
                Some(AlertState::Acknowledged) | None,
                Some(Decided::Acknowledged { stood, .. } | Decided::Closed { stood, .. }),
            ) => Some(*stood),
            (state, _) => state,
        }
    }

    /// The rule whose condition a person has closed.
    pub(super) fn closed_of(&self, finding: &Finding) -> Option<&str> {
        match self.decided.get(finding) {
            Some(Decided::Closed { rule, .. }) => Some(rule),
            _ => None,
        }
    }

    /// Its alert is not over, or was resolved by a person while the condition goes on.
    pub(super) fn goes_on(&self, finding: &Finding) -> bool {
        self.is_active(finding) || self.closed_of(finding).is_some()
    }

    /// The condition has ceased: what begins after this is new.
    pub(super) fn ceased(&mut self, finding: &Finding) {
        if self.closed_of(finding).is_some() {
            self.decided.remove(finding);
        }
    }

    /// An alert moves by itself: what was decided about it as it was no longer counts.
    pub(super) fn overtake(&mut self, finding: &Finding, to: AlertState) {
        let counts = match self.decided.get(finding) {
            Some(Decided::Acknowledged { .. }) => to == AlertState::Acknowledged,
            Some(Decided::Closed { .. }) => !matches!(to, AlertState::Predicted | AlertState::Open),
            None => return,
        };
        if !counts {
            self.decided.remove(finding);
        }
    }

    /// Forgets what was decided about conditions of rules that are gone.
    pub(super) fn forget_closed_orphans(&mut self) {
        let rules = self.rules;
        self.decided.retain(|_, decided| match decided {
            Decided::Closed { rule, .. } => rules.get(rule).is_some(),
            Decided::Acknowledged { .. } => true,
        });
    }
}

fn is_told(state: &AlertState) -> bool {
    matches!(state, AlertState::Predicted | AlertState::Open)
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}
