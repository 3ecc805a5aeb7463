//! Charts as inline SVG: axes, grid, lines, marks and labels. Colours come from the page's style sheet, by class.

use std::fmt::Write;

use super::text::escape;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 350.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal steps are equally far.
    Linear,
    /// Equal factors are equally far.
    Log,
    /// Equal factors of the odds are equally far.
    Logit,
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(1e-9).ln(),
            Self::Logit => {
                let p = value.clamp(1e-9, 1.0 - 1e-9);
                (p / (1.0 - p)).ln()
            }
        }
    }
}

/// One axis.
pub(super) struct Axis {
    /// What it says, with its unit.
    pub(super) label: String,
    /// How values become places.
    pub(super) scale: Scale,
    /// The value at its beginning: left or below.
    pub(super) from: f64,
    /// The value at its end.
    pub(super) to: f64,
    /// Values with a line of the grid, and what is written there.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 on in steps of a round number, to where `most` fits.
    pub(super) fn from_zero(label: &str, most: f64, format: impl Fn(f64) -> String) -> Self {
        let rough = (most / 5.0).max(1e-6);
        let unit = 10f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * unit).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(unit);
        let steps = (most / step - 1e-6).ceil().max(1.0) as u32;
        let ticks = (0..=steps).map(|at| f64::from(at) * step).map(|at| (at, format(at))).collect();
        Self { label: label.to_owned(), scale: Scale::Linear, from: 0.0, to: f64::from(steps) * step, ticks }
    }

    /// The same, but it ends at `most` itself.
    pub(super) fn up_to(label: &str, most: f64, format: impl Fn(f64) -> String) -> Self {
        let mut axis = Self::from_zero(label, most, format);
        axis.to = most;
        axis.ticks.retain(|(value, _)| *value <= most);
        axis
    }

    /// From 0 for its first value to 1 for its last. Values outside are put a little outside; those above a scale that has no
    /// end, at its end.
    fn place(&self, value: f64) -> f64 {
        let (from, to) = (self.scale.of(self.from), self.scale.of(self.to));
        ((self.scale.of(value) - from) / (to - from))
            .clamp(-0.4, if self.scale == Scale::Linear { 1.4 } else { 1.0 })
    }
}

/// The form of a mark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mark {
    /// A disc.
    Dot,
    /// A square.
    Square,
    /// A square on its tip.
    Diamond,
    /// A ring around a special point.
    Ring,
}

/// Which side of a point its label stands on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    /// Left and below: for lines that fall.
    Left,
    /// Right and above: for lines that fall.
    Right,
    Above,
    /// Above, for the last point of a line.
    End,
    /// The same, above another such label.
    HighEnd,
    Below,
}

/// A chart that is being drawn.
pub(super) struct Chart {
    id: &'static str,
    title: String,
    x: Axis,
    y: Axis,
    body: String,
    labels: String,
    legend: String,
}

