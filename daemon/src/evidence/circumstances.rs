//! What steers where a name leads to: the network as the lab states it, and the resolvers that were
//! heard to answer.

use std::net::IpAddr;

use sakshi_rules::contact::Grade;
use serde::{Deserialize, Serialize};

/// What the lab states of the network of a session; what it does not state is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Circumstances {
    /// Country in which the traffic goes out into the internet, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// Operator of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Kind of network (open: `wifi`, `mobile`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// A resolver that was heard to give a contact's name to its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Its address.
    pub addr: IpAddr,
    /// Country of the address, where known.
    pub country: Option<String>,
    /// Organisation of the address, where known.
    pub organisation: Option<String>,
    /// How well the place is known.
    pub grade: Grade,
}
