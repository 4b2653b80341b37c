//! The lists that AWS, Google Cloud, Azure and Oracle publish of their own addresses.
//!
//! In: parsed JSON. Out: lines with regions; the country is from the reviewed tables in
//! `daemon/data/`. A region that is in none of them keeps its name, and is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{Draft, PublishedError, code, day, entry, moment};
use crate::{
    locate::{
        build::{Listed, Piece},
        dataset::{CountryCode, Location, NO_COUNTRY, UNKNOWN_COUNTRY},
        prefix::Prefix,
    },
    time::Timestamp,
};

/// The reviewed tables: provider and region, or border group, to country.
const REGIONS: &str = include_str!("../../../data/cloud-regions.csv");
const BORDER_GROUPS: &str = include_str!("../../../data/aws-border-groups.csv");

/// What Azure's tags for a region begin with; no other tag tells one reliably.
const AZURE_REGION_TAG: &str = "AzureCloud.";
/// Its content network.
const AZURE_EDGE_TAG: &str = "AzureFrontDoor";

#[derive(Deserialize)]
struct RegionRow {
    provider: String,
    region: String,
    country: String,
}

#[derive(Deserialize)]
struct GroupRow {
    border_group: String,
    country: String,
}

/// Countries of one provider's regions (of AWS's border groups, too).
fn countries(provider: &str) -> BTreeMap<String, CountryCode> {
    let country = |text: &str| code(text).unwrap_or(NO_COUNTRY);
    let mut found = BTreeMap::new();
    for row in csv::Reader::from_reader(REGIONS.as_bytes()).deserialize::<RegionRow>() {
        if let Ok(row) = row
            && row.provider == provider
        {
            found.insert(row.region, country(&row.country));
        }
    }
    if provider == "aws" {
        for row in csv::Reader::from_reader(BORDER_GROUPS.as_bytes())
            .deserialize::<GroupRow>()
            .flatten()
        {
            found.insert(row.border_group, country(&row.country));
        }
    }
    found
}

#[derive(Deserialize)]
struct Aws {
    #[serde(rename = "syncToken")]
    sync_token: String,
    #[serde(rename = "createDate")]
    create_date: String,
    prefixes: Vec<AwsEntry>,
    #[serde(default)]
    ipv6_prefixes: Vec<AwsEntry>,
}

#[derive(Deserialize)]
struct AwsEntry {
    #[serde(alias = "ip_prefix", alias = "ipv6_prefix")]
    prefix: String,
    region: String,
    service: String,
    network_border_group: String,
}

#[derive(Deserialize)]
struct Gcp {
    #[serde(rename = "syncToken")]
    sync_token: Option<String>,
    #[serde(rename = "creationTime")]
    creation_time: Option<String>,
    prefixes: Vec<GcpEntry>,
}

#[derive(Deserialize)]
struct GcpEntry {
    #[serde(alias = "ipv4Prefix", alias = "ipv6Prefix")]
    prefix: String,
    scope: String,
    #[serde(default)]
    service: String,
}

#[derive(Deserialize)]
struct Azure {
    #[serde(rename = "changeNumber")]
    change_number: u64,
    values: Vec<AzureTag>,
}

#[derive(Deserialize)]
struct AzureTag {
    name: String,
    properties: AzureProperties,
}

#[derive(Deserialize)]
struct AzureProperties {
    #[serde(rename = "addressPrefixes")]
    prefixes: Vec<String>,
}

#[derive(Deserialize)]
struct Oracle {
    last_updated_timestamp: String,
    regions: Vec<OracleRegion>,
}

#[derive(Deserialize)]
struct OracleRegion {
    region: String,
    cidrs: Vec<OracleEntry>,
}

#[derive(Deserialize)]
struct OracleEntry {
    cidr: String,
    #[serde(default)]
    tags: Vec<String>,
}

/// Lines of one provider, with the regions that no table has.
struct Lines {
    countries: BTreeMap<String, CountryCode>,
    listed: Vec<Listed>,
    unknown: BTreeSet<String>,
    max: usize,
}

impl Lines {
    fn of(provider: &str, max: usize) -> Self {
        Self {
            countries: countries(provider),
            listed: Vec::new(),
            unknown: BTreeSet::new(),
            max,
        }
    }

    fn push(
        &mut self,
        prefix: &str,
        region: &str,
        group: &str,
        service: &str,
    ) -> Result<(), PublishedError> {
        if self.listed.len() >= self.max {
            return Err(PublishedError::TooMany(self.max));
        }
        let at = format!("entry {}", self.listed.len() + 1);
        let prefix =
            Prefix::parse(prefix).ok_or_else(|| entry(at, "a prefix in CIDR notation", prefix))?;
        let everywhere = ["GLOBAL", "global"].contains(&group);
        let country = if everywhere {
            NO_COUNTRY
        } else {
            self.countries.get(group).copied().unwrap_or_else(|| {
                self.unknown.insert(group.to_owned());
                UNKNOWN_COUNTRY
            })
        };
        self.listed.push(Listed {
            prefix,
            location: Location {
                region: region.to_owned(),
                border_group: group.to_owned(),
                country,
            },
            service: service.to_owned(),
        });
        Ok(())
    }

