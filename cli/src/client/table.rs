//! Tables of one kind of thing: which columns there are, how they are ordered and coloured, and how they fit.

use std::cmp::Ordering;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use muster_common::exit::Exit;
use serde::Serialize;

use super::fit::{self, width_of};
use super::nearest::or_nearest;
use super::screen::{Screen, Tone};
use crate::args::Output;
use crate::error::CliError;

/// Something of which there are lists.
pub(crate) trait Listed: Serialize + Sized + 'static {
    /// What is said when there is none.
    const NONE: &'static str;
    /// From left to right.
    const COLUMNS: &'static [Column<Self>];

    /// By which other commands know it.
    fn id(&self) -> String;
}

/// One column.
pub(crate) struct Column<T> {
    header: &'static str,
    /// Only shown by `-o wide`.
    wide: bool,
    cell: fn(&T, &Screen) -> Cell,
}

impl<T> Column<T> {
    pub(crate) const fn new(header: &'static str, cell: fn(&T, &Screen) -> Cell) -> Self {
        Self { header, wide: false, cell }
    }

    pub(crate) const fn wide(header: &'static str, cell: fn(&T, &Screen) -> Cell) -> Self {
        Self { header, wide: true, cell }
    }

    /// How it is named on a command line.
    fn key(&self) -> String {
        self.header.to_ascii_lowercase().replace(' ', "-")
    }
}

/// What one column says of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    /// Its place among the others, where that is not the text's.
    order: Option<f64>,
    /// What serves as well where there is little room.
    short: Option<String>,
}

/// How much of an id with a prefix (`SI-`, `OP-`) is shown where there is little room: other commands take that, too.
const SHORT_ID: usize = "SI-12345678".len();

/// The beginning of an id.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, order: None, short: None }
    }

    /// An id of which its beginning serves as well.
    pub(crate) fn id(text: impl Into<String>) -> Self {
        let text = text.into();
        let short = short_id(&text).to_owned();
        Self::text(text).or(short)
    }

    /// With what serves as well where there is little room.
    pub(crate) fn or(self, short: impl Into<String>) -> Self {
        Self { short: Some(short.into()), ..self }
    }

    fn shorten(&mut self) {
        if let Some(short) = self.short.take() {
            self.text = printable(&short);
        }
    }

    /// Ordered by a number, shown as a text.
    pub(crate) fn ranked(text: impl Into<String>, order: f64) -> Self {
        Self { order: Some(order), ..Self::text(text) }
    }

    pub(crate) fn count(count: u64) -> Self {
        Self::ranked(count.to_string(), real(count))
    }

    pub(crate) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.order, other.order) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (None | Some(_), None | Some(_)) => self.text.cmp(&other.text),
        }
    }
}

/// A count as an order: beyond 2⁵³ neighbours are the same.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

/// Orders by a column; `-` before its name turns it around.
pub(crate) fn sort<T: Listed>(items: &mut [T], by: &str, screen: &Screen) -> Result<(), CliError> {
    let (key, is_descending) = match by.strip_prefix('-') {
        Some(key) => (key, true),
        None => (by, false),
    };
    let key = key.to_ascii_lowercase().replace([' ', '_'], "-");
    let Some(column) = T::COLUMNS.iter().find(|column| column.key() == key) else {
        let keys: Vec<String> = T::COLUMNS.iter().map(Column::key).collect();
        let nearest = or_nearest(&key, keys.iter().map(String::as_str));
        return Err(CliError::new(
            Exit::Usage,
            format!("there is no column '{key}'{nearest}\nsort by one of: {}", keys.join(", ")),
        ));
    };
    items.sort_by(|a, b| {
        let order = (column.cell)(a, screen).compare(&(column.cell)(b, screen));
        if is_descending { order.reverse() } else { order }
    });
    Ok(())
}

/// A list in the form that was asked for.
pub(crate) fn list<T: Listed>(output: Output, items: &[T], screen: &Screen) -> Result<String, CliError> {
    match output {
        Output::Table => Ok(table(items, false, screen)),
        Output::Wide => Ok(table(items, true, screen)),
        Output::Name => Ok(items.iter().map(|item| item.id() + "\n").collect()),
        Output::Json => json(&items),
        Output::Yaml => yaml(&items),
    }
}

/// One thing in the form that was asked for: `id` is its name, `text` what people read.
pub(crate) fn answer<T: Serialize>(
    output: Output,
    id: &str,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<String, CliError> {
    match output {
        Output::Table | Output::Wide => Ok(text()),
        // Of a list there may be several, or none.
        Output::Name => Ok(id.lines().map(|id| format!("{id}\n")).collect()),
        Output::Json => json(value),
        Output::Yaml => yaml(value),
    }
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| CliError::failure(format!("cannot write JSON: {error}")))
}

fn yaml(value: &impl Serialize) -> Result<String, CliError> {
    serde_saphyr::to_string(value).map_err(|error| CliError::failure(format!("cannot write YAML: {error}")))
}

