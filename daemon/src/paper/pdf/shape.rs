//! Fonts, and text as glyphs of them.
//!
//! In: text. Out: glyphs with their places, in thousandths of an em. Devanagari is shaped (the rules
//! of `HarfBuzz`, crate `rustybuzz`): vowels move before their consonant, consonants join. A character that
//! no font has is shown by its code, never left out.

use std::collections::BTreeMap;

use rustybuzz::{Face, UnicodeBuffer, ttf_parser::GlyphId};
use subsetter::GlyphRemapper;

use super::PdfError;
use crate::paper::visible;

/// Units of an em in which everything is measured.
const EM: i32 = 1_000;

/// The fonts that are built in: name, bytes. Latin first, then Devanagari; regular, then bold.
const BUILT_IN: [(&str, &[u8]); 4] = [
    (
        "NotoSans-Regular",
        include_bytes!("../../../fonts/NotoSans-Regular.ttf"),
    ),
    (
        "NotoSans-Bold",
        include_bytes!("../../../fonts/NotoSans-Bold.ttf"),
    ),
    (
        "NotoSansDevanagari-Regular",
        include_bytes!("../../../fonts/NotoSansDevanagari-Regular.ttf"),
    ),
    (
        "NotoSansDevanagari-Bold",
        include_bytes!("../../../fonts/NotoSansDevanagari-Bold.ttf"),
    ),
];

/// A font and which of its glyphs were used.
pub(super) struct Font {
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    pub(super) face: Face<'static>,
    /// From the font's own glyphs to those of the part that is embedded.
    pub(super) used: GlyphRemapper,
    /// What a glyph of the embedded part stands for, where that is one text.
    pub(super) texts: BTreeMap<u16, String>,
}

impl Font {
    /// A length of the font in thousandths of an em.
    pub(super) fn scaled(&self, units: i32) -> i32 {
        units.saturating_mul(EM) / self.face.units_per_em().max(1)
    }

    /// How far a glyph of the font advances by itself.
    pub(super) fn advance(&self, glyph: u16) -> i32 {
        let advance = self.face.glyph_hor_advance(GlyphId(glyph)).unwrap_or(0);
        self.scaled(i32::from(advance))
    }

    fn has(&self, letter: char) -> bool {
        self.face.glyph_index(letter).is_some()
    }
}

/// A glyph of the embedded part of a font; lengths in thousandths of an em.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyph {
    pub(super) id: u16,
    /// How far it advances by itself.
    pub(super) natural: i32,
    /// How far the next one begins behind it.
    pub(super) advance: i32,
    pub(super) right: i32,
    pub(super) up: i32,
}

/// Text in one font, shaped.
#[derive(Debug, Clone)]
pub(super) struct Shaped {
    pub(super) font: usize,
    pub(super) glyphs: Vec<Glyph>,
    /// What is written there, where the glyphs do not say so one by one.
    pub(super) actual: Option<String>,
    /// Its width, in thousandths of an em.
    pub(super) width: i32,
}

/// The fonts.
pub(super) struct Fonts {
    fonts: Vec<Font>,
}

