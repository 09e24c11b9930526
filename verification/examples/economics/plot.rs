//! How long cheats last, drawn: both axes logarithmic.

use std::fmt::Write;

use crate::model::{SEGMENT_S, Tampering};
use crate::tables::{Budget, Means, RATES_PERCENT, Row, Simulation};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Space for the labels: left, top, right, bottom.
const MARGIN: [f64; 4] = [70.0, 46.0, 240.0, 52.0];
/// Space between the lines' ends and the sides.
const PADDING: f64 = 20.0;
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

const RED: &str = "#b3261e";
const BLUE: &str = "#1a5fb4";

/// One line of a chart.
struct Line {
    name: &'static str,
    colour: &'static str,
    dashed: bool,
    /// What stands on the x axis, and seconds.
    points: Vec<(f64, f64)>,
}

/// Seconds over something else.
struct Chart {
    title: &'static str,
    x_label: &'static str,
    x_ticks: Vec<f64>,
    lines: Vec<Line>,
}

/// Time until a cheat is caught over the share of segments that it tampers with.
pub(crate) fn over_rates(simulation: &Simulation) -> String {
    let line = |name, colour, dashed, tampering, figure: fn(&Row) -> &Means| {
        let rows = simulation.rows.iter().filter(|row| !row.sly && row.tampering == tampering);
        let points = rows.map(|row| (f64::from(row.percent), seconds(figure(row)))).collect();
        Line { name, colour, dashed, points }
    };
    let chart = Chart {
        title: "Time until a cheat is caught, mean",
        x_label: "segments tampered with",
        x_ticks: RATES_PERCENT.map(f64::from).to_vec(),
        lines: vec![
            line("wrong motion, floor", RED, false, Tampering::Motion, |row| &row.floor),
            line("wrong motion, new identity", RED, true, Tampering::Motion, |row| &row.adaptive),
            line("wrong picture, floor", BLUE, false, Tampering::Picture, |row| &row.floor),
            line("wrong picture, new identity", BLUE, true, Tampering::Picture, |row| &row.adaptive),
        ],
    };
    chart.svg()
}

/// Time until a cheat is caught over what the pictures cost to check, at fixed rates.
pub(crate) fn over_costs(simulation: &Simulation) -> String {
    let line = |name, colour, dashed, figure: fn(&Budget) -> &Means| {
        let budgets = simulation.budgets.iter();
        let points =
            budgets.map(|budget| (budget.cost_ppm as f64 / 10_000.0, seconds(figure(budget)))).collect();
        Line { name, colour, dashed, points }
    };
    let chart = Chart {
        title: "Time until a cheat is caught, mean, at fixed rates",
        x_label: "CPU, in percent of what made the ladder",
        x_ticks: vec![0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0],
        lines: vec![
            line("wrong motion, every tenth", RED, true, |budget| &budget.motion_tenth),
            line("wrong motion, all segments", RED, false, |budget| &budget.motion),
            line("wrong picture, every tenth", BLUE, true, |budget| &budget.picture_tenth),
            line("wrong picture, all segments", BLUE, false, |budget| &budget.picture),
        ],
    };
    chart.svg()
}

fn seconds(means: &Means) -> f64 {
    (means.lasted_tenths * SEGMENT_S) as f64 / 10.0
}

impl Chart {
    fn svg(&self) -> String {
        let mut out = String::new();
        self.draw(&mut out).expect("writing to a string cannot fail");
        out
    }

    fn draw(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">"
        )?;
        writeln!(out, "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"26\" font-size=\"15\">{}</text>", MARGIN[0], self.title)?;
        self.axes(out)?;
        for (number, line) in self.lines.iter().enumerate() {
            self.line(line, number, out)?;
        }
        writeln!(out, "</svg>")
    }

    fn axes(&self, out: &mut String) -> std::fmt::Result {
        let (left, right, bottom) = (MARGIN[0], WIDTH - MARGIN[2], HEIGHT - MARGIN[3]);
        for (seconds, label) in TICKS {
            let y = y(seconds);
            writeln!(out, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>")?;
            writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 8.0,
                y + 4.0
            )?;
        }
        for percent in &self.x_ticks {
            let (x, y) = (self.x(*percent), bottom + 18.0);
            writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{percent} %</text>")?;
        }
        let (x, y) = ((left + right) / 2.0, bottom + 40.0);
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>", self.x_label)
    }

    fn line(&self, line: &Line, number: usize, out: &mut String) -> std::fmt::Result {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(at, seconds)| format!("{:.1},{:.1}", self.x(*at), y(*seconds)))
            .collect();
        let Line { name, colour, dashed, .. } = line;
        let dashes = if *dashed { "6 4" } else { "none" };
        let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"");
        writeln!(out, "<polyline points=\"{}\" fill=\"none\" {stroke}/>", points.join(" "))?;
        let (left, y) = (WIDTH - MARGIN[2] + 14.0, MARGIN[1] + 20.0 + 24.0 * number as f64);
        writeln!(out, "<path d=\"M{left} {y}h26\" {stroke}/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{}\">{name}</text>", left + 32.0, y + 4.0)
    }

    /// Where a value of the x axis stands, which reaches from the first tick to the last.
    fn x(&self, value: f64) -> f64 {
        let (left, right) = (MARGIN[0] + PADDING, WIDTH - MARGIN[2] - PADDING);
        let (first, last) = (self.x_ticks[0], self.x_ticks[self.x_ticks.len() - 1]);
        left + (right - left) * (value / first).ln() / (last / first).ln()
    }
}

fn y(seconds: f64) -> f64 {
    let (top, bottom) = (MARGIN[1], HEIGHT - MARGIN[3]);
    let part = (seconds.max(SECONDS[0]) / SECONDS[0]).ln() / (SECONDS[1] / SECONDS[0]).ln();
    bottom - (bottom - top) * part
}
