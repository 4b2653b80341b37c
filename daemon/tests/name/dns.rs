//! What is read of DNS messages, and where reading stops.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use sakshi::name::{
    Probe,
    dns::{
        ANSWERS_MAX, Answer, AnswerData, DnsError, DnsKind, Flaw, QUESTIONS_MAX, Question, Section,
        Service, looks_like_dns, message, tcp_message,
    },
};

use crate::writer::{QUERY, RESPONSE, Record, dns, dns_over_tcp, vector};

/// A response with a header and hand-written bytes behind it.
fn with_header(questions: u8, answers: u8, rest: &[u8]) -> Vec<u8> {
    [
        &[0, 1, 0x81, 0x80, 0, questions, 0, answers, 0, 0, 0, 0][..],
        rest,
    ]
    .concat()
}

/// The text of a name that is given as labels.
fn name_text(labels: &[&[u8]]) -> Result<String, DnsError> {
    let mut wire: Vec<u8> = labels.iter().flat_map(|label| vector(1, label)).collect();
    wire.extend([0, 0, 1, 0, 1]);
    message(&with_header(1, 0, &wire)).map(|m| m.questions[0].name.to_string())
}

#[test]
fn reads_back_questions_aliases_and_addresses() {
    let bytes = dns(
        0xbeef,
        RESPONSE,
        &[("Www.Example.COM", 1)],
        &[
            Record::cname("www.example.com", 30, "Edge.cdn.example"),
            Record::a("edge.cdn.example", 20, [192, 0, 2, 7]),
            Record::aaaa("edge.cdn.example", 10, [0x20; 16]),
            Record::raw("edge.cdn.example", 16, 5, vec![0, 1, 0]),
        ],
    );
    let read = message(&bytes).unwrap();
    assert_eq!((read.id, read.response, read.rcode), (0xbeef, true, 0));
    assert_eq!(
        (read.opcode, read.truncated, read.stopped),
        (0, false, None)
    );
    assert_eq!(
        read.questions[..],
        [Question {
            name: "www.example.com".into(),
            qtype: 1,
            qclass: 1
        }]
    );
    let answer = |name: &str, ttl, data| Answer {
        name: name.into(),
        ttl,
        data,
    };
    let edge = "edge.cdn.example";
    assert_eq!(
        read.answers[..],
        [
            answer("www.example.com", 30, AnswerData::Cname(edge.into())),
            answer(
                edge,
                20,
                AnswerData::Address(Ipv4Addr::new(192, 0, 2, 7).into())
            ),
            answer(
                edge,
                10,
                AnswerData::Address(Ipv6Addr::from([0x20; 16]).into())
            ),
            answer(edge, 5, AnswerData::Other(16)),
        ]
    );
}

#[test]
fn names_are_escaped_as_rfc_1035_says() {
    assert_eq!(
        name_text(&[b"a.b", b"c\\\n ", b"\xc3\xa9"]).unwrap(),
        r"a\.b.c\\\010\032.\195\169"
    );
    assert_eq!(name_text(&[]).unwrap(), ".");
}

#[test]
fn names_are_as_long_as_255_bytes_and_no_longer() {
    let label = [b'x'; 63];
    assert!(name_text(&[&label, &label, &label, &label[..61]]).is_ok());
    let error = name_text(&[&label, &label, &label, &label[..62]]).unwrap_err();
    assert!(matches!(error, DnsError::Unreadable(s) if s.flaw == Flaw::NameLength));
}

#[test]
fn pointers_that_do_not_point_back_are_refused() {
    let pointer = |target: u8| {
        let error = message(&with_header(1, 0, &[1, b'a', 0xc0, target, 0, 1, 0, 1])).unwrap_err();
        match error {
            DnsError::Unreadable(stopped) => stopped.flaw,
            other => panic!("{other}"),
        }
    };
    assert_eq!(pointer(12), Flaw::Pointer(12), "to itself");
    assert_eq!(pointer(14), Flaw::Pointer(14), "to the pointer");
    assert_eq!(pointer(200), Flaw::Pointer(200), "forward");
}

