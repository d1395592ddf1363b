//! `replica admin …`: the one-use secret with which a user becomes an admin.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use quorate_proto::rpc::OfferAdminRequest;
use quorate_proto::rpc::offer_admin_response::Result as Offered;

use super::Failed;
use super::operator::{Operator, Where};

/// An offer waits for a commit, for an election if need be, and after a first start for the replicas to know each other.
const OFFER_WAIT: Duration = Duration::from_secs(30);
/// One call.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// Between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// What an operator does about admins.
#[derive(Debug, Subcommand)]
pub(super) enum Admin {
    /// Print a secret: the user who gives it under Account (or by POST /api/v1/admin/claim) within 24 h is an admin
    Offer(Offer),
}

#[derive(Debug, Args)]
pub(super) struct Offer {
    /// Only while there is no admin; prints nothing otherwise
    #[arg(long)]
    first: bool,
    #[command(flatten)]
    place: Where,
}

impl Admin {
    /// Does it.
    pub(super) async fn run(self) -> Result<(), Failed> {
        let Self::Offer(offer) = self;
        offer.run().await
    }
}

impl Offer {
    async fn run(self) -> Result<(), Failed> {
        let mut operator = Operator::new(&self.place)?;
        let began = Instant::now();
        loop {
            let (leader, _) = operator.leader().await?;
            let mut client = operator.client(&leader).map_err(Failed::Usage)?;
            let asked = client.offer_admin(OfferAdminRequest { only_first: self.first });
            let missing = match tokio::time::timeout(CALL_WAIT, asked).await {
                Ok(Ok(answer)) => match answer.into_inner().result {
                    Some(Offered::Secret(secret)) => {
                        println!("{secret}");
                        return Ok(());
                    }
                    Some(Offered::HasAdmin(_)) => return Ok(()),
                    Some(Offered::Refused(why)) => return Err(Failed::Failed(why)),
                    Some(Offered::Unknown(why)) => why,
                    Some(Offered::NotLeader(_)) => format!("{leader} does not lead any more"),
                    None => format!("{leader} answered nothing that this program knows"),
                },
                Ok(Err(status)) => format!("{leader}: {}", status.message()),
                Err(_) => format!("{leader}: no answer"),
            };
            if began.elapsed() > OFFER_WAIT {
                return Err(Failed::Failed(format!("no offer within {OFFER_WAIT:?}: {missing}")));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}
