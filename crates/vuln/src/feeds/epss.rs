//! FIRST EPSS scores, CSV: a `#` line with model and date, then `cve,epss,percentile`
//! (<https://www.first.org/epss/data_stats>).

use std::io::{BufRead, BufReader, Read};

use super::{Sink, date};
use crate::advisory::{EpssEntry, Record};
use crate::aliases::is_cve;

/// More lines than there are CVE ids, by far.
const MAX_LINES: u64 = 5_000_000;

pub(crate) fn read(place: &str, input: impl Read, sink: &mut Sink<'_>) {
    let mut input = BufReader::new(input);
    let starts_with_comment = input.fill_buf().is_ok_and(|head| head.starts_with(b"#"));
    if starts_with_comment {
        let mut comment = Vec::new();
        if input.by_ref().take(4096).read_until(b'\n', &mut comment).is_err() {
            return sink.reject(place, "entry_unreadable");
        }
        let comment = String::from_utf8_lossy(&comment);
        let stated = comment.split(',').find_map(|part| part.trim().strip_prefix("score_date:"));
        // Dated files say "+0000", which RFC 3339 does not know.
        sink.dated(stated.and_then(|text| date(&text.trim().replace("+0000", "Z"))));
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let column = |name: &str, headers: &csv::ByteRecord| {
        headers.iter().position(|field| field.eq_ignore_ascii_case(name.as_bytes()))
    };
    let (cve_at, score_at) = match reader.byte_headers() {
        Ok(headers) => match (column("cve", headers), column("epss", headers)) {
            (Some(cve), Some(score)) => (cve, score),
            _ => return sink.reject(place, "json_invalid"),
        },
        Err(_) => return sink.reject(place, "entry_unreadable"),
    };
    let mut line = csv::ByteRecord::new();
    for number in 0..MAX_LINES {
        match reader.read_byte_record(&mut line) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => {
                sink.reject(&format!("line {number}"), "entry_unreadable");
                if error.is_io_error() {
                    return;
                }
                continue;
            }
        }
        let text = |at: usize| line.get(at).and_then(|field| std::str::from_utf8(field).ok()).map(str::trim);
        let Some(cve) = text(cve_at).filter(|id| is_cve(id)) else {
            sink.reject(text(cve_at).unwrap_or("?"), "id_invalid");
            continue;
        };
        match text(score_at).and_then(|score| score.parse::<f64>().ok()) {
            Some(probability) if (0.0..=1.0).contains(&probability) => {
                sink.record(Record::Epss(EpssEntry { cve: cve.to_owned(), probability }), None);
            }
            _ => sink.reject(cve, "score_invalid"),
        }
    }
    sink.reject(place, "too_many_entries");
}
