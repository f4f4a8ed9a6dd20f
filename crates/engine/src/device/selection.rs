//! The names of devices: what the option `device` asks for, and what it comes to.

use std::fmt;

use crate::error::{Error, Result};

/// One device that something can run on, such as `cpu` or `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    /// `cpu`, `cuda`, `tensorrt`, … as in [`DeviceInfo::kind`](super::DeviceInfo::kind).
    pub kind: &'static str,
    /// Which of several of its kind, from 0; `None` for a kind that is asked for without a number.
    pub index: Option<u16>,
}

impl DeviceId {
    /// The processor.
    pub const CPU: DeviceId = DeviceId { kind: "cpu", index: None };

    /// An NVIDIA card, in the driver's order (which `CUDA_VISIBLE_DEVICES` changes).
    pub const fn cuda(index: u16) -> Self {
        DeviceId { kind: "cuda", index: Some(index) }
    }

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        self.kind == "cpu"
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}:{index}", self.kind),
            None => f.write_str(self.kind),
        }
    }
}

/// The devices that a model shall run on: what [`choose`](super::choose) came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// At least one, each once, all of one kind; with several a replica of the model goes to each.
    pub devices: Vec<DeviceId>,
    /// Why `auto` fell back to the CPU although there is a card: to be told to the user once.
    pub warning: Option<String>,
}

impl Selection {
    /// One device, without a warning.
    pub fn one(device: DeviceId) -> Self {
        Selection { devices: vec![device], warning: None }
    }

    /// The first device.
    pub fn primary(&self) -> DeviceId {
        self.devices.first().copied().unwrap_or(DeviceId::CPU)
    }
}

impl fmt::Display for Selection {
    /// `cpu`, `cuda:1`, or `cuda:0,2` for several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut devices = self.devices.iter();
        devices.next().unwrap_or(&DeviceId::CPU).fmt(f)?;
        devices.filter_map(|device| device.index).try_for_each(|index| write!(f, ",{index}"))
    }
}

/// What the option `device` asks for, read from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `auto`: the best that works.
    Auto,
    /// `cuda`, `tensorrt`, `cpu`, …: any one of the kind.
    Kind(&'static str),
    /// `cuda:1` or `cuda:0,1`: these, and no others. At least one, each once.
    Indices(&'static str, Vec<u16>),
    /// `cuda:*`: all of the kind that can be used.
    All(&'static str),
}

/// A kind that can be asked for with numbers.
fn is_countable(kind: &str) -> bool {
    kind != "cpu"
}

impl Request {
    /// Reads `name`; `option` is where it was given, `kinds` what exists beside `auto`.
    ///
    /// Several devices of one kind (`cuda:0,1`, `cuda:*`) are for `cuda` only: the other kinds run one session.
    ///
    /// # Errors
    /// `INVALID_OPTION` with the names that exist.
    pub fn parse(name: &str, option: &str, kinds: &[&'static str]) -> Result<Self> {
        Self::read(name, kinds).ok_or_else(|| {
            let allowed: Vec<&str> = std::iter::once("auto").chain(kinds.iter().copied()).collect();
            let message = format!(
                "{option} is {name:?}, but must be one of {}; a GPU may have an index, as in cuda:1, and there may be \
                 several, as in cuda:0,1 or cuda:*.",
                allowed.join(", ")
            );
            Error::invalid_option(option, message).with("value", name).with("allowed", allowed)
        })
    }

    fn read(name: &str, kinds: &[&'static str]) -> Option<Self> {
        let (kind, indices) = name.split_once(':').map_or((name, None), |(kind, indices)| (kind, Some(indices)));
        if name == "auto" {
            return Some(Request::Auto);
        }
        let kind = *kinds.iter().find(|known| **known == kind)?;
        let Some(indices) = indices else { return Some(Request::Kind(kind)) };
        if !is_countable(kind) {
            return None;
        }
        if indices == "*" {
            return (kind == "cuda").then_some(Request::All(kind));
        }
        let mut read = Vec::new();
        for index in indices.split(',') {
            // `parse` takes a plus sign as well.
            let index =
                index.parse::<u16>().ok().filter(|_| index.starts_with(|first: char| first.is_ascii_digit()))?;
            if read.contains(&index) {
                return None;
            }
            read.push(index);
        }
        (read.len() == 1 || kind == "cuda").then_some(Request::Indices(kind, read))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::error::Code;

    const KINDS: &[&str] = &["cpu", "cuda", "tensorrt", "metal"];

    #[test]
    fn names() {
        let parse = |name| Request::parse(name, "device", KINDS).unwrap();
        assert_eq!(parse("auto"), Request::Auto);
        assert_eq!(parse("cpu"), Request::Kind("cpu"));
        assert_eq!(parse("cuda"), Request::Kind("cuda"));
        assert_eq!(parse("cuda:1"), Request::Indices("cuda", vec![1]));
        assert_eq!(parse("cuda:2,0"), Request::Indices("cuda", vec![2, 0]));
        assert_eq!(parse("cuda:*"), Request::All("cuda"));
        assert_eq!(parse("tensorrt:3"), Request::Indices("tensorrt", vec![3]));
    }

    #[test]
    fn what_is_no_name() {
        for name in [
            "",
            "gpu",
            "CPU",
            "cpu:0",
            "cpu:*",
            "auto:1",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:+1",
            "cuda:1:2",
            "cuda:99999",
            "cuda:0,",
            "cuda:,0",
            "cuda:0,0",
            "cuda:0, 1",
            "cuda:**",
            "tensorrt:*",
            "tensorrt:0,1",
        ] {
            let error = Request::parse(name, "device", KINDS).unwrap_err();
            assert_eq!(error.code, Code::InvalidOption, "{name}");
            assert!(error.message.contains("tensorrt"), "{}", error.message);
        }
    }

    #[test]
    fn several_are_written_as_one_name() {
        let several = |indices: &[u16]| Selection {
            devices: indices.iter().copied().map(DeviceId::cuda).collect(),
            warning: None,
        };
        assert_eq!(several(&[0, 2]).to_string(), "cuda:0,2");
        assert_eq!(several(&[3]).to_string(), "cuda:3");
        assert_eq!(Selection::one(DeviceId::CPU).to_string(), "cpu");
    }

    #[test]
    fn ids_are_written_as_they_are_asked_for() {
        assert_eq!(DeviceId::CPU.to_string(), "cpu");
        assert_eq!(DeviceId::cuda(3).to_string(), "cuda:3");
        assert_eq!(Selection::one(DeviceId::cuda(1)).primary(), DeviceId::cuda(1));
    }
}
