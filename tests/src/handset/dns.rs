//! The virtual internet's resolver: answers A and AAAA questions from the table of hosts.
//!
//! In: the bytes of a question. Out: the bytes of an answer; NXDOMAIN for a name that is not in
//! the table, an empty answer for a type that the host lacks.

use simple_dns::{
    CLASS, Packet, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, RData},
};

use super::places::Host;

/// Time to live of the answers, in seconds.
const TTL: u32 = 60;

/// The answer to a question; none when the bytes are not one.
pub fn answer(question: &[u8], hosts: &[Host]) -> Option<Vec<u8>> {
    let asked = Packet::parse(question).ok()?;
    let mut reply = Packet::new_reply(asked.id());
    for question in &asked.questions {
        match hosts
            .iter()
            .find(|host| question.qname.to_string().eq_ignore_ascii_case(host.name))
        {
            Some(host) => reply.answers.extend(record(question, host)),
            None => *reply.rcode_mut() = RCODE::NameError,
        }
    }
    reply.questions = asked.questions;
    reply.build_bytes_vec_compressed().ok()
}

fn record<'a>(question: &Question<'a>, host: &Host) -> Option<ResourceRecord<'a>> {
    let data = match question.qtype {
        QTYPE::TYPE(TYPE::A) => RData::A(A {
            address: host.v4?.to_bits(),
        }),
        QTYPE::TYPE(TYPE::AAAA) => RData::AAAA(AAAA {
            address: host.v6?.to_bits(),
        }),
        _ => return None,
    };
    Some(ResourceRecord::new(
        question.qname.clone(),
        CLASS::IN,
        TTL,
        data,
    ))
}

/// The bytes of a question for `name`; none when it is not a name.
pub fn question(id: u16, name: &str, ipv6: bool) -> Option<Vec<u8>> {
    let kind = if ipv6 { TYPE::AAAA } else { TYPE::A };
    let mut packet = Packet::new_query(id);
    packet.set_flags(simple_dns::PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        simple_dns::Name::new(name).ok()?,
        kind.into(),
        CLASS::IN.into(),
        false,
    ));
    packet.build_bytes_vec_compressed().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::places, *};

    fn ask(name: &str, ipv6: bool) -> (RCODE, Vec<RData<'static>>) {
        let question = question(7, name, ipv6).expect("a name");
        let reply = answer(&question, places::HOSTS).expect("an answer");
        let reply = Packet::parse(&reply).expect("a DNS message");
        assert_eq!(reply.id(), 7);
        let data = reply.answers.iter().map(|a| a.rdata.clone().into_owned());
        (reply.rcode(), data.collect())
    }

    #[test]
    fn answers_from_the_table() {
        let host = places::SINGAPORE;
        let (_, v4) = ask(host.name, false);
        let address = host.v4.expect("in the table").to_bits();
        assert_eq!(v4, [RData::A(A { address })]);
        let (_, v6) = ask(&host.name.to_uppercase(), true);
        let address = host.v6.expect("in the table").to_bits();
        assert_eq!(v6, [RData::AAAA(AAAA { address })]);
    }

    #[test]
    fn knows_no_other_name() {
        assert_eq!(ask("other.example", false), (RCODE::NameError, vec![]));
        assert_eq!(answer(b"no question", places::HOSTS), None);
    }
}
