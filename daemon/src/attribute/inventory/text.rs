//! XML as text, as Android writes it up to version 11 and with `persist.sys.binary_xml` off.
//!
//! In: bytes. Out: the events of [`super::document`]. A document type declaration is refused, so
//! that no entity can be declared; of references, only XML's five and characters by number are
//! resolved.

use std::borrow::Cow;

use quick_xml::{XmlVersion, events};

use super::document::{ATTRIBUTES_MAX, DEPTH_MAX, Element, Event, Fault, Stop, Value};

/// Reads text XML event by event.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    xml: quick_xml::Reader<&'a [u8]>,
    /// Length of the input up to the first byte that is not UTF-8.
    readable: usize,
    /// Whether there is such a byte.
    malformed: bool,
    open: usize,
    seen_element: bool,
}

impl<'a> Reader<'a> {
    /// Prepares to read; what follows a byte that is not UTF-8 is not read.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        };
        let mut xml = quick_xml::Reader::from_str(text);
        xml.config_mut().expand_empty_elements = true;
        Self {
            xml,
            readable: text.len(),
            malformed: text.len() < bytes.len(),
            open: 0,
            seen_element: false,
        }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Result<Event<'a>, Stop> {
        loop {
            let at = self.position();
            match self.xml.read_event() {
                Ok(events::Event::Start(start)) => return self.start(&start, at),
                Ok(events::Event::End(_)) => {
                    self.open = self.open.saturating_sub(1);
                    return Ok(Event::End);
                }
                Ok(events::Event::Eof) => return self.end(),
                Ok(events::Event::DocType(_)) => {
                    return Err(Stop {
                        at,
                        fault: Fault::DocumentType,
                    });
                }
                Ok(_) => {}
                Err(error) => return Err(self.stop_at_error(&error)),
            }
        }
    }

    fn position(&self) -> usize {
        usize::try_from(self.xml.buffer_position()).unwrap_or(usize::MAX)
    }

    fn stop_at_error(&self, error: &quick_xml::Error) -> Stop {
        if self.malformed {
            // The syntax is broken because we cut it there.
            return self.malformed_here();
        }
        let at = usize::try_from(self.xml.error_position()).unwrap_or(usize::MAX);
        Stop {
            at: at.min(self.readable),
            fault: Fault::Syntax(error.to_string()),
        }
    }

    fn malformed_here(&self) -> Stop {
        Stop {
            at: self.readable,
            fault: Fault::Encoding,
        }
    }

    fn start(&mut self, start: &events::BytesStart<'a>, at: usize) -> Result<Event<'a>, Stop> {
        let stop = |fault| Stop { at, fault };
        if self.open >= DEPTH_MAX {
            return Err(stop(Fault::Depth));
        }
        self.open += 1;
        self.seen_element = true;
        let mut attributes = Vec::new();
        // Of attributes with the same name the first counts, as in ABX.
        for attribute in start.attributes().with_checks(false) {
            if attributes.len() >= ATTRIBUTES_MAX {
                return Err(stop(Fault::Attributes));
            }
            let syntax = |error: &dyn std::fmt::Display| stop(Fault::Syntax(error.to_string()));
            let attribute = attribute.map_err(|error| syntax(&error))?;
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(|error| syntax(&error))?;
            attributes.push((
                Cow::Owned(attribute.key.0.to_owned()),
                Value::Text(Cow::Owned(value.into_owned())),
            ));
        }
        Ok(Event::Start(Element {
            at,
            name: Cow::Owned(start.name().0.to_owned()),
            attributes,
        }))
    }

    fn end(&self) -> Result<Event<'a>, Stop> {
        let stop = |fault| Stop {
            at: self.readable,
            fault,
        };
        if self.malformed {
            Err(self.malformed_here())
        } else if self.open > 0 {
            Err(stop(Fault::NotClosed { open: self.open }))
        } else if self.seen_element {
            Ok(Event::Eof)
        } else {
            Err(stop(Fault::Empty))
        }
    }
}
