//! `sakshi seal`: closes a case for good and writes it as one file.
//!
//! In: the folder of a case that nobody writes. Out: a bundle. Whatever keeps a case from being
//! sealed is looked for before anything is written; whatever happens afterwards, the same command
//! goes on where it was interrupted.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use sha2::{Digest, Sha256};

use super::{SessionError, recover};
use crate::{
    evidence::{
        Hash, LastSession, Reader, Signing, Store, StoreError,
        authority::{Recorded, recorded},
        bundle::{Also, Bundle, SealedBody, Tool, check_files},
    },
    platform::clock::Clock,
};

/// The file of the running program.
const PROGRAM: &str = "/proc/self/exe";

/// Seals the case in `dir`, or goes on with a seal that was interrupted, and gives the bundle to be
/// written. `progress` is told of bytes that were read.
pub fn seal(
    dir: &Path,
    also: Also,
    clock: &Arc<dyn Clock>,
    progress: &mut dyn FnMut(u64),
) -> Result<Bundle, SessionError> {
    let signing = Signing::timed(Arc::clone(clock));
    let reader = Reader::open(dir)?;
    if !matches!(recorded(&reader)?, Recorded::Authority { .. }) {
        return Err(SessionError::NoAuthority(dir.to_owned()));
    }
    drop(reader);
    match Store::open(dir, &signing) {
        Ok(store) => {
            if !store.case().meta().is_signed() {
                return Err(StoreError::Unsigned(dir.to_owned()).into());
            }
            let head = store.head();
            // The lock is given up while files and journal are read: reading takes it as well.
            drop(store);
            check_files(&Reader::open(dir)?, progress)?;
            let (before, looked_at) = recover::before(dir, clock.now())?;
            let mut store = Store::open(dir, &signing)?;
            if store.head() != head || looked_at != head {
                return Err(StoreError::Busy(dir.to_owned()).into());
            }
            recover::make_good(&mut store, before, clock.now())?;
            let LastSession::Ended { session } = store.last_session() else {
                return Err(SessionError::NothingToSeal(dir.to_owned()));
            };
            store.seal(&SealedBody {
                at: clock.now(),
                session,
                tool: this_program()?,
            })?;
        }
        // Perhaps the bundle was never written, or is wanted again.
        Err(StoreError::Sealed(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Bundle::open(dir, also, &signing, progress)?)
}

fn this_program() -> Result<Tool, SessionError> {
    let failed = |source| SessionError::Machine {
        what: "the running program cannot be read",
        source,
    };
    let mut file = File::open(PROGRAM).map_err(failed)?;
    let mut sha = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk).map_err(failed)? {
            0 => break,
            read => sha.update(chunk.get(..read).unwrap_or_default()),
        }
    }
    Ok(Tool {
        sha256: Hash::from_sha256(sha),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
