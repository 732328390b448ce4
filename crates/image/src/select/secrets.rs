//! Keys and credentials. Not a half of a cataloger: what is kept is what [the scanner](crate::secrets) notes, which
//! looks at every file, so that this selector is never asked. It has a name and a revision like the others.

use super::{File, Selector, Trigger, Want};

/// Stands for the scanner in tables that have it.
pub struct Secrets;

/// The selector's name in Extracts.
pub(crate) const NAME: &str = "secrets";

impl Selector for Secrets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        &[]
    }

    fn wants(&self, _: &File<'_>) -> Want {
        Want::No
    }

    fn reduce(&self, _: &File<'_>, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
