//! Quantities with a unit: processor time, memory, time spans.

use std::{fmt, str::FromStr};

use crate::{TextError, TextFormat, text_type_traits};

fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Processor time in thousandths of a core: `2`, `0.5` or `100m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u64);

impl Cpu {
    const EXPECTED: &str = "an amount of processor time: cores as 2 or 0.5, or thousandths of a core as 100m";

    /// Thousandths of a core.
    pub const fn millicores(self) -> u64 {
        self.0
    }
}

impl FromStr for Cpu {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let parse = || {
            if let Some(thousandths) = text.strip_suffix('m') {
                return digits(thousandths);
            }
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            if fraction.len() > 3 {
                return None;
            }
            let scale = 10_u64.pow(3 - u32::try_from(fraction.len()).ok()?);
            digits(whole)?.checked_mul(1000)?.checked_add(digits(fraction)? * scale)
        };
        parse()
            .filter(|amount| (1..=1_000_000_000).contains(amount))
            .map(Self)
            .ok_or_else(|| TextError::new(text, Self::EXPECTED))
    }
}

/// The form that the API server would give it, so that an applied object does not differ from its intent.
impl fmt::Display for Cpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(formatter, "{}", self.0 / 1000)
        } else {
            write!(formatter, "{}m", self.0)
        }
    }
}

text_type_traits!(Cpu, "^([0-9]+m|[0-9]+(\\.[0-9]{1,3})?)$", Cpu::EXPECTED, "500m");

/// Memory or storage in bytes: `64Mi`, `4Gi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(u64);

const MEMORY_UNITS: [(&str, u32); 4] = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

impl Memory {
    const EXPECTED: &str = "an amount of memory: a whole number and one of Ki, Mi, Gi, Ti, as 64Mi or 4Gi";

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Memory {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        MEMORY_UNITS
            .iter()
            .find_map(|(unit, shift)| {
                let amount = digits(text.strip_suffix(unit)?)?;
                amount.checked_mul(1 << shift).filter(|bytes| (1..=1 << 60).contains(bytes))
            })
            .map(Self)
            .ok_or_else(|| TextError::new(text, Self::EXPECTED))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, shift) =
            MEMORY_UNITS.into_iter().find(|(_, shift)| self.0.trailing_zeros() >= *shift).unwrap_or(("", 0));
        write!(formatter, "{}{unit}", self.0 >> shift)
    }
}

text_type_traits!(Memory, "^[0-9]+(Ki|Mi|Gi|Ti)$", Memory::EXPECTED, "256Mi");

/// A span of time in whole seconds: `90s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(u32);

const TIME_UNITS: [(&str, u32); 3] = [("h", 3600), ("m", 60), ("s", 1)];

impl Seconds {
    const EXPECTED: &str = "a time: a whole number and one of s, m, h, as 90s or 5m, at most 24h";
    const LONGEST: u32 = 24 * 3600;

    /// A span of that many seconds, at most a day.
    pub const fn new(seconds: u32) -> Self {
        Self(if seconds > Self::LONGEST { Self::LONGEST } else { seconds })
    }

    /// The number of seconds.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The span as the standard library has it.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0 as u64)
    }
}

impl FromStr for Seconds {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        TIME_UNITS
            .iter()
            .find_map(|(unit, seconds)| {
                let amount = u32::try_from(digits(text.strip_suffix(unit)?)?).ok()?;
                amount.checked_mul(*seconds).filter(|seconds| *seconds <= Self::LONGEST)
            })
            .map(Self)
            .ok_or_else(|| TextError::new(text, Self::EXPECTED))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) = TIME_UNITS
            .into_iter()
            .find(|(_, seconds)| self.0 > 0 && self.0.is_multiple_of(*seconds))
            .unwrap_or(("s", 1));
        write!(formatter, "{}{unit}", self.0 / seconds)
    }
}

text_type_traits!(Seconds, "^[0-9]+(s|m|h)$", Seconds::EXPECTED, "90s");

pub(crate) fn formats() -> Vec<TextFormat> {
    vec![Cpu::FORMAT, Memory::FORMAT, Seconds::FORMAT]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cpu() {
        for (text, millicores, canonical) in [
            ("2", 2000, "2"),
            ("0.5", 500, "500m"),
            ("100m", 100, "100m"),
            ("1.25", 1250, "1250m"),
            ("2000m", 2000, "2"),
        ] {
            let cpu: Cpu = text.parse().unwrap();
            assert_eq!((cpu.millicores(), cpu.to_string().as_str()), (millicores, canonical));
        }
        for text in ["", "m", "-1", "1.", ".5", "1.2345", "1 ", "2cores", "0", "0m", "99999999999999999999"] {
            assert!(text.parse::<Cpu>().is_err(), "{text}");
        }
    }

    #[test]
    fn memory() {
        for (text, bytes, canonical) in [
            ("4Gi", 4 << 30, "4Gi"),
            ("1024Mi", 1 << 30, "1Gi"),
            ("1536Mi", 1536 << 20, "1536Mi"),
            ("1Ki", 1024, "1Ki"),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!((memory.bytes(), memory.to_string().as_str()), (bytes, canonical));
        }
        for text in ["", "Gi", "4", "4GB", "4G", "1.5Gi", "-1Gi", "0Mi", "99999999999Ti"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }

    #[test]
    fn seconds() {
        for (text, seconds, canonical) in
            [("90s", 90, "90s"), ("5m", 300, "5m"), ("1h", 3600, "1h"), ("60s", 60, "1m"), ("0s", 0, "0s")]
        {
            let span: Seconds = text.parse().unwrap();
            assert_eq!((span.get(), span.to_string().as_str()), (seconds, canonical));
        }
        for text in ["", "5", "s", "5ms", "1d", "1.5s", "-1s", "25h"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn shown_texts_parse_to_the_same(amount in 1_u64..1 << 40, seconds in 0_u32..=86_400) {
            let memory = Memory(amount << 10);
            prop_assert_eq!(memory.to_string().parse(), Ok(memory));
            let cpu = Cpu(amount % 1_000_000_000 + 1);
            prop_assert_eq!(cpu.to_string().parse(), Ok(cpu));
            prop_assert_eq!(Seconds(seconds).to_string().parse(), Ok(Seconds(seconds)));
        }
    }
}
