//! Options that state what the daemon cannot see of the network.

use clap::Args;

use crate::evidence::Circumstances;

/// What the lab states of the network, recorded with the session.
#[derive(Debug, Clone, Args)]
pub struct CircumstanceArgs {
    /// Country in which the traffic goes out into the internet, as the lab states it, such as IN.
    #[arg(long, value_name = "COUNTRY", value_parser = country)]
    pub egress: Option<String>,
    /// Operator of the network, as the lab states it.
    #[arg(long, value_name = "NAME")]
    pub operator: Option<String>,
    /// Kind of network, as the lab states it, such as wifi or mobile.
    #[arg(long, value_name = "KIND")]
    pub network: Option<String>,
}

impl CircumstanceArgs {
    /// What is recorded; none where nothing was stated.
    pub fn stated(&self) -> Option<Circumstances> {
        let stated = Circumstances {
            egress: self.egress.clone(),
            operator: self.operator.clone(),
            network: self.network.clone(),
        };
        (stated != Circumstances::default()).then_some(stated)
    }
}

/// A country code as ISO 3166-1 writes it.
fn country(text: &str) -> Result<String, String> {
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err("expected a country code in capitals, such as IN".to_owned())
    }
}
