//! Contacts to judge: an ordinary one, and any.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sakshi_rules::contact::{
    AppClass, AppProtocol, Contact, Endpoint, Grade, Name, NameSource, Owner, Package, Place,
    PlaceBasis, Proto,
};

/// A preloaded app of the sample vendor that sent over TLS to AWS Singapore.
pub fn ordinary_contact() -> Contact {
    Contact {
        steered: None,
        tunnelled: false,
        owner: Owner {
            uid: Some(10_100),
            user: Some(0),
            basis: "nflog".into(),
            class: AppClass::Preloaded,
            packages: vec![Package {
                name: "com.sample.cloud".into(),
                class: AppClass::Preloaded,
                signers: vec!["ab".repeat(32)],
            }],
            may_act_for_app: false,
        },
        endpoint: Endpoint {
            addr: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)),
            embedded_ipv4: None,
            port: Some(443),
            proto: Proto::Tcp,
            app_protocol: AppProtocol::Tls,
            name: None,
            names: Vec::new(),
            categories: None,
        },
        place: Place {
            country: Some("SG".into()),
            provider: Some("aws".into()),
            region: Some("ap-southeast-1".into()),
            grade: Grade::High,
            basis: vec![basis("aws", "SG ap-southeast-1", 24)],
            ..Place::unknown()
        },
        phase: String::new(),
        payload: true,
        cleartext: Some(false),
        bytes_out: 1000,
        day: "2026-11-24".into(),
        minute: Some(270),
        screen_on: None,
        idle: None,
    }
}

fn basis(source: &str, says: &str, age_days: i64) -> PlaceBasis {
    PlaceBasis {
        source: source.into(),
        version: "2026-10-31".into(),
        sha256: Some("0".repeat(64)),
        prefix: "203.0.113.0/24".into(),
        says: says.into(),
        age_days,
    }
}

fn any_class() -> impl Strategy<Value = AppClass> {
    select(vec![
        AppClass::Preloaded,
        AppClass::UpdatedPreload,
        AppClass::DeletablePreload,
        AppClass::User,
        AppClass::System,
        AppClass::Unknown,
    ])
}

fn any_package() -> impl Strategy<Value = Package> {
    let name = prop_oneof![
        select(vec![
            "com.sample.cloud",
            "com.oppo.market",
            "com.a",
            "org.b"
        ])
        .prop_map(String::from),
        any::<String>(),
    ];
    let signer = prop_oneof![Just("ab".repeat(32)), any::<String>()];
    (name, any_class(), vec(signer, 0..3)).prop_map(|(name, class, signers)| Package {
        name,
        class,
        signers,
    })
}

fn any_owner() -> impl Strategy<Value = Owner> {
    let who = (
        option::weighted(0.8, any::<u32>()),
        option::of(0u32..20),
        any::<String>(),
    );
    (
        who,
        any_class(),
        vec(any_package(), 0..5),
        proptest::bool::weighted(0.2),
    )
        .prop_map(
            |((uid, user, basis), class, packages, may_act_for_app)| Owner {
                uid,
                user,
                basis,
                class,
                packages,
                may_act_for_app,
            },
        )
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let addr = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
    ];
    let proto = select(vec![Proto::Tcp, Proto::Udp, Proto::Icmp, Proto::Other]);
    let speaks = select(vec![
        AppProtocol::Dns,
        AppProtocol::Http,
        AppProtocol::Tls,
        AppProtocol::Quic,
        AppProtocol::Unknown,
    ]);
    let source = select(vec![
        NameSource::Tls,
        NameSource::Quic,
        NameSource::Http,
        NameSource::Dns,
        NameSource::Resolved,
    ]);
    let name = (any::<String>(), source).prop_map(|(name, source)| Name {
        name,
        source,
        strength: None,
        packet: None,
    });
    let names = (
        option::of(any::<String>()),
        vec(name, 0..4),
        option::of(vec(any::<String>(), 0..3)),
    );
    (addr, option::of(any::<u16>()), proto, speaks, names).prop_map(
        |(addr, port, proto, app_protocol, (name, names, categories))| Endpoint {
            addr,
            embedded_ipv4: None,
            port,
            proto,
            app_protocol,
            name,
            names,
            categories,
        },
    )
}

fn any_place() -> impl Strategy<Value = Place> {
    let country = prop_oneof![
        select(vec!["IN", "SG", "CN", "TH"]).prop_map(String::from),
        any::<String>()
    ];
    let grade = select(vec![
        Grade::None,
        Grade::NotLocatable,
        Grade::Conflict,
        Grade::Low,
        Grade::Medium,
        Grade::High,
    ]);
    let says = (any::<String>(), any::<i64>()).prop_map(|(says, age)| basis("list", &says, age));
    let provider = (
        option::of(select(vec!["aws", "gcp"])),
        option::of(any::<String>()),
    );
    let organisation = (option::of(any::<u32>()), option::of(any::<String>()));
    (
        option::weighted(0.8, country),
        provider,
        organisation,
        grade,
        vec(says, 0..3),
    )
        .prop_map(
            |(country, (provider, region), (asn, organisation), grade, basis)| Place {
                country,
                provider: provider.map(String::from),
                region,
                asn,
                asn_country: None,
                organisation,
                grade,
                basis,
            },
        )
}

/// Any contact, sensible or not.
pub fn any_contact() -> impl Strategy<Value = Contact> {
    let day = prop_oneof![Just("2026-11-24".to_owned()), any::<String>()];
    let phase = prop_oneof![Just("idle".to_owned()), any::<String>()];
    let seen = (
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
    );
    let sent = (
        proptest::bool::weighted(0.8),
        option::of(any::<bool>()),
        any::<u64>(),
    );
    let parts = (any_owner(), any_endpoint(), any_place(), phase, sent, day);
    (parts, seen).prop_map(
        |(
            (owner, endpoint, place, phase, (payload, cleartext, bytes_out), day),
            (minute, screen_on, idle),
        )| Contact {
            steered: None,
            tunnelled: false,
            owner,
            endpoint,
            place,
            phase,
            payload,
            cleartext,
            bytes_out,
            day,
            minute,
            screen_on,
            idle,
        },
    )
}
