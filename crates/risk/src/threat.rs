//! How likely exploitation is.

use plimsoll_model::vulnerability::{Exploit, Intelligence};

/// EPSS at or above which a class moves one step up: the threshold at which CVSS-BT calls exploit maturity
/// "attacked".
pub const EPSS_STEP: f64 = 0.36;

/// Least threat where exploit code is weaponised.
const WEAPONISED_FLOOR: f64 = 0.4;
/// Least threat where a proof of concept is public.
const POC_FLOOR: f64 = 0.1;

/// The EPSS that stands for a missing one: the mean over CVEs with the same SSVC labels.
///
/// Measured: EPSS of 2026-08-16 over the 43,692 CVEs that CISA Vulnrichment labelled by 2024-10-24 and that are not in KEV. `None`
/// averages over the label.
pub fn imputed_epss(automatable: Option<bool>, total_impact: Option<bool>) -> f64 {
    match (automatable, total_impact) {
        (Some(true), Some(true)) => 0.0525,
        (Some(true), Some(false)) => 0.0246,
        (Some(false), Some(true)) => 0.0212,
        (Some(false), Some(false)) => 0.0091,
        (Some(true), None) => 0.0355,
        (Some(false), None) => 0.0127,
        (None, Some(true)) => 0.0281,
        (None, Some(false)) => 0.0116,
        (None, None) => 0.0167,
    }
}

/// A probability as feeds state it: finite and from 0 to 1, else unknown.
pub fn valid_epss(intelligence: &Intelligence) -> Option<f64> {
    intelligence.epss.filter(|p| (0.0..=1.0).contains(p))
}

/// Threat from 0 to 1: 1 when exploitation is known, else the greater of EPSS (imputed where missing) and a floor
/// for public exploit code.
pub fn threat(intelligence: &Intelligence, automatable: Option<bool>, total_impact: Option<bool>) -> f64 {
    if intelligence.kev.is_some() {
        return 1.0;
    }
    let epss = valid_epss(intelligence).unwrap_or_else(|| imputed_epss(automatable, total_impact));
    let floor = match intelligence.exploit {
        Exploit::Weaponised => WEAPONISED_FLOOR,
        Exploit::Poc => POC_FLOOR,
        Exploit::None => 0.0,
    };
    epss.max(floor)
}
