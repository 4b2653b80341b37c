//! Where an address is, with grade and basis.
