//! Answers that are read long behind the flows that they name (decision 0196).

use sakshi::{
    evidence::body::Record,
    input::{Event, ReadLate},
};

use super::stream::{Kind, Witness, at, core, dns, get, tcp, udp};

const SYSTEM: Option<u32> = Some(1000);
const RESOLVER: &str = "192.168.43.1:53";
const SERVER: &str = "13.228.10.20:4000";

fn late(millis: i64, since: i64) -> Event {
    Event::ReadLate(ReadLate {
        at: at(millis),
        since: at(since),
    })
}

/// A system process asks and connects; its answer is read `answer` milliseconds into the stream.
fn asked_and_connected(witness: &mut Witness, told: &[(i64, i64)], answer: i64) {
    let name = "slow.example";
    witness.see(&udp(0, SYSTEM, 40_000, RESOLVER, false, &dns(name, None)));
    witness.see(&tcp(10, SYSTEM, 41_000, SERVER, Kind::Ack, b"\0binary"));
    for &(millis, since) in told {
        witness.hear(&late(millis, since));
        witness.tick(millis);
    }
    let bytes = dns(name, Some([13, 228, 10, 20]));
    witness.see(&udp(answer, None, 40_000, RESOLVER, true, &bytes));
    witness.hear(&late(answer + 1, answer + 1));
    witness.tick(answer + 6_000);
    witness.finish();
}

/// What each contact with the server is called.
fn named(witness: &Witness) -> Vec<Option<String>> {
    let of_server = |record: &Record| match record {
        Record::Contact(contact) if SERVER.starts_with(&contact.endpoint.addr.to_string()) => {
            Some(contact.endpoint.name.clone())
        }
        _ => None,
    };
    witness.records.iter().filter_map(of_server).collect()
}

#[test]
fn an_answer_that_was_read_late_names_the_flow_that_it_was_for() {
    let mut witness = Witness::new(core(""));
    asked_and_connected(&mut witness, &[(160, 5), (5_600, 8)], 5_700);
    let names = named(&witness);
    assert_eq!(
        names,
        [Some("slow.example".to_owned())],
        "judged once, with its name"
    );
}

#[test]
fn an_answer_that_came_after_the_flow_does_not_name_it() {
    for told in [&[][..], &[(160, 5), (3_000, 2_900)]] {
        let mut witness = Witness::new(core(""));
        asked_and_connected(&mut witness, told, 3_000);
        let names = named(&witness);
        assert_eq!(names, [None], "{told:?}");
    }
}

#[test]
fn what_names_itself_does_not_wait_for_the_reader() {
    let mut witness = Witness::new(core(""));
    witness.hear(&late(200, 0));
    witness.see(&tcp(
        210,
        SYSTEM,
        41_000,
        SERVER,
        Kind::Ack,
        &get("own.example"),
    ));
    witness.tick(211);
    assert_eq!(named(&witness), [Some("own.example".to_owned())]);
}
