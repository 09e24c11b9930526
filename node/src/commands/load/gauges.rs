//! A role's metrics at one moment, as its `/metrics` page tells them.

use std::collections::HashMap;

use super::error::LoadError;
use super::exchange::get;

/// Values by series: the name with its labels.
#[derive(Debug, Clone, Default)]
pub(super) struct Gauges(HashMap<String, f64>);

impl Gauges {
    /// Those served at `address`.
    ///
    /// # Errors
    /// There is no such page.
    pub(super) async fn read(address: &str) -> Result<Self, LoadError> {
        Ok(Self::parse(&get(address, "/metrics").await?.text()))
    }

    fn parse(text: &str) -> Self {
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(series.collect())
    }

    /// The value of one series, zero where it is not told.
    pub(super) fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// How much a counter rose since an `earlier` moment.
    pub(super) fn rise(&self, earlier: &Self, series: &str) -> u64 {
        let rise = self.get(series) - earlier.get(series);
        // Counters are whole numbers below 2^53.
        rise.max(0.0).round() as u64
    }

    /// Adds the values of another role of the same kind.
    pub(super) fn add(&mut self, other: Self) {
        for (series, value) in other.0 {
            *self.0.entry(series).or_default() += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_rise_by_series() {
        let before = Gauges::parse("# HELP a x\na{tier=\"whole\"} 3\nb 1\n");
        let after = Gauges::parse("a{tier=\"whole\"} 10\nb 1.5\n");
        assert_eq!(after.rise(&before, "a{tier=\"whole\"}"), 7);
        assert_eq!(after.rise(&before, "none"), 0);
        assert!((after.get("b") - 1.5).abs() < f64::EPSILON);
    }
}