impl Chart {
    /// An empty one. `id` is unique on the page, `title` says to those who can't see it what it shows.
    pub(super) fn new(id: &'static str, title: &str, x: Axis, y: Axis) -> Self {
        Self {
            id,
            title: title.to_owned(),
            x,
            y,
            body: String::new(),
            labels: String::new(),
            legend: String::new(),
        }
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM)
    }

    fn is_inside(&self, x: f64, y: f64) -> bool {
        let inside = -1e-9..=1.0 + 1e-9;
        inside.contains(&self.x.place(x)) && inside.contains(&self.y.place(y))
    }

    /// A line through points; what lies outside is cut off.
    pub(super) fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let points: Vec<String> =
            points.into_iter().map(|(x, y)| format!("{:.1},{:.1}", self.px(x), self.py(y))).collect();
        let _ = write!(
            self.body,
            r#"<polyline class="line {class}" clip-path="url(#{}-plot)" points="{}"/>"#,
            self.id,
            points.join(" ")
        );
    }

    /// A horizontal line with words at its right end, above or below it.
    pub(super) fn level(&mut self, class: &str, y: f64, words: &str, side: Side) {
        let (to, at) = (WIDTH - RIGHT, self.py(y));
        let _ = write!(
            self.body,
            r#"<line class="level {class}" x1="{LEFT}" x2="{to}" y1="{at:.1}" y2="{at:.1}"/>"#
        );
        let below = at + if side == Side::Below { 13.0 } else { -5.0 };
        self.write("end", class, to - 4.0, below, words);
    }

    /// A mark; `hover` is shown to those who point at it. Nothing if it lies outside.
    pub(super) fn mark(&mut self, mark: Mark, class: &str, (x, y): (f64, f64), hover: &str) {
        if !self.is_inside(x, y) {
            return;
        }
        let (x, y) = (self.px(x), self.py(y));
        let shape = shape(mark, x, y);
        let _ = write!(
            self.body,
            r#"<g class="mark {class}"><title>{}</title><circle class="touch" cx="{x:.1}" cy="{y:.1}" r="8"/>{shape}</g>"#,
            escape(hover)
        );
    }

    /// A vertical bar from `low` to `high`: what can't be ruled out.
    pub(super) fn interval(&mut self, class: &str, x: f64, low: f64, high: f64) {
        let (x, y1, y2) = (self.px(x), self.py(low).min(HEIGHT - BOTTOM), self.py(high));
        let _ = write!(
            self.body,
            r#"<line class="interval {class}" x1="{x:.1}" x2="{x:.1}" y1="{y1:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// Words beside a point. Nothing if it lies outside.
    pub(super) fn label(&mut self, class: &str, (x, y): (f64, f64), side: Side, words: &str) {
        if !self.is_inside(x, y) {
            return;
        }
        let (x, y) = (self.px(x), self.py(y));
        let (anchor, dx, dy) = match side {
            Side::Left => ("end", -6.0, 13.0),
            Side::Right => ("start", 6.0, -5.0),
            Side::Above => ("middle", 0.0, -9.0),
            Side::End => ("end", 4.0, -10.0),
            Side::HighEnd => ("end", 4.0, -24.0),
            Side::Below => ("middle", 0.0, 18.0),
        };
        // Nothing is written over the edges.
        let half = 3.3 * words.chars().count() as f64;
        let x = match anchor {
            "middle" => (x + dx).clamp(LEFT + half, WIDTH - 4.0 - half),
            _ => x + dx,
        };
        let y = (y + dy).clamp(TOP + 10.0, HEIGHT - BOTTOM - 4.0);
        self.write(anchor, class, x, y, words);
    }

    fn write(&mut self, anchor: &str, class: &str, x: f64, y: f64, words: &str) {
        let words = escape(words);
        let _ = write!(
            self.labels,
            r#"<text class="label {class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{words}</text>"#
        );
    }

    /// A line of the legend.
    pub(super) fn legend(&mut self, mark: Option<Mark>, class: &str, words: &str) {
        let sign = match mark {
            Some(mark) => format!(r#"<g class="mark {class}">{}</g>"#, shape(mark, 12.0, 7.0)),
            None => String::new(),
        };
        let line = if matches!(mark, Some(Mark::Ring | Mark::Diamond)) {
            ""
        } else {
            r#"<line x1="1" x2="23" y1="7" y2="7"/>"#
        };
        let _ = write!(
            self.legend,
            r#"<li><svg class="key" viewBox="0 0 24 14" aria-hidden="true"><g class="line {class}">{line}</g>{sign}</svg> {}</li>"#,
            escape(words)
        );
    }

    /// The finished chart with its legend.
    pub(super) fn finish(self) -> String {
        let (id, right, bottom) = (self.id, WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut out = String::new();
        let _ = write!(
            out,
            r#"<figure><svg class="chart" role="img" aria-labelledby="{id}-title" viewBox="0 0 {WIDTH} {HEIGHT}"><title id="{id}-title">{}</title><defs><clipPath id="{id}-plot"><rect x="{LEFT}" y="{}" width="{}" height="{}"/></clipPath></defs>"#,
            escape(&self.title),
            TOP - 3.0,
            right - LEFT + 3.0,
            bottom - TOP + 3.0,
        );
        for (value, words) in &self.x.ticks {
            let x = self.px(*value);
            let _ = write!(
                out,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom}"/><text class="tick" text-anchor="middle" x="{x:.1}" y="{}">{}</text>"#,
                bottom + 16.0,
                escape(words)
            );
        }
        for (value, words) in &self.y.ticks {
            let y = self.py(*value);
            let _ = write!(
                out,
                r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" text-anchor="end" x="{}" y="{:.1}">{}</text>"#,
                LEFT - 7.0,
                y + 4.0,
                escape(words)
            );
        }
        let (middle_x, middle_y) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        let _ = write!(
            out,
            r#"<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/><text class="name" text-anchor="middle" x="{middle_x}" y="{}">{}</text><text class="name" text-anchor="middle" transform="translate(14 {middle_y}) rotate(-90)">{}</text>{}{}</svg><figcaption><ul class="legend">{}</ul></figcaption></figure>"#,
            HEIGHT - 10.0,
            escape(&self.x.label),
            escape(&self.y.label),
            self.body,
            self.labels,
            self.legend,
        );
        out
    }
}

fn shape(mark: Mark, x: f64, y: f64) -> String {
    match mark {
        Mark::Dot => format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.6"/>"#),
        Mark::Square => {
            format!(r#"<rect x="{:.1}" y="{:.1}" width="6.4" height="6.4"/>"#, x - 3.2, y - 3.2)
        }
        Mark::Diamond => format!(r#"<path d="M{x:.1} {:.1}l6 6l-6 6l-6 -6z"/>"#, y - 6.0),
        Mark::Ring => format!(r#"<circle class="ring" cx="{x:.1}" cy="{y:.1}" r="6.5"/>"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, from: f64, to: f64) -> Axis {
        Axis { label: "share, %".to_owned(), scale, from, to, ticks: vec![(from, "a".to_owned())] }
    }

    #[test]
    fn values_are_put_where_the_scale_says() {
        assert_eq!(axis(Scale::Linear, 0.0, 10.0).place(2.5), 0.25);
        assert!((axis(Scale::Log, 0.1, 0.001).place(0.01) - 0.5).abs() < 1e-9);
        assert!((axis(Scale::Logit, 0.01, 0.99).place(0.5) - 0.5).abs() < 1e-9);
        assert_eq!(axis(Scale::Log, 0.1, 0.001).place(0.0), 1.0);
    }

    #[test]
    fn an_axis_from_zero_ends_at_a_round_number_that_holds_all() {
        for (most, end) in [(0.73, 0.8), (1.0, 1.0), (0.031, 0.04), (4283.0, 5000.0), (0.0, 0.000_001)] {
            let axis = Axis::from_zero("x", most, |x| format!("{x}"));
            assert!((axis.to - end).abs() < 1e-9, "{most}: {}", axis.to);
            assert!((2..=8).contains(&axis.ticks.len()), "{most}: {}", axis.ticks.len());
        }
    }

    #[test]
    fn what_lies_outside_has_neither_mark_nor_label() {
        let new = || Chart::new("c", "t", axis(Scale::Linear, 0.0, 1.0), axis(Scale::Linear, 0.5, 1.0));
        let mut chart = new();
        chart.mark(Mark::Dot, "a", (0.5, 0.4), "far");
        chart.label("a", (0.5, 0.4), Side::Above, "far");
        assert!(!chart.finish().contains("far"));
        let mut chart = new();
        chart.mark(Mark::Dot, "a", (0.5, 0.6), "near <b>");
        assert!(chart.finish().contains("near &lt;b&gt;"));
    }
}
