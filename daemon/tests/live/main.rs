//! Live capture in network namespaces without an uplink. Needs root, `ip` and iptables; without
//! them each test says that it was not run, except where `CI` is set: there it fails.

mod closes;
mod inbound;
mod lab;
mod packets;
mod ring;
mod rules;
mod surroundings;
