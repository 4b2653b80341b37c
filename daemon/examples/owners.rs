//! Shows what the exactness layer reads on this machine: a line of JSON for each new socket.
//!
//! `owners [SECONDS] [BPFFS]`, as root. For trying a kernel; the daemon does the same in `run`.

use std::{error::Error, path::PathBuf, thread, time::Duration};

use sakshi::{
    capture::{exactness::Layer, nflog::rules::Commands},
    platform::clock::SystemClock,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u32 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let bpffs = arguments.next().map(PathBuf::from);
    let (mut layer, mut inbox) = Layer::load(&Commands::default(), bpffs.as_deref())?;
    layer.attach()?;
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        inbox.empty(
            &SystemClock,
            &mut |event| match serde_json::to_string(&event) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("{error}"),
            },
        );
    }
    Ok(layer.remove()?)
}
