//! Which linear change of levels and of colours explains a rendition's difference? By least squares over lattice cells.
//!
//! An encoder loses detail and adds noise, but it neither stretches levels nor turns colours: over thousands of cells both
//! average out of the sums below, and a gain, a hue or a saturation stays. Fits are damped by a ridge, so that a source
//! with little contrast or colour, whose noise would be fitted, is taken to be unchanged.

use crate::features::NEUTRAL;
use crate::rules::{COLOUR_RIDGE, TONE_RIDGE};

/// By how many thousandths luma levels are stretched around their mean; negative where contrast is lost. Levels of source
/// and rendition are in sixteenths.
pub(crate) fn luma_gain(source: &[u16], shown: &[u16]) -> i64 {
    let n = source.len() as i64;
    // Levels are at most 2^12, cells 2^14: sums of products stay below 2^38.
    let (mut s, mut d, mut ss, mut sd) = (0i64, 0i64, 0i64, 0i64);
    for (&level, &shown) in source.iter().zip(shown) {
        let (level, difference) = (i64::from(level), i64::from(shown) - i64::from(level));
        s += level;
        d += difference;
        ss += level * level;
        sd += level * difference;
    }
    let spread = ss * n - s * s + TONE_RIDGE * n * n;
    if n == 0 { 0 } else { 1000 * (sd * n - s * d) / spread }
}

/// What the linear map of colours that explains a rendition best adds to the identity, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Colours {
    /// How far colours are turned around grey: the sine of the angle.
    pub(crate) turned: i64,
    /// How far they are strengthened; negative where they fade.
    pub(crate) gained: i64,
}

impl Colours {
    /// Fits blue and red differences of source and rendition, in sixteenths of a level.
    pub(crate) fn fit(source: (&[u16], &[u16]), shown: (&[u16], &[u16])) -> Self {
        let grey = i64::from(NEUTRAL);
        let (mut uu, mut uv, mut vv) = (0i64, 0i64, 0i64);
        // Differences by colours: of u by u and v, of v by u and v.
        let mut cross = [0i64; 4];
        for ((&u, &v), (&shown_u, &shown_v)) in source.0.iter().zip(source.1).zip(shown.0.iter().zip(shown.1))
        {
            let (u, v) = (i64::from(u), i64::from(v));
            let (du, dv) = (i64::from(shown_u) - u, i64::from(shown_v) - v);
            let (u, v) = (u - grey, v - grey);
            uu += u * u;
            uv += u * v;
            vv += v * v;
            for (sum, product) in cross.iter_mut().zip([du * u, du * v, dv * u, dv * v]) {
                *sum += product;
            }
        }
        let ridge = COLOUR_RIDGE * source.0.len() as i64;
        let (uu, uv, vv) = (i128::from(uu + ridge), i128::from(uv), i128::from(vv + ridge));
        // At least the ridge squared; nothing to fit without cells.
        let determinant = (uu * vv - uv * uv).max(1);
        let [du_u, du_v, dv_u, dv_v] = cross.map(i128::from);
        let by_u = |a: i128, b: i128| 1000 * (a * vv - b * uv) / determinant;
        let by_v = |a: i128, b: i128| 1000 * (b * uu - a * uv) / determinant;
        // Colours are below 2^12 and the ridge bounds the map: thousandths of it fit.
        Self {
            turned: ((by_u(dv_u, dv_v) - by_v(du_u, du_v)) / 2) as i64,
            gained: ((by_u(du_u, du_v) + by_v(dv_u, dv_v)) / 2) as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::LEVEL;

    const CELLS: usize = 3600;

    /// Levels between -`reach` and `reach` around `middle`, in no order.
    fn levels(seed: usize, middle: i32, reach: i32) -> Vec<u16> {
        let level = |i: usize| ((i + seed) * 7919 % 2003) as i32 * 2 * reach / 2002 - reach;
        (0..CELLS).map(|i| (middle + level(i)) as u16).collect()
    }

    fn mapped(u: &[u16], v: &[u16], map: [i64; 4]) -> (Vec<u16>, Vec<u16>) {
        let grey = i64::from(NEUTRAL);
        let at = |a: i64, b: i64, u: u16, v: u16| {
            (grey + (a * (i64::from(u) - grey) + b * (i64::from(v) - grey)) / 1000) as u16
        };
        let pairs = u.iter().zip(v);
        pairs.map(|(&u, &v)| (at(map[0], map[1], u, v), at(map[2], map[3], u, v))).unzip()
    }

    fn colours(map: [i64; 4]) -> Colours {
        let grey = i32::from(NEUTRAL);
        let (u, v) = (levels(1, grey, 640), levels(500, grey, 400));
        let shown = mapped(&u, &v, map);
        Colours::fit((&u, &v), (&shown.0, &shown.1))
    }

    #[test]
    fn a_turn_of_ten_degrees_is_its_sine() {
        let fit = colours([985, -174, 174, 985]);
        assert!((165..=175).contains(&fit.turned), "{fit:?}");
        assert!((-17..=-12).contains(&fit.gained), "{fit:?}");
    }

    #[test]
    fn faded_colours_are_measured_and_not_taken_for_a_turn() {
        let fit = colours([800, 0, 0, 800]);
        assert!((-201..=-190).contains(&fit.gained), "{fit:?}");
        assert!(fit.turned.abs() < 3, "{fit:?}");
    }

    #[test]
    fn a_source_without_colour_is_taken_to_be_unchanged() {
        let grey = i32::from(NEUTRAL);
        let (u, v) = (levels(1, grey, 6), levels(500, grey, 6));
        let flat = vec![NEUTRAL; CELLS];
        let fit = Colours::fit((&u, &v), (&flat, &flat));
        assert!(fit.turned.abs() < 10 && fit.gained.abs() < 30, "{fit:?}");
        assert_eq!(Colours::fit((&[], &[]), (&[], &[])), Colours::default());
    }

    #[test]
    fn a_stretch_is_measured_around_the_mean_and_noise_is_none() {
        let source = levels(3, 1800, 900);
        let stretched: Vec<u16> =
            source.iter().map(|&level| (1800 + (i32::from(level) - 1800) * 116 / 100) as u16).collect();
        assert!((150..=160).contains(&luma_gain(&source, &stretched)));
        let lifted: Vec<u16> = source.iter().map(|&level| level + 3 * LEVEL).collect();
        assert_eq!(luma_gain(&source, &lifted), 0);
        // Of no relation to the levels: the square of the place.
        let noise = |i: usize| (i * i % 331) as u16;
        let noisy: Vec<u16> = source.iter().enumerate().map(|(i, &level)| level + noise(i)).collect();
        assert!(luma_gain(&source, &noisy).abs() < 20);
        assert_eq!(luma_gain(&[], &[]), 0);
    }
}
