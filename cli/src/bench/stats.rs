//! What many samples come to. Medians and quartiles, because a machine's other work only ever makes single samples worse.

/// The value below which the share `q` (0 to 1) of the values lies, between two of them in proportion; none of none.
pub(super) fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    // Both are within the list: it is not empty, and `q` is at most 1.
    let below = *sorted.get(place.floor() as usize)?;
    let above = *sorted.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

/// The value in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Half the distance between the quartiles, as a share of the median: what "plus or minus" is here. None where there
/// are fewer than two values, or the median is 0.
pub(super) fn spread(values: &[f64]) -> Option<f64> {
    let middle = median(values).filter(|m| values.len() > 1 && *m != 0.0)?;
    let width = quantile(values, 0.75)? - quantile(values, 0.25)?;
    Some(width / 2.0 / middle.abs())
}

/// The median of the ratios within each round: what slows a whole round down changes no ratio. Rounds in which either
/// has no value don't count.
pub(super) fn ratio(of: &[Option<f64>], to: &[Option<f64>]) -> Option<f64> {
    let ratios: Vec<f64> = of
        .iter()
        .zip(to)
        .filter_map(|(of, to)| Some((*of)? / to.filter(|to| *to != 0.0)?))
        .collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        let values = [40.0, 10.0, 30.0, 20.0];
        assert_eq!(median(&values), Some(25.0));
        assert_eq!(quantile(&values, 0.0), Some(10.0));
        assert_eq!(quantile(&values, 1.0), Some(40.0));
        assert_eq!(quantile(&values, 0.25), Some(17.5));
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_spread_is_a_share_of_the_median() {
        assert_eq!(spread(&[90.0, 100.0, 110.0]), Some(0.05));
        assert_eq!(spread(&[5.0, 5.0]), Some(0.0));
        assert_eq!(spread(&[5.0]), None);
        assert_eq!(spread(&[0.0, 0.0]), None);
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The second round was slow for both, the third is missing, the fourth too.
        let of = [Some(50.0), Some(5.0), None, Some(70.0)];
        let to = [Some(100.0), Some(10.0), Some(100.0), None];
        assert_eq!(ratio(&of, &to), Some(0.5));
        assert_eq!(ratio(&of, &[Some(0.0), None, None, None]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}
