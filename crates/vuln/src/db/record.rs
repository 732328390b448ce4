//! Records of vulnerabilities.

use plimsoll_model::time::Timestamp;
use plimsoll_model::vulnerability::{Exploit, Intelligence, Kev, Sourced, Vulnerability};

use super::DbError;
use super::codec::{Damaged, Reader, put_optional, put_text, put_varint};
use super::entry::SEVERITIES;

const EXPLOITS: [Exploit; 3] = [Exploit::None, Exploit::Poc, Exploit::Weaponised];

/// The record of a vulnerability without its keys: also what its fingerprint is made of.
pub(super) fn encode_vulnerability(v: &Vulnerability) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    put_text(&mut out, &v.id);
    put_varint(&mut out, v.aliases.len() as u64);
    for alias in &v.aliases {
        put_text(&mut out, alias);
    }
    put_text(&mut out, &v.summary);
    out.push(v.severity as u8);
    put_text(&mut out, &v.severity_source);
    put_text(&mut out, &v.cvss);
    put_optional(&mut out, v.published.map(|t| t.0));
    put_optional(&mut out, v.modified.map(|t| t.0));
    let i = &v.intelligence;
    put_optional(&mut out, i.kev.as_ref().map(|kev| kev.date_added.0));
    out.push(u8::from(i.kev.as_ref().is_some_and(|kev| kev.ransomware)));
    put_optional(&mut out, i.epss.map(|p| p.to_bits() as i64));
    out.push(i.exploit as u8);
    for sourced in [&i.automatable, &i.total_impact] {
        match sourced {
            None => out.push(0),
            Some(s) => {
                out.push(1 + u8::from(s.value));
                put_text(&mut out, &s.source);
            }
        }
    }
    out
}

/// Appends the ordinals of the keys, sorted.
pub(super) fn encode_keys(out: &mut Vec<u8>, keys: &[u32]) {
    put_varint(out, keys.len() as u64);
    for &key in keys {
        put_varint(out, u64::from(key));
    }
}

pub(super) fn decode_vulnerability(bytes: &[u8]) -> Result<Vulnerability, DbError> {
    decode(&mut Reader::new(bytes))
}

/// Ordinals of the keys that name the vulnerability.
pub(super) fn keys_of(bytes: &[u8]) -> Result<Vec<u32>, DbError> {
    let mut reader = Reader::new(bytes);
    decode(&mut reader)?;
    let count = reader.count()?;
    Ok((0..count).map(|_| reader.number()).collect::<Result<_, Damaged>>()?)
}

fn decode(reader: &mut Reader<'_>) -> Result<Vulnerability, DbError> {
    let id = reader.text()?.to_owned();
    let count = reader.count()?;
    let aliases: Result<Vec<String>, Damaged> =
        (0..count).map(|_| reader.text().map(str::to_owned)).collect();
    let aliases = aliases?;
    let summary = reader.text()?.to_owned();
    let severity = *SEVERITIES.get(usize::from(reader.byte()?)).ok_or(DbError::Corrupt("severity"))?;
    let severity_source = reader.text()?.to_owned();
    let cvss = reader.text()?.to_owned();
    let published = reader.optional()?.map(Timestamp);
    let modified = reader.optional()?.map(Timestamp);
    let added = reader.optional()?.map(Timestamp);
    let ransomware = reader.byte()? == 1;
    let epss = reader.optional()?.map(|bits| f64::from_bits(bits as u64));
    let exploit = *EXPLOITS.get(usize::from(reader.byte()?)).ok_or(DbError::Corrupt("exploit"))?;
    let mut sourced = || {
        Ok::<_, Damaged>(match reader.byte()? {
            0 => None,
            value => Some(Sourced { value: value == 2, source: reader.text()?.to_owned() }),
        })
    };
    let (automatable, total_impact) = (sourced()?, sourced()?);
    let kev = added.map(|date_added| Kev { date_added, ransomware });
    let intelligence = Intelligence { kev, epss, exploit, automatable, total_impact };
    Ok(Vulnerability {
        id,
        aliases,
        summary,
        severity,
        severity_source,
        cvss,
        published,
        modified,
        intelligence,
    })
}
