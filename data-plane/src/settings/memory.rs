//! How much memory a node may use.

use proto::quantity;

/// How much memory a node may use before it turns away what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxMemory {
    /// As much as there is.
    Unlimited,
    /// So many hundredths of what the machine has, or its control group allows.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl MaxMemory {
    pub(super) fn parse(text: &str) -> Result<MaxMemory, String> {
        if text == "unlimited" {
            return Ok(MaxMemory::Unlimited);
        }
        let Some(percent) = text.strip_suffix('%') else {
            return quantity::size(text).map(MaxMemory::Bytes);
        };
        let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
        percent.map(MaxMemory::Percent).ok_or_else(|| format!("{text:?} is not a share from 1% to 100%"))
    }
}
