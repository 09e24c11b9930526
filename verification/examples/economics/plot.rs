//! How long cheats last, drawn: both axes logarithmic.

use std::fmt::Write;

use crate::model::{SEGMENT_S, Tampering};
use crate::tables::{Means, RATES_PERCENT, Row, Simulation};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Space for the labels: left, top, right, bottom.
const MARGIN: [f64; 4] = [70.0, 46.0, 240.0, 52.0];
/// Seconds at the lower and upper end of the axis.
const SECONDS: [f64; 2] = [1.0, 50_000.0];
/// Where lines are drawn across.
const TICKS: [(f64, &str); 6] = [
    (1.0, "≤ 1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3_600.0, "1 h"),
    (36_000.0, "10 h"),
];

/// A line: name, colour, dashes, which cheats, and which of their figures.
struct Line {
    name: &'static str,
    colour: &'static str,
    dashes: &'static str,
    tampering: Tampering,
    figure: fn(&Row) -> &Means,
}

const LINES: [Line; 4] = [
    Line {
        name: "wrong motion, floor",
        colour: "#b3261e",
        dashes: "none",
        tampering: Tampering::Motion,
        figure: |row| &row.floor,
    },
    Line {
        name: "wrong motion, new identity",
        colour: "#b3261e",
        dashes: "6 4",
        tampering: Tampering::Motion,
        figure: |row| &row.adaptive,
    },
    Line {
        name: "wrong picture, floor",
        colour: "#1a5fb4",
        dashes: "none",
        tampering: Tampering::Picture,
        figure: |row| &row.floor,
    },
    Line {
        name: "wrong picture, new identity",
        colour: "#1a5fb4",
        dashes: "6 4",
        tampering: Tampering::Picture,
        figure: |row| &row.adaptive,
    },
];

/// The drawing as SVG.
pub(crate) fn svg(simulation: &Simulation) -> String {
    let mut out = String::new();
    draw(simulation, &mut out).expect("writing to a string cannot fail");
    out
}

fn draw(simulation: &Simulation, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
    )?;
    writeln!(out, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>")?;
    writeln!(
        out,
        "<text x=\"{}\" y=\"26\" font-size=\"15\">Time until a cheat is caught, mean</text>",
        MARGIN[0]
    )?;
    axes(out)?;
    for (number, line) in LINES.iter().enumerate() {
        draw_line(simulation, line, number, out)?;
    }
    writeln!(out, "</svg>")
}

fn axes(out: &mut String) -> std::fmt::Result {
    let (left, right, bottom) = (MARGIN[0], WIDTH - MARGIN[2], HEIGHT - MARGIN[3]);
    for (seconds, label) in TICKS {
        let y = y(seconds);
        writeln!(out, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", left - 8.0, y + 4.0)?;
    }
    for percent in RATES_PERCENT {
        let (x, y) = (x(percent), bottom + 18.0);
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{percent} %</text>")?;
    }
    let (x, y) = ((left + right) / 2.0, bottom + 40.0);
    writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">segments tampered with</text>")
}

fn draw_line(simulation: &Simulation, line: &Line, number: usize, out: &mut String) -> std::fmt::Result {
    let rows = simulation.rows.iter().filter(|row| !row.sly && row.tampering == line.tampering);
    let points: Vec<_> = rows
        .map(|row| {
            let seconds = ((line.figure)(row).lasted_tenths * SEGMENT_S) as f64 / 10.0;
            format!("{:.1},{:.1}", x(row.percent), y(seconds))
        })
        .collect();
    let Line { name, colour, dashes, .. } = line;
    writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
        points.join(" ")
    )?;
    let (left, y) = (WIDTH - MARGIN[2] + 14.0, MARGIN[1] + 20.0 + 24.0 * number as f64);
    writeln!(
        out,
        "<path d=\"M{left} {y}h26\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>\
         <text x=\"{}\" y=\"{}\">{name}</text>",
        left + 32.0,
        y + 4.0
    )
}

fn x(percent: u32) -> f64 {
    let (left, right) = (MARGIN[0] + 20.0, WIDTH - MARGIN[2] - 20.0);
    left + (right - left) * f64::from(percent).log10() / 2.0
}

fn y(seconds: f64) -> f64 {
    let (top, bottom) = (MARGIN[1], HEIGHT - MARGIN[3]);
    let part = (seconds.max(SECONDS[0]) / SECONDS[0]).ln() / (SECONDS[1] / SECONDS[0]).ln();
    bottom - (bottom - top) * part
}
