//! Pages and fonts as a PDF file (ISO 32000-1).
//!
//! In: content streams and the fonts with the glyphs that were used. Out: bytes. Of each font only
//! what was used is embedded; streams are compressed.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use pdf_writer::{
    Content, Filter, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr,
    types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap},
};

use super::{
    PdfError,
    page::{PAGE, font_name},
    shape::{Font, Fonts},
};
use crate::paper::form::Form;

/// What a character of ours is called: two bytes, the number of a glyph.
const SYSTEM: SystemInfo<'static> = SystemInfo {
    registry: Str(b"Adobe"),
    ordering: Str(b"Identity"),
    supplement: 0,
};

/// Numbers of the file's objects, one after the other.
struct Ids(i32);

impl Ids {
    fn next(&mut self) -> Ref {
        self.0 += 1;
        Ref::new(self.0)
    }
}

/// The file.
pub(super) fn document(
    form: &Form,
    fonts: &Fonts,
    contents: Vec<Content>,
) -> Result<Vec<u8>, PdfError> {
    let count = i32::try_from(contents.len()).map_err(|_| PdfError::TooLong)?;
    let mut ids = Ids(0);
    let mut pdf = Pdf::new();
    let (catalog, tree, info) = (ids.next(), ids.next(), ids.next());
    let mut root = pdf.catalog(catalog);
    root.pages(tree).lang(TextStr(form.language));
    root.viewer_preferences().display_doc_title(true);
    root.finish();
    pdf.document_info(info)
        .title(TextStr(&form.title))
        .producer(TextStr("Sakshi"));
    let mut embedded: Vec<(String, Ref)> = Vec::new();
    for (at, font) in fonts.all().iter().enumerate() {
        // Glyph 0 is in every part.
        if font.used.num_gids() > 1 {
            let id = ids.next();
            embed(&mut pdf, &mut ids, id, font)?;
            embedded.push((font_name(at), id));
        }
    }
    let pages: Vec<(Ref, Ref)> = contents.iter().map(|_| (ids.next(), ids.next())).collect();
    pdf.pages(tree)
        .kids(pages.iter().map(|(page, _)| *page))
        .count(count);
    for ((page, stream), content) in pages.into_iter().zip(contents) {
        let mut page = pdf.page(page);
        page.parent(tree)
            .media_box(Rect::new(0.0, 0.0, points(PAGE.0), points(PAGE.1)))
            .contents(stream);
        let mut resources = page.resources();
        let mut named = resources.fonts();
        for (name, id) in &embedded {
            named.pair(Name(name.as_bytes()), *id);
        }
        named.finish();
        resources.finish();
        page.finish();
        let packed = packed(&content.finish());
        pdf.stream(stream, &packed).filter(Filter::FlateDecode);
    }
    Ok(pdf.finish())
}

fn embed(pdf: &mut Pdf, ids: &mut Ids, id: Ref, font: &Font) -> Result<(), PdfError> {
    let part =
        subsetter::subset(font.bytes, 0, &font.used).map_err(|_| PdfError::Font(font.name))?;
    let (cid, descriptor, file, cmap) = (ids.next(), ids.next(), ids.next(), ids.next());
    // Six letters before the name say that it is a part (9.6.4).
    let name = format!("SAKSHI+{}", font.name);
    let name = Name(name.as_bytes());
    pdf.type0_font(id)
        .base_font(name)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid)
        .to_unicode(cmap);
    let mut described = pdf.cid_font(cid);
    described
        .subtype(CidFontType::Type2)
        .base_font(name)
        .system_info(SYSTEM)
        .font_descriptor(descriptor)
        .default_width(0.0)
        .cid_to_gid_map_predefined(Name(b"Identity"));
    described.widths().consecutive(
        0,
        font.used
            .remapped_gids()
            .map(|glyph| thousandths(font.advance(glyph))),
    );
    described.finish();
    let bounds = font.face.global_bounding_box();
    let scaled = |units: i16| thousandths(font.scaled(i32::from(units)));
    let capital = font.face.capital_height().unwrap_or(font.face.ascender());
    pdf.font_descriptor(descriptor)
        .name(name)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(
            scaled(bounds.x_min),
            scaled(bounds.y_min),
            scaled(bounds.x_max),
            scaled(bounds.y_max),
        ))
        .italic_angle(0.0)
        .ascent(scaled(font.face.ascender()))
        .descent(scaled(font.face.descender()))
        .cap_height(scaled(capital))
        .stem_v(80.0)
        .font_file2(file);
    let zipped = packed(&part);
    let mut stream = pdf.stream(file, &zipped);
    stream.filter(Filter::FlateDecode);
    stream.pair(
        Name(b"Length1"),
        i32::try_from(part.len()).map_err(|_| PdfError::Font(font.name))?,
    );
    stream.finish();
    let mut map = UnicodeCmap::new(Name(b"Sakshi"), SYSTEM);
    for (glyph, text) in &font.texts {
        map.pair_with_multiple(*glyph, text.chars());
    }
    let zipped = packed(&map.finish());
    pdf.cmap(cmap, &zipped).filter(Filter::FlateDecode);
    Ok(())
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // A Vec takes all that is written.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn thousandths(of_em: i32) -> f32 {
    f32::from(i16::try_from(of_em).unwrap_or(i16::MAX))
}

fn points(milli: i32) -> f32 {
    f32::from(i16::try_from(milli / 1_000).unwrap_or(i16::MAX))
        + f32::from(i16::try_from(milli % 1_000).unwrap_or(0)) / 1_000.0
}