#[test]
fn a_long_chain_of_pointers_is_given_up() {
    // The data of an unread record holds pointers, each to the one before it.
    let mut chain = vec![0_u8];
    let base = 12 + 11;
    for link in 0..200_u16 {
        let target = if link == 0 {
            base
        } else {
            base + 1 + 2 * (link - 1)
        };
        chain.extend((0xc000 | target).to_be_bytes());
    }
    let last = base + 1 + 2 * 199;
    let record = [&[0, 0, 16, 0, 1, 0, 0, 0, 0][..], &vector(2, &chain)].concat();
    let owner = (0xc000 | last).to_be_bytes();
    let bytes = with_header(0, 2, &[&record[..], &owner, &[0; 10]].concat());
    let read = message(&bytes).unwrap();
    assert_eq!(read.answers.len(), 1);
    assert_eq!(read.stopped.unwrap().flaw, Flaw::Pointers);
}

#[test]
fn what_parsed_is_kept_and_the_place_of_the_flaw_said() {
    let mut bytes = dns(
        1,
        RESPONSE,
        &[("a.example", 1)],
        &[
            Record::a("a.example", 1, [192, 0, 2, 1]),
            Record::a("a.example", 1, [192, 0, 2, 2]),
        ],
    );
    bytes.truncate(bytes.len() - 2);
    let read = message(&bytes).unwrap();
    assert_eq!((read.questions.len(), read.answers.len()), (1, 1));
    let stopped = read.stopped.unwrap();
    assert_eq!(
        (stopped.section, stopped.record, stopped.offset),
        (Section::Answer, 1, 12 + 15 + 16)
    );
    assert_eq!(
        stopped.to_string(),
        "answer 1 at byte 43: field at byte 55 needs 4 bytes, 2 are left"
    );
}

#[test]
fn data_that_contradicts_its_type_is_said_and_passed_over() {
    let read = message(&dns(
        1,
        RESPONSE,
        &[("a.example", 1)],
        &[
            Record::raw("a.example", 1, 9, vec![1, 2, 3]),
            Record::raw("a.example", 5, 9, vec![1, b'x', 0, 99]),
            Record {
                class: 3,
                ..Record::a("a.example", 9, [1, 2, 3, 4])
            },
            Record::a("a.example", 9, [1, 2, 3, 4]),
        ],
    ))
    .unwrap();
    let data: Vec<_> = read.answers.into_iter().map(|answer| answer.data).collect();
    assert_eq!(
        data,
        [
            AnswerData::Malformed(1),
            AnswerData::Malformed(5),
            AnswerData::Other(1),
            AnswerData::Address(Ipv4Addr::new(1, 2, 3, 4).into()),
        ]
    );
}

#[test]
fn additional_records_and_trailing_bytes_are_left_alone() {
    let mut bytes = dns(1, QUERY, &[("a.example", 28)], &[]);
    bytes[11] = 1; // One additional record: EDNS.
    bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let read = message(&bytes).unwrap();
    assert_eq!((read.questions.len(), read.stopped), (1, None));
}

/// A record of class IN with its owner as it stands in the message, and its data.
fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &[0, kind, 0, 1, 0, 0, 0, 9], &len, data].concat()
}

/// A compression pointer.
fn pointer(to: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(to).unwrap()).to_be_bytes()
}

#[test]
fn what_points_to_a_name_is_that_name() {
    let question = [&vector(1, b"Www")[..], b"\x07example\x00\x00\x01\x00\x01"].concat();
    let (www, example) = (12, 16);
    let first = 12 + question.len();
    let alias = [&vector(1, b"Edge")[..], &pointer(example)].concat();
    let edge = first + 12;
    let second = record(&pointer(www), 5, &alias);
    let third = record(&pointer(edge), 5, &pointer(example));
    let to_example = first + second.len() + 12;
    let rest = [
        second,
        third,
        record(&pointer(to_example), 1, &[192, 0, 2, 1]),
        record(&pointer(edge), 1, &[192, 0, 2, 2]),
        record(&pointer(example), 1, &[192, 0, 2, 3]),
    ]
    .concat();
    let read = message(&with_header(1, 5, &[question, rest].concat())).unwrap();
    let owners: Vec<&str> = read.answers.iter().map(|answer| &*answer.name).collect();
    assert_eq!(
        owners,
        [
            "www.example",
            "edge.example",
            "example",
            "edge.example",
            "example"
        ]
    );
    assert_eq!(
        read.answers[1].data,
        AnswerData::Cname("example".into()),
        "{read:?}"
    );
}

