//! A page as one HTML file that needs nothing else: no script, no reference, its style inside.
//!
//! In: sections. Out: HTML. Every text is escaped, and a policy (CSP) in the file forbids whatever
//! could be fetched.

use super::{Block, Section, visible};

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <title>Sakshi: summary of a case</title>\n<style>\n\
    body { font: 15px/1.45 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff }\n\
    h1 { font-size: 1.5em; margin: 0 0 .4em } h2 { font-size: 1.1em; margin: 1.4em 0 .3em; border-bottom: 1px solid #bbb }\n\
    dl { display: grid; grid-template-columns: 12em 1fr; gap: .15em 1em; margin: .3em 0 }\n\
    dt { color: #555 } dd { margin: 0 } p, ul { margin: .4em 0 } dd, li, p { overflow-wrap: anywhere }\n\
    @media print { body { font-size: 11px; margin: 0; max-width: none } h2 { margin-top: .8em } }\n\
    </style>\n</head>\n<body>\n";

/// The page.
pub fn page(sections: &[Section]) -> String {
    let mut html = HEAD.to_owned();
    for (at, section) in sections.iter().enumerate() {
        let level = if at == 0 { "h1" } else { "h2" };
        element(&mut html, level, section.title);
        for block in &section.blocks {
            match block {
                Block::Paragraph(said) => element(&mut html, "p", said),
                Block::Fields(fields) => {
                    html.push_str("<dl>\n");
                    for (label, value) in fields {
                        element(&mut html, "dt", label);
                        element(&mut html, "dd", value);
                    }
                    html.push_str("</dl>\n");
                }
                Block::List(entries) => {
                    html.push_str("<ul>\n");
                    for entry in entries {
                        element(&mut html, "li", entry);
                    }
                    html.push_str("</ul>\n");
                }
            }
        }
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn element(html: &mut String, name: &str, text: &str) {
    html.extend(["<", name, ">"]);
    for letter in visible(text).chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html.extend(["</", name, ">\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_is_text() {
        let html = page(&[Section {
            title: "T",
            blocks: vec![Block::Paragraph("<script>&\"'\u{202e}".to_owned())],
        }]);
        assert!(
            html.contains("<p>&lt;script&gt;&amp;&quot;&#39;\\u{202e}</p>"),
            "{html}"
        );
    }
}
