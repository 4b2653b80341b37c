//! Who sent each flow, by the apps' own word, compared with whom the daemon recorded.
//!
//! In: the lines that apps write about what they sent, and the export of flows. Out: what is not
//! recorded, and which owners are wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
};

use serde_json::Value;

use crate::handset::script::{Proto, Sent};

/// Protocol, the handset's side, the other side.
pub type Tuple = (Proto, SocketAddr, SocketAddr);

/// What the comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Flows that were made, told apart by tuple and owner.
    pub made: usize,
    /// Tuples with fewer records than owners.
    pub unrecorded: Vec<Tuple>,
    /// Tuples with an owner that did not send, and that UID.
    pub wrong: Vec<(Tuple, u64)>,
    /// Flows whose owner is named, and is right.
    pub owned: usize,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "distinct flows {}, not recorded {}, owned {}, wrong owners {}",
            self.made,
            self.unrecorded.len(),
            self.owned,
            self.wrong.len()
        )
    }
}

/// The owners that were recorded for each tuple, from an export of flows.
pub fn recorded(flows: &[Value]) -> BTreeMap<Tuple, Vec<Option<u64>>> {
    let mut recorded: BTreeMap<Tuple, Vec<Option<u64>>> = BTreeMap::new();
    for (tuple, uid) in flows.iter().filter_map(reduced) {
        recorded.entry(tuple).or_default().push(uid);
    }
    recorded
}

/// Compares what apps say they sent with the owners that were recorded.
pub fn compare(truth: &[Sent], recorded: &BTreeMap<Tuple, Vec<Option<u64>>>) -> Comparison {
    let mut made: BTreeMap<Tuple, BTreeSet<u64>> = BTreeMap::new();
    for sent in truth {
        let tuple = (sent.proto, sent.local, sent.remote);
        made.entry(tuple).or_default().insert(u64::from(sent.uid));
    }
    let mut comparison = Comparison::default();
    for (tuple, uids) in &made {
        let owners = recorded.get(tuple).map_or(&[][..], Vec::as_slice);
        comparison.made += uids.len();
        // A port that two apps used one after the other makes two flows.
        if owners.len() < uids.len() {
            comparison.unrecorded.push(*tuple);
        }
        let named: BTreeSet<u64> = owners.iter().flatten().copied().collect();
        comparison.owned += named.intersection(uids).count();
        let wrong = named.difference(uids).map(|uid| (*tuple, *uid));
        comparison.wrong.extend(wrong);
    }
    comparison
}

/// A recorded flow as its tuple and owner; none when it has no ports.
pub fn reduced(flow: &Value) -> Option<(Tuple, Option<u64>)> {
    let proto = match flow["proto"].as_str()? {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        _ => return None,
    };
    let side = |address: &str, port: &str| {
        let address = flow[address].as_str()?.parse().ok()?;
        let port = u16::try_from(flow[port].as_u64()?).ok()?;
        Some(SocketAddr::new(address, port))
    };
    let tuple = (proto, side("src", "sport")?, side("dst", "dport")?);
    Some((tuple, flow["owner"]["uid"].as_u64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_sees_what_is_wrong() {
        let local = SocketAddr::from(([192, 168, 43, 100], 40_000));
        let remote = SocketAddr::from(([13, 228, 10, 20], 7));
        let sent = |uid| Sent {
            proto: Proto::Tcp,
            local,
            remote,
            uid,
            datagrams: None,
        };
        let tuple = (Proto::Tcp, local, remote);
        let with = |owners: Vec<Option<u64>>| BTreeMap::from([(tuple, owners)]);
        let counts = |truth: &[Sent], recorded| {
            let found = compare(truth, &recorded);
            (found.unrecorded.len(), found.wrong.len(), found.owned)
        };
        assert_eq!(counts(&[sent(1)], with(vec![Some(1)])), (0, 0, 1));
        assert_eq!(counts(&[sent(1)], with(vec![None])), (0, 0, 0));
        assert_eq!(counts(&[sent(1)], with(vec![Some(2)])), (0, 1, 0));
        assert_eq!(counts(&[sent(1)], BTreeMap::new()), (1, 0, 0));
        assert_eq!(counts(&[sent(1), sent(2)], with(vec![Some(1)])), (1, 0, 1));
    }

    #[test]
    fn a_flow_is_read_as_the_export_documents_it() {
        let flow = serde_json::json!({
            "proto": "udp", "src": "2001:db8:43::100", "sport": 40_000,
            "dst": "2406:da18:10::20", "dport": 7, "owner": {"uid": 10_050}
        });
        let (tuple, uid) = reduced(&flow).expect("a flow");
        assert_eq!(
            (tuple.0, tuple.2.port(), uid),
            (Proto::Udp, 7, Some(10_050))
        );
        assert_eq!(reduced(&serde_json::json!({"proto": "icmp"})), None);
    }
}
