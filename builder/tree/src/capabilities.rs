//! File capabilities: what a program may do without being root's (capabilities(7), setcap(8)).

use std::{fmt, str::FromStr};

/// The capabilities of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// Those that the program gets, one bit for each.
    permitted: u64,
    /// Those that it gets if whoever starts it has them, one bit for each.
    inheritable: u64,
    /// Whether they are raised from the start.
    effective: bool,
}

/// A text that says no capabilities of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a list of capabilities with what is raised, such as cap_net_raw+ep")]
pub struct CapabilitiesError {
    text: String,
}

/// By number (linux/capability.h).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Second revision of the form, which every kernel since 2.6.25 reads.
const REVISION: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

impl Capabilities {
    /// The value of the attribute `security.capability` (`struct vfs_cap_data`).
    pub fn attribute(&self) -> [u8; 20] {
        let head = REVISION | if self.effective { EFFECTIVE } else { 0 };
        let (low, high) = (u64::from(u32::MAX), 32);
        let words = [
            u64::from(head),
            self.permitted & low,
            self.inheritable & low,
            self.permitted >> high,
            self.inheritable >> high,
        ];
        let mut bytes = [0; 20];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes()[..4]);
        }
        bytes
    }

    /// Reads the value of the attribute, as the kernel writes it in whatever user namespace (`vfs_ns_cap_data` too).
    pub fn of_attribute(bytes: &[u8]) -> Option<Self> {
        let word = |place: usize| {
            let bytes = bytes.get(place * 4..place * 4 + 4)?;
            Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
        };
        let head = word(0)?;
        if ![2, 3].contains(&(head >> 24)) {
            return None;
        }
        let wide = |low: usize| Some(word(low)? | (word(low + 2)? << 32));
        Some(Self { permitted: wide(1)?, inheritable: wide(2)?, effective: head & u64::from(EFFECTIVE) != 0 })
    }
}

impl fmt::Display for Capabilities {
    /// As [`FromStr`] reads it: names that differ in their sets stand in none, since one clause holds all.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.permitted | self.inheritable;
        let names: Vec<String> = (0..NAMES.len())
            .filter(|place| (bits >> place) & 1 == 1)
            .map(|place| format!("cap_{}", NAMES[place]))
            .collect();
        let set = |letter, has: bool| if has { letter } else { "" };
        write!(
            formatter,
            "{}+{}{}{}",
            names.join(","),
            set("e", self.effective),
            set("i", self.inheritable != 0),
            set("p", self.permitted != 0)
        )
    }
}

registry_wire::serde_as_text!(Capabilities);

impl FromStr for Capabilities {
    type Err = CapabilitiesError;

    /// Reads one clause as setcap does: names with commas, `+` or `=`, and the letters of the sets.
    fn from_str(text: &str) -> Result<Self, CapabilitiesError> {
        let wrong = || CapabilitiesError { text: text.chars().take(200).collect() };
        let (names, sets) = text.split_once(['+', '=']).ok_or_else(wrong)?;
        // What is only raised, and given to nobody, is nothing.
        if !sets.contains(['i', 'p']) || !sets.chars().all(|set| "eip".contains(set)) {
            return Err(wrong());
        }
        let mut bits = 0;
        for name in names.split(',') {
            let name = name.trim().to_ascii_lowercase();
            let plain = name.strip_prefix("cap_").ok_or_else(wrong)?;
            bits |= 1_u64 << NAMES.iter().position(|known| *known == plain).ok_or_else(wrong)?;
        }
        let of = |set: char| if sets.contains(set) { bits } else { 0 };
        Ok(Self { permitted: of('p'), inheritable: of('i'), effective: sets.contains('e') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As setcap(8) of libcap 2.66 writes them.
    #[test]
    fn attributes() {
        for (text, expected) in [
            ("cap_net_raw+ep", "0100000200200000000000000000000000000000"),
            ("cap_net_bind_service=+ep", ""),
            ("cap_net_bind_service,cap_net_admin=p", "0000000200140000000000000000000000000000"),
            ("CAP_BPF+ei", "0100000200000000000000000000000080000000"),
        ] {
            let found = text.parse::<Capabilities>();
            let hex = |bytes: [u8; 20]| bytes.map(|byte| format!("{byte:02x}")).concat();
            match found {
                Ok(found) => {
                    assert_eq!(hex(found.attribute()), expected, "{text}");
                    assert_eq!(found.to_string().parse(), Ok(found), "{text}");
                }
                Err(error) => assert!(expected.is_empty(), "{error}"),
            }
        }
        for bad in [
            "",
            "cap_net_raw",
            "net_raw+ep",
            "cap_nothing+ep",
            "cap_net_raw+x",
            "cap_net_raw+",
            "cap_net_raw+e",
        ] {
            assert!(bad.parse::<Capabilities>().is_err(), "{bad}");
        }
    }
}
