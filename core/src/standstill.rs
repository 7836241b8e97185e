//! A replica whose replay stands still while the primary writes.
//!
//! On PostgreSQL replay may wait for a query: with a `max_standby_streaming_delay` of minutes, or without end, a report
//! that has read a table keeps the replica from replaying an `ALTER TABLE` of it. The replica then holds, or waits for, a
//! lock that nothing passes, so *every* new read of that table waits as long as the report runs. Such a replica answers
//! the monitor and is not ill. But no new reads are sent to it while another replica would serve them, and a read that
//! has waited there without a row goes on elsewhere: see [`Settings::standstill_limit`](crate::Settings).
//!
//! A replica that lags and moves is none of this, nor is one that has replayed all that there is.

use std::time::Duration;

use crate::clock::Instant;
use crate::dialect::Position;
use crate::history::History;
use crate::live::Replay;
use crate::node::Node;

/// Since when a replica's replay stands still; `VOID` while it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standstill(Instant);

impl Standstill {
    /// Takes in that a replica, asked at `asked`, had replayed `now`, and `before` when it was asked the last time.
    /// Lets routes see what follows from it.
    pub(crate) fn learn<B>(
        &mut self,
        node: &Node<B>,
        asked: Instant,
        [before, now]: [Option<&Position>; 2],
        history: &History,
        limit: Duration,
    ) {
        let lacks_something = match (now, history.newest()) {
            (Some(now), Some(newest)) => !now.covers(&newest),
            // Nothing is known of either.
            _ => false,
        };
        if !lacks_something {
            self.0 = Instant::VOID;
        } else if before != now || self.0 == Instant::VOID {
            self.0 = asked;
        }
        let stands_still = self.0 != Instant::VOID && asked.since(self.0) >= limit;
        node.set_replay(match stands_still {
            true => Replay::StandsStill,
            false => Replay::GoesOn,
        });
    }
}
