//! The questionnaire for a brand.
//!
//! In: the brand's name. Out: valid TOML that the vendor goes on with.

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
