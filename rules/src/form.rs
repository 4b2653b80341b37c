//! Files to begin with: a rule set with its cases, and the questionnaire for a brand.
//!
//! In: a name. Out: valid TOML that a person goes on with.

/// A rule set to begin with.
pub const SET: &str = include_str!("../forms/set.toml");
/// The cases beside it.
pub const CASES: &str = include_str!("../forms/cases.toml");
const QUESTIONNAIRE: &str = include_str!("../forms/questionnaire.toml");

/// What stands in the questionnaire for the brand's name.
const BRAND: &str = "BRAND";

/// The questionnaire for a brand: valid TOML, with a guide for whoever fills it in. Letters that a
/// text in quotes can't hold as they are become spaces.
pub fn questionnaire(brand: &str) -> String {
    let plain = |c: char| c.is_control() || matches!(c, '"' | '\\');
    let brand: String = brand
        .trim()
        .chars()
        .map(|c| if plain(c) { ' ' } else { c })
        .collect();
    QUESTIONNAIRE.replace(BRAND, &brand)
}
