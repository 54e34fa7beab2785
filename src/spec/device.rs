//! On what a model computes, as people write it: `cpu`, `cuda:N` or `cuda:N,M`.

use super::Problems;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// On what a model computes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSpec {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA devices that share the work, by their numbers; at least one, each once.
    Cuda(Vec<u16>),
}

impl DeviceSpec {
    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        *self == DeviceSpec::Cpu
    }

    /// Refuses more than one: `what` computes on one.
    pub(super) fn check_one(&self, path: &str, what: &str, problems: &mut Problems) {
        if self.count() > 1 {
            problems.add(path, format!("{what} computes on one device, found {self}"));
        }
    }

    /// How many devices beside the processor.
    pub fn count(&self) -> usize {
        match self {
            DeviceSpec::Cpu => 0,
            DeviceSpec::Cuda(numbers) => numbers.len(),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceSpec::Cpu => f.write_str("cpu"),
            DeviceSpec::Cuda(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
                write!(f, "cuda:{}", numbers.join(","))
            }
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "cpu" {
            return Ok(DeviceSpec::Cpu);
        }
        // As they are printed: no sign, no zero before.
        let number = |text: &str| text.parse().ok().filter(|n: &u16| n.to_string() == text);
        let numbers = text.strip_prefix("cuda:");
        let numbers = numbers.and_then(|text| text.split(',').map(number).collect());
        let numbers: Vec<u16> = numbers.ok_or_else(|| {
            format!(
                "expected \"cpu\", \"cuda:N\" or \"cuda:N,M\", devices' numbers, found {text:?}"
            )
        })?;
        let again = |at: &usize| numbers[..*at].contains(&numbers[*at]);
        match (1..numbers.len()).find(again) {
            Some(at) => {
                Err(format!("expected each device once, found {} twice in {text:?}", numbers[at]))
            }
            None => Ok(DeviceSpec::Cuda(numbers)),
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in ["cpu", "cuda:0", "cuda:1,0"] {
            assert_eq!(text.parse::<DeviceSpec>().unwrap().to_string(), text);
        }
        let wrong = ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:70000", "CPU"];
        for text in
            wrong.into_iter().chain(["cuda:+0", "cuda:007", "cuda:00", "cuda:0,", "cuda: 0"])
        {
            let said = text.parse::<DeviceSpec>().unwrap_err();
            assert!(said.starts_with("expected \"cpu\"") && said.contains(text), "{text}: {said}");
        }
        let said = "cuda:1,0,1".parse::<DeviceSpec>().unwrap_err();
        assert_eq!(said, "expected each device once, found 1 twice in \"cuda:1,0,1\"");
    }
}
