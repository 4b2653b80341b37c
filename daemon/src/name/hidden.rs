//! Where names are asked for under encryption: resolvers that are reached over TLS, HTTPS or QUIC.
//!
//! In: what a `ClientHello` offers, and to which port. Out: whether that is such a resolver, and what
//! says so. What was asked there is not to be seen; that it was asked there is. Nothing follows from an
//! address alone.

use super::tls::ClientHello;

/// Port of DNS over TLS (RFC 7858) and over QUIC (RFC 9250).
const PORT: u16 = 853;

/// How names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hidden {
    /// DNS over TLS.
    Dot,
    /// DNS over HTTPS.
    Doh,
    /// DNS over QUIC.
    Doq,
}

/// What says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The application protocol that the client offers.
    Alpn,
    /// The port, which is registered for it.
    Port,
    /// The server's name is one of [`RESOLVERS`]. The same server may serve pages.
    Name,
}

/// Names of resolvers over HTTPS: those of the templates that Chromium has
/// (`net/dns/public/doh_provider_entry.cc`, read in November 2026), and the two that Android knows
/// (`PrivateDnsConfiguration.h` of its module `DnsResolver`).
pub const RESOLVERS: [&str; 23] = [
    "chrome.cloudflare-dns.com",
    "chromium.dns.nextdns.io",
    "cloudflare-dns.com",
    "dns.google",
    "dns.levonet.sk",
    "dns.quad9.net",
    "dns10.quad9.net",
    "dns11.quad9.net",
    "dns64.dns.google",
    "doh-01.spectrum.com",
    "doh-02.spectrum.com",
    "doh.cleanbrowsing.org",
    "doh.cox.net",
    "doh.dns.sb",
    "doh.familyshield.opendns.com",
    "doh.opendns.com",
    "doh.quickline.ch",
    "doh.xfinity.com",
    "family.cloudflare-dns.com",
    "odvr.nic.cz",
    "protective.joindns4.eu",
    "public.dns.iij.jp",
    "security.cloudflare-dns.com",
];

/// Whether a hello begins a talk with a resolver. `quic`: it came in Initials.
pub fn hidden(hello: &ClientHello, quic: bool, port: u16) -> Option<(Hidden, Basis)> {
    let encrypted = if quic { Hidden::Doq } else { Hidden::Dot };
    let offers = |protocol| hello.offers(protocol);
    let named = |sni: &str| RESOLVERS.contains(&sni);
    if offers(if quic { "doq" } else { "dot" }) {
        Some((encrypted, Basis::Alpn))
    } else if port == PORT {
        Some((encrypted, Basis::Port))
    } else if hello.sni.as_deref().is_some_and(named) {
        Some((Hidden::Doh, Basis::Name))
    } else {
        None
    }
}
