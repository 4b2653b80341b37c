//! Flows: who talks to whom, how much, how far it got.
