//! What was compared, for people.

use std::fmt;

use super::report::{Report, Row};
use crate::bench::statistics::{median, spread};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\n{} rounds of {} s each, in turns. Median, least and most of the rounds; the ratio to each floor is the\n\
             median of the ratios of rounds in the same turn.",
            self.rounds, self.seconds
        )?;
        if self.noisy {
            writeln!(out, "NOISY: rounds that something else disturbed were kept. These are no figures to quote.")?;
        }
        let mut above: Option<&Row> = None;
        for row in &self.rows {
            let is_new = above
                .is_none_or(|above| (above.group, above.placement, above.work) != (row.group, row.placement, row.work));
            if is_new {
                self.head(row, out)?;
            }
            above = Some(row);
            self.row(row, out)?;
        }
        for why in self.missing() {
            writeln!(out, "\nMISSING  {why}")?;
        }
        Ok(())
    }
}

impl Report {
    fn head(&self, row: &Row, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, unit) = row.work.metric.shown();
        writeln!(out, "\n{}, {}, {}: {} ({unit})", row.group, row.placement, row.work.name, row.work.says)?;
        write!(out, "  {:20}{:>11}{:>26}", "", "median", "least .. most")?;
        for floor in self.floors(row) {
            write!(out, "{:>15}", format!("/ {}", floor.name))?;
        }
        writeln!(out, "   kept (dropped)")
    }

    fn row(&self, row: &Row, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  {:20}", row.name)?;
        if row.is_skipped() {
            return writeln!(out, "    not offered");
        }
        if let Some(why) = row.failure() {
            return writeln!(out, "    FAILED: {why}");
        }
        let values = row.values();
        if values.is_empty() {
            return writeln!(
                out,
                "    NOTHING KEPT: something else used the processors in all {} rounds",
                row.dropped()
            );
        }
        let (scale, _) = row.work.metric.shown();
        let (least, most) = spread(&values);
        let range = format!("{:.2} .. {:.2}", least / scale, most / scale);
        write!(out, "{:>11.2}{range:>26}", median(&values) / scale)?;
        for floor in self.floors(row) {
            let ratio = row.ratio(floor).map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
            write!(out, "{ratio:>15}")?;
        }
        write!(out, "   {} ({})", row.kept(), row.dropped())?;
        if row.kept() < self.rounds {
            write!(out, "  TOO FEW")?;
        }
        for (name, value) in row.beside() {
            write!(out, "  {name} {value:.0}")?;
        }
        writeln!(out)
    }
}

#[cfg(test)]
mod tests {
    use crate::bench::peers::report::tests::{report, row};

    #[test]
    fn what_is_missing_is_said() {
        let mut broken = row("broken", false, "rt64", &[]);
        broken.fail("no reply".into());
        let rows = vec![
            row("raw", true, "rt64", &[Some(10.0), Some(10.0)]),
            row("hostlane", false, "rt64", &[Some(12.0), None]),
            broken,
            row("disturbed", false, "rt64", &[None, None]),
            row("raw", true, "fly64", &[Some(2000.0), Some(2000.0)]),
        ];
        let text = report(rows).to_string();
        for part in ["/ raw", "1.200   1 (1)  TOO FEW", "FAILED: no reply", "NOTHING KEPT", "2.00"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(text.matches("median of the calls").count(), 1);
    }
}
