//! Latency over load as a drawing (SVG): a line for each system's p50 and p99, both axes logarithmic.

use std::fmt::Write as _;

use super::record::{Line, Report, System};
use super::table::number;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
/// Room for the words at the left, top, right and bottom.
const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 150.0;
const BOTTOM: f64 = 56.0;
/// What is drawn, and how its line is broken.
const MEASURES: [(&str, &str); 2] = [("p50", "none"), ("p99", "6 4")];

fn colour(system: System) -> &'static str {
    // Told apart also by those who see no red or green (Okabe and Ito).
    match system {
        System::Quorate => "#0072b2",
        System::Nats => "#d55e00",
        System::Etcd => "#009e73",
    }
}

/// A logarithmic axis over whole decades of values, on pixels.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Around these values; `None` without any that is above nothing.
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let logs: Vec<f64> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
        let low = logs.iter().copied().reduce(f64::min)?.floor();
        let high = logs.iter().copied().reduce(f64::max)?.ceil();
        Some(Self { low, high: high.max(low + 1.0), from, to })
    }

    fn pixel(&self, value: f64) -> f64 {
        let part = (value.log10() - self.low) / (self.high - self.low);
        self.from + part * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power))
    }
}

/// Load and latency of one line, in order.
fn points(lines: &[&Line], system: System, measure: &str) -> Vec<(f64, f64)> {
    let of = |line: &&&Line| line.measure == measure;
    let mut points: Vec<(f64, f64)> = lines
        .iter()
        .filter(of)
        .filter_map(|line| Some((line.at?, line.summary(system)?.median)))
        .filter(|(load, latency)| *load > 0.0 && *latency > 0.0)
        .collect();
    points.sort_unstable_by(|one, two| one.0.total_cmp(&two.0));
    points
}

/// The drawing of one row's latencies over its loads; `None` where it has none.
pub fn draw(report: &Report, row: &str) -> Option<String> {
    let lines: Vec<&Line> = report.lines.iter().filter(|line| line.row == row).collect();
    let mut series = Vec::new();
    for system in System::ALL {
        for (measure, dash) in MEASURES {
            let points = points(&lines, system, measure);
            if !points.is_empty() {
                series.push((system, measure, dash, points));
            }
        }
    }
    let all = || series.iter().flat_map(|(.., points)| points.iter().copied());
    let x = Axis::around(all().map(|point| point.0), LEFT, WIDTH - RIGHT)?;
    let y = Axis::around(all().map(|point| point.1), HEIGHT - BOTTOM, TOP)?;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Latency of acknowledged writes over offered load, p50 and p99</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    // Writing to a string never fails.
    for load in x.decades() {
        let at = x.pixel(load);
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#dddddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            number(load)
        );
    }
    for latency in y.decades() {
        let at = y.pixel(latency);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            at + 4.0,
            number(latency)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">offered load, writes a second</text>\n\
         <text x=\"{left}\" y=\"{:.1}\">latency, ms, from when a write was due</text>",
        f64::midpoint(left, right),
        HEIGHT - 16.0,
        top - 16.0
    );
    for (place, (system, measure, dash, points)) in series.iter().enumerate() {
        let line: Vec<String> = points
            .iter()
            .map(|(load, latency)| format!("{:.1},{:.1}", x.pixel(*load), y.pixel(*latency)))
            .collect();
        let (colour, key) = (colour(*system), top + 8.0 + 20.0 * place as f64);
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
            line.join(" ")
        );
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {key}h24\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{} {measure}</text>",
            right + 14.0,
            right + 44.0,
            key + 4.0,
            system.title()
        );
    }
    out.push_str("</svg>\n");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Figure;
    use crate::bench::record::tests::sample;

    #[test]
    fn a_line_rises_from_left_to_right_with_its_latency() {
        let mut report = sample();
        assert_eq!(draw(&report, "load"), None, "nothing to draw");
        for (load, latency) in [(1_000.0, 10.0), (100.0, 1.0), (10_000.0, 900.0)] {
            let figure = Figure::less(format!("{load}/s"), "p99", "ms", latency).at(load);
            report.add("load", System::Quorate, vec![figure]);
        }
        let svg = draw(&report, "load").unwrap();
        let line = svg.split("<polyline points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(f64, f64)> = line
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert_eq!(points.len(), 3);
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1), "{points:?}");
        assert_eq!((points[0].0, points[2].0), (LEFT, WIDTH - RIGHT), "the ends of the axis");
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(svg.contains("Quorate p99") && svg.trim_end().ends_with("</svg>"));
    }
}