#[test]
fn pointers_are_counted_through_a_name_that_is_known() {
    const ALLOWED: usize = 127;
    let question = b"\x01a\x00\x00\x01\x00\x01";
    let chain_at = 12 + question.len() + 11;
    let chain: Vec<u8> = (0..ALLOWED - 1)
        .flat_map(|at| pointer(if at == 0 { 12 } else { chain_at + 2 * (at - 1) }))
        .collect();
    let long = record(b"\x00", 16, &chain);
    let last = chain_at + chain.len() - 2;
    let alias = record(&pointer(12), 5, &pointer(last));
    let alias_at = chain_at + chain.len() + 12;
    let one_more = record(&pointer(alias_at), 1, &[192, 0, 2, 1]);
    let rest = [&question[..], &long, &alias, &one_more].concat();
    let read = message(&with_header(1, 3, &rest)).unwrap();
    assert_eq!(read.answers[1].data, AnswerData::Cname("a".into()));
    assert_eq!(read.stopped.unwrap().flaw, Flaw::Pointers);
}

#[test]
fn sections_are_bounded() {
    let questions = vec![("a.example", 1); QUESTIONS_MAX + 1];
    let read = message(&dns(1, QUERY, &questions, &[])).unwrap();
    assert_eq!(read.questions.len(), QUESTIONS_MAX);
    assert_eq!(read.stopped.unwrap().flaw, Flaw::TooMany);

    let answers = vec![Record::a("a.example", 1, [0; 4]); ANSWERS_MAX + 1];
    let read = message(&dns(1, RESPONSE, &[], &answers)).unwrap();
    assert_eq!(read.answers.len(), ANSWERS_MAX);
    assert_eq!(read.stopped.unwrap().flaw, Flaw::TooMany);
}

