//! The `name` room at its boundary: what writers of this test write is what its parsers read, and
//! no bytes make them panic or print a control character.

mod corpus;
mod dns;
mod dtls;
mod hidden;
mod identify;
mod ports;
mod quic;
mod reading;
mod resolved;
mod robustness;
mod tls;
mod writer;
