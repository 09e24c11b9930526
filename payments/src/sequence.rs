//! Which of a session's numbered pieces of work are done with: each at most once.

/// How far back a number may lie behind the highest spent one: the width of the bitmap.
///
/// For segments of two seconds this is more than four minutes, far beyond any deadline.
pub const SEQUENCE_WINDOW: u64 = u128::BITS as u64;

/// A high-water mark and a bitmap behind it: bounded, however many numbers pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceWindow {
    /// One above the highest spent number.
    next: u64,
    /// Bit `n` stands for number `next - 1 - n`.
    spent: u128,
}

impl SequenceWindow {
    /// The window as [`SequenceWindow::parts`] gave it.
    pub fn from_parts(next: u64, spent: u128) -> Self {
        Self { next, spent }
    }

    /// One above the highest spent number, and the bitmap behind it.
    pub fn parts(&self) -> (u64, u128) {
        (self.next, self.spent)
    }

    /// Whether `number` was spent, or lies too far back to know.
    pub fn is_spent(&self, number: u64) -> bool {
        if number >= self.next {
            return false;
        }
        let age = self.next - 1 - number;
        age >= SEQUENCE_WINDOW || self.spent & (1 << age) != 0
    }

    /// Marks `number` as spent, for good.
    pub fn spend(&mut self, number: u64) {
        if number < self.next {
            let age = self.next - 1 - number;
            if age < SEQUENCE_WINDOW {
                self.spent |= 1 << age;
            }
            return;
        }
        let shift = number - self.next + 1;
        self.spent =
            u32::try_from(shift).ok().and_then(|shift| self.spent.checked_shl(shift)).unwrap_or(0) | 1;
        self.next = number.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_number_is_ever_spent_twice(numbers in prop::collection::vec(
            prop_oneof![0u64..400, Just(u64::MAX - 1), any::<u64>()], 1..300,
        )) {
            let mut window = SequenceWindow::default();
            let mut spent = HashSet::new();
            for number in numbers {
                if number == u64::MAX {
                    continue;
                }
                if !window.is_spent(number) {
                    prop_assert!(spent.insert(number), "{number} passed twice");
                    window.spend(number);
                }
                prop_assert!(window.is_spent(number));
            }
        }

        #[test]
        fn a_number_ahead_of_all_others_is_always_free(numbers in prop::collection::vec(0u64..1_000_000, 1..50)) {
            let mut window = SequenceWindow::default();
            for number in &numbers {
                window.spend(*number);
            }
            let ahead = numbers.iter().max().expect("not empty") + 1;
            prop_assert!(!window.is_spent(ahead));
        }

        #[test]
        fn a_window_survives_its_parts(numbers in prop::collection::vec(0u64..1_000, 0..50)) {
            let mut window = SequenceWindow::default();
            numbers.iter().for_each(|number| window.spend(*number));
            let (next, spent) = window.parts();
            prop_assert_eq!(SequenceWindow::from_parts(next, spent), window);
        }
    }
}
