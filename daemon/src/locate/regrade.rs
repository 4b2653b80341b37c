//! A recorded place under another bound on the age of lists.
//!
//! In: a place as it stands in a case, with its basis, and the bound. Out: the place as the ladder
//! would have graded it with that bound, from what the basis says; or that the basis does not tell.

use sakshi_rules::contact::{Grade, Place, PlaceBasis};

use super::ladder::{CONSENSUS, nation};

/// What became of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regraded {
    /// The bound makes no difference to it.
    Same,
    /// Another grade.
    Other(Box<Place>),
    /// It rests on a provider's list, and the basis does not say of what age.
    NotTold,
}

/// Grades a recorded place anew. Only a place by a provider's own region depends on the bound.
pub fn regrade(place: &Place, max_age_days: u32) -> Regraded {
    let by_region = place.provider.is_some() && place.region.is_some();
    if !by_region || matches!(place.grade, Grade::None | Grade::NotLocatable) {
        return Regraded::Same;
    }
    // A translation prefix stands before what decided.
    let mut basis = place.basis.iter().filter(|basis| basis.sha256.is_some());
    let Some(list) = basis.next() else {
        return Regraded::NotTold;
    };
    let Some(country) = region_country(list) else {
        // The list has no country for the region: the databases decided.
        return Regraded::Same;
    };
    let rest: Vec<&PlaceBasis> = basis.collect();
    let rival = rest.iter().find(|basis| basis.prefix == list.prefix);
    let rival = rival.and_then(|basis| region_country(basis));
    let grade = if rival.is_some_and(|rival| rival != country) {
        Grade::Conflict
    } else if (0..=i64::from(max_age_days)).contains(&list.age_days) {
        Grade::High
    } else if agreed(&rest).is_some_and(|other| other != country) {
        Grade::Conflict
    } else {
        Grade::Medium
    };
    if grade == place.grade {
        return Regraded::Same;
    }
    Regraded::Other(Box::new(Place {
        country: (grade != Grade::Conflict).then(|| country.to_owned()),
        grade,
        ..place.clone()
    }))
}

/// The country of a provider's region: `SG ap-southeast-1`.
fn region_country(basis: &PlaceBasis) -> Option<&str> {
    let (country, region) = basis.says.split_once(' ')?;
    (is_code(country) && !region.is_empty()).then_some(country)
}

/// The country on which three databases or more agree, none differing.
fn agreed(rest: &[&PlaceBasis]) -> Option<String> {
    let said: Vec<String> = rest
        .iter()
        .filter_map(|basis| {
            let code = basis.says.split(", which is ").next()?;
            let code = is_code(code).then(|| code.as_bytes().try_into().ok())??;
            let nation = nation(code)?;
            Some(nation.iter().map(|&byte| char::from(byte)).collect())
        })
        .collect();
    let first = said.first()?;
    (said.len() >= CONSENSUS && said.iter().all(|other| other == first)).then(|| first.clone())
}

fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}
