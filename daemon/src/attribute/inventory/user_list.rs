//! `/data/system/users/userlist.xml`: the Android users of the handset.
//!
//! In: bytes, text or ABX (`<users><user id="0"/><user id="10"/></users>`). Out: their numbers.

use super::{
    document::{Document, Event},
    problem::Position,
};

/// More users than any handset has; further ones are not read.
const USERS_MAX: usize = 1000;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct UserList {
    /// Sorted, each once.
    pub(super) users: Vec<u32>,
    /// Where and why reading stopped before the end.
    pub(super) stopped: Option<(Position, String)>,
}

/// Reads as much of the file as can be read.
pub(super) fn parse(bytes: &[u8]) -> UserList {
    let mut list = UserList::default();
    let stop = match Document::new(bytes) {
        Ok(mut document) => read(&mut document, &mut list.users),
        Err(stop) => Some(stop),
    };
    list.users.sort_unstable();
    list.users.dedup();
    list.stopped = stop.map(|stop| {
        let byte = stop.at as u64;
        (Position { byte, line: None }, stop.to_string())
    });
    list
}

fn read(document: &mut Document<'_>, users: &mut Vec<u32>) -> Option<super::document::Stop> {
    let mut depth = 0_usize;
    loop {
        match document.next() {
            Ok(Event::Start(element)) => {
                let id = element.integer("id").ok().flatten();
                let id = id.and_then(|id| u32::try_from(id).ok());
                if let Some(id) = id
                    && depth == 1
                    && element.name == "user"
                    && users.len() < USERS_MAX
                {
                    users.push(id);
                }
                depth += 1;
            }
            Ok(Event::End) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) => return None,
            Err(stop) => return Some(stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_and_says_where_it_breaks_off() {
        let text = b"<users nextSerialNumber=\"12\" version=\"9\"><guestRestrictions/><user id=\"10\"/><user id=\"0\"></user></users>";
        let list = parse(text);
        assert_eq!((list.users, list.stopped), (vec![0, 10], None));
        let list = parse(&text[..80]);
        assert_eq!(list.users, [10]);
        assert!(list.stopped.is_some());
    }
}
