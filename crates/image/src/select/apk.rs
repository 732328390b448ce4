//! Alpine's database of installed packages.

use super::{File, Selector, Trigger, Want};

/// Keeps `lib/apk/db/installed` whole.
pub struct Apk;

const MAX: u64 = 32 << 20;

impl Selector for Apk {
    fn name(&self) -> &'static str {
        "apk"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("installed")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.is("lib/apk/db/installed") { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        Some(bytes.to_vec())
    }
}
