//! On what a model computes, as people write it: `cpu` or `cuda:N`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// On what a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSpec {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA device, by its number.
    Cuda(u16),
}

impl DeviceSpec {
    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        *self == DeviceSpec::Cpu
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Cpu => f.write_str("cpu"),
            DeviceSpec::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.strip_prefix("cuda:")?.parse().ok().map(DeviceSpec::Cuda);
        match text {
            "cpu" => Ok(DeviceSpec::Cpu),
            _ => number(text).ok_or_else(|| {
                format!("expected \"cpu\" or \"cuda:N\", a device's number, found {text:?}")
            }),
        }
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceSpec> for String {
    fn from(device: DeviceSpec) -> String {
        device.to_string()
    }
}
