//! Which names an address has, from whom and how long.

use std::net::{IpAddr, Ipv4Addr};

use sakshi::{
    name::{
        dns::message,
        resolved::{
            ADDRESSES_MAX, CHAIN_MAX, GRACE_SECONDS, NAMES_PER_ADDRESS_MAX, Resolution,
            ResolvedNames, TTL_SECONDS_MAX,
        },
    },
    time::Timestamp,
};

use crate::writer::{QUERY, RESPONSE, Record, dns};

const ADDR: [u8; 4] = [192, 0, 2, 1];
const APP: Option<u32> = Some(10_055);
const OTHER: Option<u32> = Some(10_077);

fn ip() -> IpAddr {
    Ipv4Addr::from(ADDR).into()
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

/// Teaches the answer `name A 192.0.2.1` with a TTL of 100 seconds.
fn teach(table: &mut ResolvedNames, name: &'static str, at: i64, asked_by: Option<u32>) {
    learn(
        table,
        &[(name, 1)],
        &[Record::a(name, 100, ADDR)],
        at,
        asked_by,
    );
}

fn learn(
    table: &mut ResolvedNames,
    questions: &[(&str, u16)],
    answers: &[Record],
    at: i64,
    asked_by: Option<u32>,
) {
    let answer = message(&dns(1, RESPONSE, questions, answers)).unwrap();
    table.learn(&answer, second(at), asked_by, [9, 9, 9, 9].into(), (0, 1));
}

fn names(table: &ResolvedNames, at: i64) -> Vec<String> {
    table
        .names(ip(), second(at))
        .map(|name| name.name.to_string())
        .collect()
}

#[test]
fn aliases_lead_from_the_question_to_the_address() {
    let mut table = ResolvedNames::new();
    // Out of order, with a stranger's address and an address on the way.
    let answers = [
        Record::a("c.example", 300, ADDR),
        Record::cname("b.example", 40, "c.example"),
        Record::cname("a.example", 200, "b.example"),
        Record::a("stranger.example", 300, [192, 0, 2, 9]),
    ];
    learn(&mut table, &[("A.example", 1)], &answers, 1000, APP);
    let name = table.names(ip(), second(1000)).next().unwrap();
    assert_eq!((&*name.name, name.asked_by), ("a.example", APP));
    assert_eq!(name.expires, second(1000 + 40 + i64::from(GRACE_SECONDS)));
    assert_eq!(table.len(), 1, "the stranger was not asked for");
}

#[test]
fn a_loop_of_aliases_ends() {
    let mut table = ResolvedNames::new();
    let answers = [
        Record::cname("a.example", 9, "b.example"),
        Record::cname("b.example", 9, "a.example"),
    ];
    learn(&mut table, &[("a.example", 1)], &answers, 0, None);
    assert!(table.is_empty());
}

#[test]
fn a_chain_is_followed_to_its_bound() {
    let links: Vec<&'static str> = (0..=CHAIN_MAX + 1)
        .map(|link| &*format!("n{link}.example").leak())
        .collect();
    let found = |hops: usize| {
        let mut answers: Vec<_> = (0..hops)
            .map(|link| Record::cname(links[link], 9, links[link + 1]))
            .collect();
        answers.push(Record::a(links[hops], 9, ADDR));
        let mut table = ResolvedNames::new();
        learn(&mut table, &[(links[0], 1)], &answers, 0, None);
        !table.is_empty()
    };
    assert!(found(CHAIN_MAX));
    assert!(!found(CHAIN_MAX + 1));
}

#[test]
fn a_name_is_believed_from_its_answer_to_ttl_and_grace() {
    let mut table = ResolvedNames::new();
    teach(&mut table, "a.example", 1000, APP);
    let end = 1000 + 100 + i64::from(GRACE_SECONDS);
    assert!(names(&table, 999).is_empty(), "not learnt yet");
    assert_eq!(names(&table, 1000), ["a.example"]);
    assert_eq!(names(&table, end - 1), ["a.example"]);
    assert!(names(&table, end).is_empty());
    teach(&mut table, "a.example", end, APP);
    assert_eq!(names(&table, end), ["a.example"], "renewed");
}

#[test]
fn absurd_ttls_are_not_believed() {
    for (ttl, believed) in [
        (0, 0),
        (u32::MAX, 0),
        (i32::MAX.unsigned_abs(), TTL_SECONDS_MAX),
    ] {
        let mut table = ResolvedNames::new();
        let answer = [Record::a("a.example", ttl, ADDR)];
        learn(&mut table, &[("a.example", 1)], &answer, 0, None);
        let name = table.names(ip(), second(0)).next().unwrap();
        assert_eq!(name.expires, second(i64::from(believed + GRACE_SECONDS)));
    }
}

#[test]
fn two_names_are_candidates_and_the_askers_own_comes_first() {
    let mut table = ResolvedNames::new();
    assert_eq!(
        table.believed(ip(), second(0)).endpoint_name(APP),
        Resolution::None
    );
    teach(&mut table, "mine.example", 10, APP);
    teach(&mut table, "mine.example", 11, OTHER);
    let Resolution::One(one) = table.believed(ip(), second(20)).endpoint_name(APP) else {
        panic!("asked twice, still one name");
    };
    assert_eq!((&*one.name, one.asked_by), ("mine.example", APP));
    teach(&mut table, "theirs.example", 12, OTHER);
    let order = |uid| match table.believed(ip(), second(20)).endpoint_name(uid) {
        Resolution::Candidates(names) => names.iter().map(|n| n.name.to_string()).collect(),
        other => vec![format!("{other:?}")],
    };
    assert_eq!(order(APP), ["mine.example", "theirs.example"]);
    assert_eq!(order(OTHER), ["theirs.example", "mine.example"]);
    assert_eq!(order(None), ["theirs.example", "mine.example"]);
}

#[test]
fn only_a_successful_response_to_an_address_question_teaches() {
    let answer = [Record::a("a.example", 100, ADDR)];
    for (flags, qtype) in [
        (QUERY, 1),             // no response
        (RESPONSE | 3, 1),      // no such name
        (RESPONSE | 0x2800, 1), // an update
        (RESPONSE, 12),         // asked for a PTR
    ] {
        let mut table = ResolvedNames::new();
        let bytes = dns(1, flags, &[("a.example", qtype)], &answer);
        table.learn(
            &message(&bytes).unwrap(),
            second(0),
            None,
            [9, 9, 9, 9].into(),
            (0, 1),
        );
        assert!(table.is_empty(), "{flags:#x} {qtype}");
    }
}

#[test]
fn a_response_with_several_questions_teaches_nothing() {
    let mut table = ResolvedNames::new();
    let answer = [Record::a("a.example", 100, ADDR)];
    let questions = [("a.example", 1), ("b.example", 1)];
    learn(&mut table, &questions, &answer, 0, None);
    learn(&mut table, &[], &answer, 0, None);
    assert!(table.is_empty());
}

#[test]
fn a_ptr_answer_names_no_address() {
    let mut table = ResolvedNames::new();
    let reverse = "1.2.0.192.in-addr.arpa";
    let answers = [
        Record::ptr(reverse, 100, "claimed.example"),
        Record::a("claimed.example", 100, ADDR),
    ];
    learn(&mut table, &[(reverse, 12)], &answers, 0, None);
    learn(&mut table, &[(reverse, 255)], &answers, 0, None);
    assert!(table.is_empty());
}

#[test]
fn the_oldest_name_of_an_address_is_evicted_and_counted() {
    let mut table = ResolvedNames::new();
    let taught: Vec<&'static str> = (0..=NAMES_PER_ADDRESS_MAX)
        .map(|i| &*format!("n{i}.example").leak())
        .collect();
    for name in &taught {
        teach(&mut table, name, 0, None);
    }
    assert_eq!(table.evicted(), 1);
    let mut expected = taught[1..].to_vec();
    expected.reverse();
    assert_eq!(names(&table, 0), expected);
    // What has expired is no loss.
    teach(&mut table, "late.example", 1000, None);
    assert_eq!((names(&table, 1000).len(), table.evicted()), (1, 1));
}

#[test]
fn the_address_learnt_longest_ago_is_evicted_and_counted() {
    let mut table = ResolvedNames::new();
    teach(&mut table, "first.example", 0, None);
    for index in 0..ADDRESSES_MAX - 1 {
        let [.., high, low] = index.to_be_bytes();
        let answer = [Record::a("a.example", 100, [10, 0, high, low])];
        learn(&mut table, &[("a.example", 1)], &answer, 0, None);
    }
    teach(&mut table, "first.example", 0, None);
    assert_eq!((table.len(), table.evicted()), (ADDRESSES_MAX, 0));
    let answer = [Record::a("a.example", 100, [10, 1, 0, 0])];
    learn(&mut table, &[("a.example", 1)], &answer, 0, None);
    assert_eq!((table.len(), table.evicted()), (ADDRESSES_MAX, 1));
    assert_eq!(names(&table, 0), ["first.example"], "touched since");
    let oldest = Ipv4Addr::new(10, 0, 0, 0).into();
    assert_eq!(table.names(oldest, second(0)).count(), 0);
}

#[test]
fn answers_repeated_without_end_change_nothing_of_that_order() {
    let mut table = ResolvedNames::new();
    let mut learn_at = |addr: [u8; 4]| {
        let answer = [Record::a("a.example", 100, addr)];
        learn(&mut table, &[("a.example", 1)], &answer, 0, None);
        let oldest = Ipv4Addr::new(10, 0, 0, 0).into();
        (table.names(oldest, second(0)).count(), table.len())
    };
    learn_at([10, 0, 0, 0]);
    // Three times as many as may be remembered.
    for _ in 0..3 * ADDRESSES_MAX {
        learn_at(ADDR);
    }
    for index in 1..ADDRESSES_MAX - 1 {
        let [.., high, low] = index.to_be_bytes();
        learn_at([10, 0, high, low]);
    }
    assert_eq!(learn_at(ADDR), (1, ADDRESSES_MAX));
    assert_eq!(learn_at([10, 1, 0, 0]), (0, ADDRESSES_MAX));
    assert_eq!(names(&table, 0), ["a.example"]);
    assert_eq!(table.evicted(), 1);
}

#[test]
fn hinted_addresses_are_candidates_and_no_more() {
    let hint = |table: &mut ResolvedNames, kind: u16, name: &'static str, at| {
        let data = [&b"\0\x01\0\0\x04\0\x04"[..], &ADDR].concat();
        learn(
            table,
            &[(name, kind)],
            &[Record::raw(name, kind, 100, data)],
            at,
            APP,
        );
    };
    let mut table = ResolvedNames::new();
    hint(&mut table, 64, "_dns.resolver.example", 0);
    assert!(table.is_empty());
    hint(&mut table, 65, "www.example.com", 0);
    assert_eq!(names(&table, 1), ["www.example.com"]);
    let Resolution::Candidates(hinted) = table.believed(ip(), second(1)).endpoint_name(APP) else {
        panic!("a candidate");
    };
    assert!(matches!(hinted.as_slice(), [one] if one.hint));
    // An answer with the address itself says more, and a later hint takes nothing from it.
    teach(&mut table, "www.example.com", 2, APP);
    hint(&mut table, 65, "www.example.com", 3);
    assert!(matches!(
        table.believed(ip(), second(4)).endpoint_name(APP),
        Resolution::One(one) if !one.hint
    ));
}

#[test]
fn names_that_cover_encrypted_hellos_are_remembered_while_offered() {
    let mut table = ResolvedNames::new();
    let list = crate::dns::ech_list("covers.example");
    let mut data = b"\0\x01\0\0\x05".to_vec();
    data.extend(crate::writer::vector(2, &list));
    let record = Record::raw("hidden.example", 65, 100, data);
    learn(&mut table, &[("hidden.example", 65)], &[record], 0, APP);
    let until = 100 + i64::from(GRACE_SECONDS);
    assert!(table.covers("covers.example", second(until - 1)));
    assert!(!table.covers("covers.example", second(until)));
    assert!(!table.covers("hidden.example", second(1)));
    assert!(table.is_empty());
}
