//! Two different candidates, by weight: where policies begin that compare no more than two.

use super::dice::Dice;
use super::weighted_random::{at_weight, total_weight};
use crate::candidates::{Candidate, Candidates};

/// A candidate and its index.
pub(super) type Drawn<'a> = (usize, Candidate<'a>);

/// Two different candidates, each drawn with chances in proportion to the weights; one if there is but one.
pub(super) fn draw<'a>(
    candidates: Candidates<'a>,
    dice: &Dice,
) -> Option<(Drawn<'a>, Option<Drawn<'a>>)> {
    let total = total_weight(candidates);
    let first = at_weight(candidates, dice.below(total))?;
    let one = (first, candidates.at(first)?);
    let weight = u64::from(one.1.weight());
    if total == weight {
        return Some((one, None));
    }
    // The place of the second among those of all others.
    let mut at = dice.below(total - weight);
    let second = candidates.iter().enumerate().find(|(index, candidate)| {
        let weight = u64::from(candidate.weight());
        let found = *index != first && at < weight;
        if *index != first {
            at = at.saturating_sub(weight);
        }
        found
    });
    Some((one, second))
}
