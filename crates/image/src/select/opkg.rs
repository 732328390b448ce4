//! opkg's database (OpenWrt, Yocto): `lib/opkg/status`, with stanzas like dpkg's.

use super::dpkg::reduce;
use super::{File, Selector, Trigger, Want};

/// Keeps the fields that [dpkg](super::dpkg::FIELDS) keeps.
pub struct Opkg;

const MAX: u64 = 16 << 20;

impl Selector for Opkg {
    fn name(&self) -> &'static str {
        "opkg"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn triggers(&self) -> &'static [Trigger] {
        const { &[Trigger::Name("status")] }
    }

    fn wants(&self, file: &File<'_>) -> Want {
        if file.is("lib/opkg/status") { Want::Whole { max: MAX } } else { Want::No }
    }

    fn reduce(&self, _file: &File<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let kept = reduce(bytes);
        (!kept.is_empty()).then_some(kept)
    }
}