#[test]
fn what_is_no_dns_is_refused() {
    assert_eq!(message(&[0; 11]), Err(DnsError::Header { had: 11 }));
    assert_eq!(message(&[0; 12]), Err(DnsError::NoRecord));
    let opcode = [0, 1, 0x78, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(message(&opcode), Err(DnsError::Opcode(15)));
    // A refusal may repeat nothing of the query.
    assert!(message(&with_header(0, 0, &[])).is_ok());
}

#[test]
fn kinds_are_told_by_port() {
    let query = dns(1, QUERY, &[("a.local", 1)], &[]);
    assert_eq!(looks_like_dns(&query, 53), Some(DnsKind::Unicast));
    assert_eq!(looks_like_dns(&query, 5353), Some(DnsKind::Mdns));
    assert_eq!(looks_like_dns(&query, 5355), Some(DnsKind::Llmnr));
    assert_eq!(looks_like_dns(&query, 5354), None);
    assert_eq!(looks_like_dns(&query[..11], 53), None);
}

#[test]
fn a_stream_gives_one_message_at_a_time() {
    let first = dns(1, QUERY, &[("a.example", 1)], &[]);
    let stream = [dns_over_tcp(&first), vec![0, 40, 9]].concat();
    let read = tcp_message(&stream).yes().unwrap();
    assert_eq!(read.message, message(&first).unwrap());
    assert_eq!(read.consumed, first.len() + 2);
    assert_eq!(tcp_message(&stream[read.consumed..]), Probe::NotYet);
}

#[test]
fn a_stream_that_is_something_else_is_not_waited_for() {
    assert_eq!(tcp_message(b"\x00\x05hello"), Probe::No);
    let opcode_15 = [2, 0, 0, 1, 0x78, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(tcp_message(&opcode_15), Probe::No);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_host_name_is_read_back(name in "[a-z0-9_-]{1,20}(\\.[a-z0-9-]{1,20}){0,5}", kind: u16) {
        let read = message(&dns(7, QUERY, &[(&name, kind)], &[])).unwrap();
        prop_assert_eq!(&*read.questions[0].name, name);
        prop_assert_eq!(read.questions[0].qtype, kind);
    }

    #[test]
    fn every_prefix_of_a_stream_is_not_yet(name in "[a-z]{1,20}\\.[a-z]{1,9}") {
        let stream = dns_over_tcp(&dns(7, QUERY, &[(&name, 1)], &[]));
        for end in 0..stream.len() {
            prop_assert_eq!(tcp_message(&stream[..end]), Probe::NotYet);
        }
    }
}

/// The data of a service binding with these parameters.
fn service(priority: u16, target: &[u8], parameters: &[(u16, &[u8])]) -> Vec<u8> {
    let mut data = priority.to_be_bytes().to_vec();
    data.extend(target);
    for (key, value) in parameters {
        data.extend(key.to_be_bytes());
        data.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        data.extend(*value);
    }
    data
}

/// A configuration of encrypted hellos under a name, in a list.
pub fn ech_list(name: &str) -> Vec<u8> {
    let mut contents = vec![9, 0, 32];
    contents.extend(vector(2, &[5; 32]));
    contents.extend(vector(2, &[0, 1, 0, 1]));
    contents.push(0);
    contents.extend(vector(1, name.as_bytes()));
    contents.extend([0, 0]);
    let other = [&[0xfe, 0x0c][..], &vector(2, b"older")].concat();
    let known = [&[0xfe, 0x0d][..], &vector(2, &contents)].concat();
    vector(2, &[other, known].concat())
}

fn read_service(data: Vec<u8>) -> AnswerData {
    let record = Record::raw("www.example.com", 65, 60, data);
    let read = message(&dns(1, RESPONSE, &[("www.example.com", 65)], &[record])).unwrap();
    assert_eq!(read.stopped, None);
    read.answers.into_iter().next().unwrap().data
}

#[test]
fn service_bindings_say_what_they_offer() {
    let data = service(
        1,
        b"\x03svc\x07Example\0",
        &[
            (1, b"\x02h3"),
            (4, &[192, 0, 2, 7, 192, 0, 2, 8]),
            (5, &ech_list("Covers.example.")),
            (6, &[0x20; 16]),
            (400, b"anything"),
        ],
    );
    let expected = Service {
        priority: 1,
        target: "svc.example".into(),
        ech: true,
        ech_names: vec!["covers.example".into()],
        hints: vec![
            Ipv4Addr::new(192, 0, 2, 7).into(),
            Ipv4Addr::new(192, 0, 2, 8).into(),
            Ipv6Addr::from([0x20; 16]).into(),
        ],
        damaged: false,
    };
    assert_eq!(read_service(data), AnswerData::Service(Box::new(expected)));
    let alias = service(0, b"\x01a\0", &[(4, &[1, 2, 3, 4])]);
    let expected = Service {
        target: "a".into(),
        ..Service::default()
    };
    assert_eq!(read_service(alias), AnswerData::Service(Box::new(expected)));
}

#[test]
fn service_bindings_that_contradict_themselves_say_nothing() {
    for data in [
        vec![],
        b"\0\x01".to_vec(),
        // A compressed target, keys out of order or twice, half an address, no address.
        service(1, b"\xc0\x0c", &[]),
        service(1, b"\0", &[(6, &[0x20; 16]), (4, &[1, 2, 3, 4])]),
        service(1, b"\0", &[(4, &[1, 2, 3, 4]), (4, &[1, 2, 3, 4])]),
        service(1, b"\0", &[(4, &[1, 2, 3])]),
        service(1, b"\0", &[(4, &[])]),
        b"\0\x01\0\0\x04\0\x09\x01".to_vec(),
    ] {
        assert_eq!(
            read_service(data.clone()),
            AnswerData::Malformed(65),
            "{data:?}"
        );
    }
    // What it offers could not be read, but that it offers.
    let data = service(1, b"\0", &[(5, &[0, 9, 1])]);
    let expected = Service {
        priority: 1,
        target: ".".into(),
        ech: true,
        damaged: true,
        ..Service::default()
    };
    assert_eq!(read_service(data), AnswerData::Service(Box::new(expected)));
}
