//! The class table of CISA Binding Operational Directive 26-04: known exploited × exposed × automatable ×
//! technical impact -> remediation time. It is data: the CSV form is the one that CERT/CC publishes for SSVC
//! decision tables (one column for each input, the outcome last), so that a deployment can bring its own.

use plimsoll_model::Class;

/// One row's inputs, all known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    /// In the Known Exploited Vulnerabilities catalog.
    pub exploited: bool,
    /// The asset is publicly exposed.
    pub exposed: bool,
    /// SSVC "automatable" is yes.
    pub automatable: bool,
    /// SSVC "technical impact" is total.
    pub total_impact: bool,
}

impl Row {
    /// The sixteen combinations.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self::from_index)
    }

    fn from_index(n: usize) -> Self {
        Self { exploited: n & 8 != 0, exposed: n & 4 != 0, automatable: n & 2 != 0, total_impact: n & 1 != 0 }
    }

    fn index(self) -> usize {
        usize::from(self.exploited) << 3
            | usize::from(self.exposed) << 2
            | usize::from(self.automatable) << 1
            | usize::from(self.total_impact)
    }
}

/// A complete table: each of the sixteen rows has a class, and no input that gets worse lowers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassTable {
    classes: [Class; 16],
}

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the class table is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("failed to read the class table as CSV")]
    Csv(#[from] csv::Error),
    #[error("the class table has no column {0:?}")]
    MissingColumn(&'static str),
    #[error("row {row} of the class table: {value:?} is no value of {column:?}")]
    Value { row: usize, column: &'static str, value: String },
    #[error("the class table has no row for {0:?}")]
    MissingRow(Row),
    #[error("the class table has two rows for {0:?}")]
    DuplicateRow(Row),
    /// A class may only become more urgent when an input becomes worse; what is said about missing
    /// information rests on it.
    #[error("the class table is not monotone: {worse:?} is less urgent than {better:?}")]
    NotMonotone { better: Row, worse: Row },
}

impl TableError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "table_too_large",
            Self::Csv(_) => "table_csv",
            Self::MissingColumn(_) => "table_column",
            Self::Value { .. } => "table_value",
            Self::MissingRow(_) | Self::DuplicateRow(_) => "table_rows",
            Self::NotMonotone { .. } => "table_not_monotone",
        }
    }
}

const BOD_26_04: &str = include_str!("../data/bod-26-04.csv");
/// Longest accepted CSV in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

impl ClassTable {
    /// The table of BOD 26-04, section "remediation timelines".
    ///
    /// # Errors
    /// None for the embedded data, which a test reads.
    pub fn bod_26_04() -> Result<Self, TableError> {
        Self::from_csv(BOD_26_04)
    }

    /// Reads a table. Columns are found by the start of their name, in any order and whatever their case: `In KEV`, `Asset
    /// Exposure`, `Automatable`, `Technical Impact`; the outcome is the last column (`3 days & forensic …`,
    /// `3 days`, `14 days`, `60 days`, `fix on system upgrade`, or the words of [`Class`]).
    ///
    /// # Errors
    /// [`TableError`]: not CSV, a column or a row is missing, an unknown value, or not monotone.
    pub fn from_csv(text: &str) -> Result<Self, TableError> {
        if text.len() > MAX_BYTES {
            return Err(TableError::TooLarge);
        }
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let headers: Vec<String> = reader.headers()?.iter().map(str::to_ascii_lowercase).collect();
        let column = |name: &'static str| {
            let lower = name.to_ascii_lowercase();
            headers.iter().position(|h| h.starts_with(&lower)).ok_or(TableError::MissingColumn(name))
        };
        let (kev, exposure) = (column("In KEV")?, column("Asset Exposure")?);
        let (automatable, impact) = (column("Automatable")?, column("Technical Impact")?);
        let mut found: [Option<Class>; 16] = [None; 16];
        for (n, record) in reader.records().enumerate() {
            let record = record?;
            let field = |at: usize| record.get(at).unwrap_or("").to_ascii_lowercase();
            let yes = |at: usize, name: &'static str| match field(at).as_str() {
                "yes" | "open" | "total" => Ok(true),
                "no" | "partial" => Ok(false),
                other => Err(TableError::Value { row: n + 1, column: name, value: other.to_owned() }),
            };
            let row = Row {
                exploited: yes(kev, "In KEV")?,
                exposed: yes(exposure, "Asset Exposure")?,
                automatable: yes(automatable, "Automatable")?,
                total_impact: yes(impact, "Technical Impact")?,
            };
            let outcome = field(record.len().saturating_sub(1));
            let class = outcome_class(&outcome).ok_or(TableError::Value {
                row: n + 1,
                column: "outcome",
                value: outcome,
            })?;
            if let Some(slot) = found.get_mut(row.index())
                && slot.replace(class).is_some()
            {
                return Err(TableError::DuplicateRow(row));
            }
        }
        let mut classes = [Class::NextUpgrade; 16];
        for ((row, slot), class) in Row::all().zip(classes.iter_mut()).zip(found) {
            *slot = class.ok_or(TableError::MissingRow(row))?;
        }
        let table = Self { classes };
        table.check_monotone()?;
        Ok(table)
    }

    /// The class of a row.
    pub fn class(&self, row: Row) -> Class {
        self.classes.get(row.index()).copied().unwrap_or(Class::ThreeDaysForensic)
    }

    fn check_monotone(&self) -> Result<(), TableError> {
        for better in Row::all() {
            for worse in [
                Row { exploited: true, ..better },
                Row { exposed: true, ..better },
                Row { automatable: true, ..better },
                Row { total_impact: true, ..better },
            ] {
                if self.class(worse) > self.class(better) {
                    return Err(TableError::NotMonotone { better, worse });
                }
            }
        }
        Ok(())
    }
}

fn outcome_class(text: &str) -> Option<Class> {
    if let Ok(class) = text.parse() {
        return Some(class);
    }
    match text {
        "3 days" => Some(Class::ThreeDays),
        "14 days" => Some(Class::FourteenDays),
        "60 days" => Some(Class::SixtyDays),
        _ if text.starts_with("3 days") && text.contains("forensic") => Some(Class::ThreeDaysForensic),
        _ if text.contains("upgrade") => Some(Class::NextUpgrade),
        _ => None,
    }
}
