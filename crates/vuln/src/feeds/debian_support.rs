//! Debian's lists of packages whose security support is limited or has ended before that of their release
//! (`security-support.debN` of the package debian-security-support).

use plimsoll_model::package::{Ecosystem, Release};

use super::{Sink, date};
use crate::advisory::{Record, Unsupported};
use crate::names::LookupKey;

const MAX_LINES: usize = 100_000;

pub(crate) fn document(place: &str, bytes: &[u8], sink: &mut Sink<'_>) {
    let name = place.rsplit('/').next().unwrap_or(place);
    let version: String =
        name.rsplit(".deb").next().unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
    if version.is_empty() {
        return sink.reject(place, "release_unknown");
    }
    let text = String::from_utf8_lossy(bytes);
    for (number, line) in text.lines().take(MAX_LINES).enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split_ascii_whitespace();
        let (Some(package), Some(kind)) = (fields.next(), fields.next()) else {
            sink.reject(&format!("line {}", number + 1), "json_invalid");
            continue;
        };
        // Limited support says nothing of a version.
        if kind != "non-supported" {
            sink.ignore();
            continue;
        }
        let since = fields.nth(1).and_then(date);
        let release = Release { id: "debian".to_owned(), version: version.clone() };
        // "golang.*" stands for all that begin so.
        let (stem, prefix) = package.strip_suffix(".*").map_or((package, false), |stem| (stem, true));
        let key = LookupKey::new(Ecosystem::Deb, Some(&release), stem);
        sink.record(Record::Unsupported(Unsupported { key, prefix, since }), None);
    }
}
