//! The desk: every order for a training becomes a row before anybody is told that it was taken, and rows are served one
//! after the other. So neither a trainer that ends nor an asker that goes away loses one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use forewarn_store::orders::{self, Order, OrderEnd};
use forewarn_store::postgres::Postgres;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::pass::{PassError, Summary, Trainer};
use crate::training::Error;

/// An order in the middle of which a trainer ended so often is given up: it may be what ends them.
const ATTEMPTS_MAX: i32 = 5;

/// Askers that wait for their answer at once; more are refused.
const ASKERS_MAX: usize = 64;

/// What an asker who waits is told.
pub(crate) type Answer = Result<Summary, PassError>;

/// Why an order is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Too many wait already.
    #[error("too many orders wait already")]
    Full,
    /// PostgreSQL.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Orders that wait, and who waits for them here.
#[derive(Debug)]
pub(crate) struct Desk {
    postgres: Postgres,
    wake: Notify,
    askers: Mutex<BTreeMap<Uuid, oneshot::Sender<Answer>>>,
}

impl Desk {
    pub(crate) fn new(postgres: Postgres) -> Self {
        Self {
            postgres,
            wake: Notify::new(),
            askers: Mutex::default(),
        }
    }

    /// Takes an order; one that was taken before is the same order.
    pub(crate) async fn take(&self, order: &Order) -> Result<(), NotTaken> {
        let put = async {
            let session = self.postgres.session().await?;
            let taken = orders::put(&*session, order).await?;
            session.give_back();
            Ok::<_, Error>(taken)
        };
        if !put.await? {
            return Err(NotTaken::Full);
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Takes an order and says where its answer will come; an error there means that it has to wait for longer.
    pub(crate) async fn ask(&self, order: &Order) -> Result<oneshot::Receiver<Answer>, NotTaken> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever hung up makes room.
            askers.retain(|_, asker| !asker.is_closed());
            if askers.len() >= ASKERS_MAX {
                return Err(NotTaken::Full);
            }
            askers.insert(order.command, sender);
        }
        self.take(order).await?;
        Ok(receiver)
    }

    /// Resolves when an order was taken since the last time.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Serves orders until none waits, or another trainer is at work, who will see to them.
    pub(crate) async fn serve(&self, trainer: &Trainer) -> Result<(), Error> {
        while let Some(order) = self.next().await? {
            if order.attempts >= ATTEMPTS_MAX {
                let why = format!(
                    "given up: {ATTEMPTS_MAX} times a trainer ended in the middle of it; its log says why"
                );
                tracing::error!(command = %order.command, "{why}");
                self.end(&order, OrderEnd::Refused, Some(&why)).await?;
                continue;
            }
            match trainer.pass(Some(&order)).await {
                Ok(summary) => {
                    let left = (summary.left > 0).then(|| {
                        format!(
                            "{} resources are left, by the budget of a pass",
                            summary.left
                        )
                    });
                    self.end(&order, OrderEnd::Done, left.as_deref()).await?;
                    self.answer(order.command, Ok(summary));
                }
                Err(error @ PassError::Unknown(_)) => {
                    tracing::warn!(command = %order.command, actor = order.actor, %error, "an order is refused");
                    let why = error.to_string();
                    self.end(&order, OrderEnd::Refused, Some(&why)).await?;
                    self.answer(order.command, Err(error));
                }
                Err(PassError::Busy) => {
                    self.let_go();
                    return Ok(());
                }
                Err(PassError::Store(error)) => {
                    // Not the order's fault; whether this can be written down matters little.
                    let _ = self.forgive(&order).await;
                    self.let_go();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn next(&self) -> Result<Option<Order>, Error> {
        let session = self.postgres.session().await?;
        let order = orders::next(&*session).await?;
        session.give_back();
        Ok(order)
    }

    async fn end(&self, order: &Order, end: OrderEnd, reason: Option<&str>) -> Result<(), Error> {
        let session = self.postgres.session().await?;
        orders::end(&*session, order.command, end, reason).await?;
        session.give_back();
        Ok(())
    }

    async fn forgive(&self, order: &Order) -> Result<(), Error> {
        let session = self.postgres.session().await?;
        orders::attempt(&*session, order.command, -1).await?;
        session.give_back();
        Ok(())
    }

    fn answer(&self, command: Uuid, answer: Answer) {
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asker) = askers.remove(&command) {
            // Whoever asked may be gone.
            let _ = asker.send(answer);
        }
    }

    /// Nobody is served for now. The orders stay, and who waits for them is told so.
    fn let_go(&self) {
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        askers.clear();
    }
}
