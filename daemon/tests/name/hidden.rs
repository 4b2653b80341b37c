//! Where names are asked for under encryption, and what says so.

use sakshi::name::{
    hidden::{Basis, Hidden, RESOLVERS, hidden},
    tls::{ClientHello, hello_message},
};

use crate::writer::Hello;

fn hello(sni: &str, alpn: &[&str]) -> ClientHello {
    let hello = Hello::default().sni(sni.as_bytes()).alpn(alpn);
    hello_message(&hello.message()).yes().expect("a hello")
}

#[test]
fn the_protocol_offered_says_more_than_the_port_and_that_more_than_the_name() {
    let google = "dns.google";
    for (alpn, quic, port, expected) in [
        (&["dot"][..], false, 443, Some((Hidden::Dot, Basis::Alpn))),
        (&["h2"], false, 853, Some((Hidden::Dot, Basis::Port))),
        (&["h2"], false, 443, Some((Hidden::Doh, Basis::Name))),
        (&["doq"], true, 8853, Some((Hidden::Doq, Basis::Alpn))),
        (&["h3"], true, 853, Some((Hidden::Doq, Basis::Port))),
        (&["h3"], true, 443, Some((Hidden::Doh, Basis::Name))),
    ] {
        assert_eq!(hidden(&hello(google, alpn), quic, port), expected);
    }
}

#[test]
fn other_servers_hide_no_names() {
    for name in [
        "www.example.com",
        "google",
        "xdns.google",
        "dns.google.example",
    ] {
        assert_eq!(hidden(&hello(name, &["h2"]), false, 443), None, "{name}");
    }
    assert_eq!(hidden(&ClientHello::default(), true, 443), None);
}

#[test]
fn names_of_the_list_are_written_as_hellos_are_read() {
    for name in RESOLVERS {
        assert_eq!(hello(name, &[]).sni.as_deref(), Some(name));
    }
}