/// Columns without lines between them. It fits the terminal, and is whole in a pipe.
pub(crate) fn table<T: Listed>(items: &[T], wide: bool, screen: &Screen) -> String {
    if items.is_empty() {
        return format!("{}\n", T::NONE);
    }
    let columns: Vec<_> = T::COLUMNS.iter().filter(|column| wide || !column.wide).collect();
    let mut rows = Rows::new(columns.iter().map(|column| column.header));
    rows.is_whole = wide;
    for item in items {
        rows.add(columns.iter().map(|column| (column.cell)(item, screen)));
    }
    rows.fitting(screen)
}

/// Between two columns.
const GAP: usize = 2;

/// A table whose rows need not be things.
pub(crate) struct Rows {
    headers: Vec<String>,
    cells: Vec<Vec<Cell>>,
    /// Whether the last column is rather broken than cut.
    is_whole: bool,
}

impl Rows {
    pub(crate) fn new(headers: impl IntoIterator<Item = &'static str>) -> Self {
        let headers = headers.into_iter().map(str::to_owned).collect();
        Self { headers, cells: Vec::new(), is_whole: false }
    }

    /// One cell for each header. What others wrote must not steer the terminal.
    pub(crate) fn add(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let printable = |cell: Cell| Cell { text: printable(&cell.text), ..cell };
        self.cells.push(cells.into_iter().map(printable).collect());
    }

    /// Where the terminal is too narrow, columns in which nothing stands are left out first, then ids and what else is
    /// known by less are shortened, then the last column, which says the most, is cut, and only then texts are broken.
    pub(crate) fn fitting(mut self, screen: &Screen) -> String {
        if let Some(width) = screen.width.map(usize::from) {
            if self.width() > width {
                self.leave_out_empty();
            }
            if self.width() > width {
                self.cells.iter_mut().flatten().for_each(Cell::shorten);
            }
            if self.width() > width {
                self.squeeze(width);
            }
        }
        let mut table = Table::new();
        table.load_style(NOTHING).force_no_tty().set_content_arrangement(ContentArrangement::Disabled);
        table.style_text_only();
        if screen.color {
            table.enforce_styling();
        }
        table.set_header(self.headers);
        for row in &self.cells {
            table.add_row(row.iter().map(toned).collect::<Vec<_>>());
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// What it takes to break nothing.
    fn width(&self) -> usize {
        self.widest(width_of).iter().sum::<usize>() + self.gaps()
    }

    fn gaps(&self) -> usize {
        GAP * self.headers.len().saturating_sub(1)
    }

    /// The most that each column has of something.
    fn widest(&self, measure: impl Fn(&str) -> usize) -> Vec<usize> {
        let column = |(index, header): (usize, &String)| {
            let cells = self.cells.iter().filter_map(|row| row.get(index)).map(|cell| measure(&cell.text));
            cells.max().unwrap_or_default().max(measure(header))
        };
        self.headers.iter().enumerate().map(column).collect()
    }

    /// Cuts and breaks what is wider than it may be.
    fn squeeze(&mut self, width: usize) {
        let room = width.saturating_sub(self.gaps());
        let widths = fit::widths(&self.widest(width_of), &self.widest(fit::longest_piece), room);
        let last = widths.len().saturating_sub(1);
        let is_whole = self.is_whole;
        let fitted = |index: usize, text: &str| match widths.get(index) {
            Some(&width) if index == last && !is_whole => fit::cut(text, width),
            Some(&width) => fit::broken(text, width),
            None => text.to_owned(),
        };
        for (index, header) in self.headers.iter_mut().enumerate() {
            *header = fitted(index, header);
        }
        for row in &mut self.cells {
            for (index, cell) in row.iter_mut().enumerate() {
                cell.text = fitted(index, &cell.text);
            }
        }
    }

    fn leave_out_empty(&mut self) {
        let is_used = |index: usize| {
            self.cells.iter().any(|row| row.get(index).is_some_and(|cell| !cell.text.is_empty()))
        };
        let used: Vec<bool> = (0..self.headers.len()).map(is_used).collect();
        let keep = |index: usize| used.get(index).copied().unwrap_or(true);
        self.headers = kept(std::mem::take(&mut self.headers), keep);
        for row in &mut self.cells {
            *row = kept(std::mem::take(row), keep);
        }
    }
}

/// The elements whose index is to be kept.
fn kept<T>(all: Vec<T>, keep: impl Fn(usize) -> bool) -> Vec<T> {
    all.into_iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, element)| element).collect()
}

fn toned(cell: &Cell) -> comfy_table::Cell {
    use comfy_table::{Attribute, Color};
    let plain = comfy_table::Cell::new(&cell.text);
    match cell.tone {
        _ if cell.text.is_empty() => plain,
        Tone::Plain => plain,
        Tone::Good => plain.fg(Color::DarkGreen),
        Tone::Busy => plain.fg(Color::DarkYellow),
        Tone::Bad => plain.fg(Color::DarkRed),
        Tone::Faint => plain.add_attribute(Attribute::Dim),
    }
}

/// The text without what would steer a terminal; lines end in spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' | '\r' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}
