//! A handset in a technician's hands: everything from this PC over adb; the lab's only.
//!
//! In: adb on the search path, a rooted handset. Out: our program there, a watch, its sealed bundle
//! here, and a handset as it was. adbd is not root on a handset as it is sold, so each command goes
//! through `su` there to `sakshi control --stdio` (decision 0240).

pub mod adb;
pub mod baseline;
pub mod clock;
pub mod error;
pub mod phone;
pub mod pull;
pub mod work;