impl Fonts {
    pub(super) fn load() -> Result<Self, PdfError> {
        let fonts = BUILT_IN
            .iter()
            .map(|(name, bytes)| {
                Ok(Font {
                    name,
                    bytes,
                    face: Face::from_slice(bytes, 0).ok_or(PdfError::Font(name))?,
                    used: GlyphRemapper::new(),
                    texts: BTreeMap::new(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { fonts })
    }

    pub(super) fn all(&self) -> &[Font] {
        &self.fonts
    }

    /// A text in which every character has a glyph: others are shown by their codes.
    pub(super) fn printable(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        for letter in visible(text).chars() {
            if self.font_of(letter, false).is_some() || is_joiner(letter) {
                shown.push(letter);
            } else {
                shown.extend(letter.escape_unicode());
            }
        }
        shown
    }

    fn font_of(&self, letter: char, bold: bool) -> Option<usize> {
        let at = usize::from(bold);
        let order = if is_devanagari(letter) {
            [2 + at, at]
        } else {
            [at, 2 + at]
        };
        order
            .into_iter()
            .find(|at| self.fonts.get(*at).is_some_and(|font| font.has(letter)))
    }

    /// Shapes a word: a text without a break, every character of which is printable.
    pub(super) fn shape(&mut self, word: &str, bold: bool) -> Vec<Shaped> {
        let mut parts: Vec<(usize, String)> = Vec::new();
        for letter in word.chars() {
            let before = parts.last().map(|(font, _)| *font);
            // What joins letters is shaped with them.
            let font = match before {
                Some(font) if is_joiner(letter) => font,
                _ => self.font_of(letter, bold).unwrap_or(usize::from(bold)),
            };
            match parts.last_mut() {
                Some((last, text)) if *last == font => text.push(letter),
                _ => parts.push((font, letter.to_string())),
            }
        }
        parts
            .into_iter()
            .filter_map(|(font, text)| self.shape_in(font, &text))
            .collect()
    }

    fn shape_in(&mut self, at: usize, text: &str) -> Option<Shaped> {
        let font = self.fonts.get_mut(at)?;
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        let shaped = rustybuzz::shape(&font.face, &[], buffer);
        let infos = shaped.glyph_infos();
        let letters = text.chars().count();
        let one_by_one = infos.len() == letters
            && infos
                .iter()
                .zip(text.char_indices())
                .all(|(info, (at, _))| usize::try_from(info.cluster) == Ok(at));
        let mut glyphs = Vec::with_capacity(infos.len());
        let mut width = 0_i32;
        for (info, place) in infos.iter().zip(shaped.glyph_positions()) {
            let old = u16::try_from(info.glyph_id).unwrap_or(0);
            let glyph = Glyph {
                id: font.used.remap(old),
                natural: font.advance(old),
                advance: font.scaled(place.x_advance),
                right: font.scaled(place.x_offset),
                up: font.scaled(place.y_offset),
            };
            width = width.saturating_add(glyph.advance);
            glyphs.push(glyph);
        }
        let mut exact = one_by_one;
        if one_by_one {
            for (glyph, letter) in glyphs.iter().zip(text.chars()) {
                let said = font
                    .texts
                    .entry(glyph.id)
                    .or_insert_with(|| letter.to_string());
                exact &= said.chars().eq([letter]);
            }
        }
        Some(Shaped {
            font: at,
            glyphs,
            actual: (!exact).then(|| text.to_owned()),
            width,
        })
    }
}

fn is_devanagari(letter: char) -> bool {
    matches!(letter, '\u{900}'..='\u{97f}' | '\u{a8e0}'..='\u{a8ff}' | '\u{1cd0}'..='\u{1cff}')
}

/// Zero-width joiner and non-joiner, which say how letters join and are not seen themselves.
fn is_joiner(letter: char) -> bool {
    matches!(letter, '\u{200c}' | '\u{200d}')
}

/// Whether a line may break before `letter` where a word is longer than a line: not within what is
/// drawn as one.
pub(super) fn may_break_before(before: char, letter: char) -> bool {
    let joins = |letter: char| {
        is_joiner(letter)
            || matches!(letter, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{93c}'
                | '\u{93e}'..='\u{94f}' | '\u{951}'..='\u{957}' | '\u{962}' | '\u{963}')
    };
    !joins(letter) && before != '\u{94d}' && !is_joiner(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consonants_join_and_a_short_i_moves_before_them() {
        let mut fonts = Fonts::load().unwrap();
        // KA + virama + SSA is one glyph, TA + virama + RA as well.
        for conjunct in ["क्ष", "त्र", "श्र", "द्य"] {
            let shaped = fonts.shape(conjunct, false);
            assert_eq!(shaped.len(), 1, "{conjunct}");
            assert_eq!(shaped[0].glyphs.len(), 1, "{conjunct}");
            assert_eq!(shaped[0].actual.as_deref(), Some(conjunct));
        }
        let ki = fonts.shape("कि", false);
        let ka = fonts.shape("क", false);
        assert_eq!(ki[0].glyphs.len(), 2);
        assert_eq!(
            ki[0].glyphs[1].id, ka[0].glyphs[0].id,
            "the vowel is drawn first"
        );
    }

    #[test]
    fn what_no_font_has_is_shown_by_its_code() {
        let fonts = Fonts::load().unwrap();
        assert_eq!(
            fonts.printable("a\u{1f600}\u{202e}क्\u{200d}ष"),
            "a\\u{1f600}\\u{202e}क्\u{200d}ष"
        );
    }
}