    fn draft(self, key: &str, name: &str) -> Draft {
        let mut draft = Draft {
            pieces: vec![Piece::Regions {
                key: key.to_owned(),
                name: name.to_owned(),
                lines: self.listed,
            }],
            ..Draft::default()
        };
        if !self.unknown.is_empty() {
            let names: Vec<&str> = self.unknown.iter().map(String::as_str).collect();
            draft.notes.push(format!(
                "in no table of regions, so their country is not taken from the list: {}",
                names.join(", ")
            ));
        }
        draft
    }
}

/// Reads the list of whichever of the four it is.
pub(super) fn read(value: Value, file: &str, max: usize) -> Result<Draft, PublishedError> {
    if value.get("createDate").is_some() {
        aws(serde_json::from_value(value)?, max)
    } else if value.get("prefixes").is_some() {
        gcp(serde_json::from_value(value)?, max)
    } else if value.get("values").is_some() {
        azure(&serde_json::from_value(value)?, file, max)
    } else {
        oracle(&serde_json::from_value(value)?, max)
    }
}

/// Seconds since 1970, as the `syncToken` of AWS (Google's are milliseconds).
fn seconds(token: &str) -> Option<Timestamp> {
    let number: i64 = token.parse().ok()?;
    let micros = if number > 100_000_000_000 {
        number.checked_mul(1_000)?
    } else {
        number.checked_mul(1_000_000)?
    };
    (micros < i64::MAX / 1_000).then(|| Timestamp::from_micros(micros))
}

fn aws(list: Aws, max: usize) -> Result<Draft, PublishedError> {
    let mut lines = Lines::of("aws", max);
    for line in list.prefixes.iter().chain(&list.ipv6_prefixes) {
        let group = &line.network_border_group;
        lines.push(&line.prefix, &line.region, group, &line.service)?;
    }
    Ok(Draft {
        kind: "AWS's list",
        name: "aws-ip-ranges".to_owned(),
        version: Some(list.create_date),
        published: seconds(&list.sync_token),
        licence: Some("published by Amazon without a licence"),
        attribution: "AWS IP address ranges, Amazon Web Services, Inc.",
        url: "https://ip-ranges.amazonaws.com/ip-ranges.json",
        ..lines.draft("aws", "Amazon Web Services")
    })
}

fn gcp(list: Gcp, max: usize) -> Result<Draft, PublishedError> {
    let mut lines = Lines::of("gcp", max);
    for line in &list.prefixes {
        lines.push(&line.prefix, &line.scope, &line.scope, &line.service)?;
    }
    let published = list
        .sync_token
        .as_deref()
        .and_then(seconds)
        .or_else(|| moment(list.creation_time.as_deref()?));
    Ok(Draft {
        kind: "Google Cloud's list",
        name: "gcp-cloud".to_owned(),
        version: list.creation_time.or_else(|| published.map(day)),
        published,
        licence: Some("published by Google without a licence"),
        attribution: "Google Cloud IP address ranges, Google LLC",
        url: "https://www.gstatic.com/ipranges/cloud.json",
        ..lines.draft("gcp", "Google Cloud")
    })
}

fn azure(list: &Azure, file: &str, max: usize) -> Result<Draft, PublishedError> {
    let mut lines = Lines::of("azure", max);
    for tag in &list.values {
        let region = tag.name.strip_prefix(AZURE_REGION_TAG);
        let (region, service) = match region {
            Some(region) => (region, ""),
            None if tag.name.starts_with(AZURE_EDGE_TAG) => ("GLOBAL", AZURE_EDGE_TAG),
            None => continue,
        };
        for prefix in &tag.properties.prefixes {
            lines.push(prefix, region, region, service)?;
        }
    }
    // The date is in the name only: `ServiceTags_Public_20260817.json`.
    let dated = file.rsplit(['_', '/']).next().unwrap_or(file);
    Ok(Draft {
        kind: "Azure's list",
        name: "azure-service-tags".to_owned(),
        version: Some(list.change_number.to_string()),
        published: moment(dated.trim_end_matches(".json")),
        licence: Some("published by Microsoft without a licence"),
        attribution: "Azure IP Ranges and Service Tags, Microsoft Corporation",
        url: "https://www.microsoft.com/download/details.aspx?id=56519",
        ..lines.draft("azure", "Microsoft Azure")
    })
}

fn oracle(list: &Oracle, max: usize) -> Result<Draft, PublishedError> {
    let mut lines = Lines::of("oracle", max);
    for region in &list.regions {
        for line in &region.cidrs {
            let service = line.tags.first().map_or("", String::as_str);
            lines.push(&line.cidr, &region.region, &region.region, service)?;
        }
    }
    // `2026-08-17T16:49:45.339466`, in UTC but without saying so.
    let stamp = list.last_updated_timestamp.trim_end_matches('Z').to_owned();
    Ok(Draft {
        kind: "Oracle's list",
        name: "oracle-ip-ranges".to_owned(),
        published: moment(&format!("{stamp}Z")),
        version: Some(stamp),
        licence: Some("published by Oracle without a licence"),
        attribution: "Oracle Cloud Infrastructure public IP ranges, Oracle Corporation",
        url: "https://docs.oracle.com/iaas/tools/public_ip_ranges.json",
        ..lines.draft("oracle", "Oracle Cloud")
    })
}
