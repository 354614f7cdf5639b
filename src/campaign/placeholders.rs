//! Serials that are none: what firmware says where its maker never set one. Machines of a whole vendor share
//! each of them, so that no single host can be meant.

/// What they are once only letters and digits are left, in lower case: makers write them with blanks, dots,
/// dashes and underscores of all kinds. Collected from DMI dumps and the exclusion lists of inventory tools.
const PLACEHOLDERS: [&str; 62] = [
    // Sentences of AMI's, Phoenix' and Insyde's reference firmware.
    "tobefilledbyoem",
    "tobefilledbyoemtobefilledbyoem",
    "tobefilled",
    "tobesetbyoem",
    "tobedefinedbyoem",
    "filledbyoem",
    "fillbyoem",
    "oemtofill",
    "tbdbyoem",
    "tbd",
    "oem",
    "oemdefaultstring",
    "defaultstring",
    "default",
    "defaultserial",
    "defaultserialnumber",
    // The field's own name.
    "systemserialnumber",
    "systemserial",
    "systemserialno",
    "systemproductname",
    "chassisserialnumber",
    "baseboardserialnumber",
    "boardserialnumber",
    "motherboardserialnumber",
    "serialnumber",
    "serialno",
    "serial",
    "productserial",
    "assettag",
    "assetserialnumber",
    "noassettag",
    // Words for nothing.
    "none",
    "null",
    "nil",
    "na",
    "nodata",
    "noserial",
    "noserialnumber",
    "notspecified",
    "notapplicable",
    "notavailable",
    "notprovided",
    "notpresent",
    "notset",
    "notsettable",
    "unknown",
    "unset",
    "undefined",
    "unspecified",
    "invalid",
    "empty",
    "blank",
    // Digits that are only counted up, and boards that were shipped with an example.
    "0",
    "1234567890abcdef",
    "0123456789abcdef",
    "sys1234567890",
    "mb1234567890",
    "ssn12345678901234567",
    "bss0123456789",
    "cs1234567890",
    "sn123456789",
    "testserial",
];

/// A run of one character, or of digits that count up, is none from so many on.
const RUN: usize = 4;

/// Whether firmware says this where there is no serial.
pub(super) fn is_placeholder(serial: &str) -> bool {
    let mut plain = String::new();
    for character in serial.chars().filter(|it| it.is_alphanumeric()) {
        plain.extend(character.to_lowercase());
    }
    if plain.is_empty() {
        // Nothing but dots, dashes or question marks.
        return !serial.trim().is_empty();
    }
    PLACEHOLDERS.contains(&&*plain) || is_run(&plain)
}

/// `0000000`, `xxxxxxxx`, `123456789`, `0123456789`, `12345678901234`.
fn is_run(plain: &str) -> bool {
    let bytes = plain.as_bytes();
    let same = bytes.windows(2).all(|pair| pair[0] == pair[1]);
    let counts = |pair: &[u8]| {
        pair.iter().all(u8::is_ascii_digit) && (pair[0] - b'0' + 1) % 10 == pair[1] - b'0'
    };
    let counted = matches!(bytes[0], b'0' | b'1') && bytes.windows(2).all(counts);
    bytes.len() >= RUN && (same || counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_firmware_says_is_no_serial_however_it_is_written() {
        for serial in [
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M.",
            "TO BE FILLED BY OEM",
            "to_be_filled_by_O.E.M",
            "Default string",
            "DEFAULT STRING",
            "System Serial Number",
            "Chassis Serial Number",
            "0",
            "00000000",
            "000-000",
            "None",
            "N/A",
            "Not Specified",
            "Not Applicable",
            "NOT SET",
            "Unknown",
            "INVALID",
            "123456789",
            "0123456789",
            "1234567890",
            "12345678901234567",
            "XXXXXXXX",
            "................",
            "-",
            "SYS-1234567890",
        ] {
            assert!(is_placeholder(serial), "{serial}");
        }
    }

    #[test]
    fn serials_that_are_some_are_left_alone() {
        for serial in [
            "",
            "C02XG0FDJGH5",
            "5CG1234567",
            "VMware-42 1d 6c 2f 9a 1b 3c 4d-5e 6f 70 81 92 a3 b4 c5",
            "PF1234567",
            "1235",
            "987654321",
            "10000001",
            "SER000001",
            "x",
            "01",
            "nonesuch",
        ] {
            assert!(!is_placeholder(serial), "{serial}");
        }
    }

    #[test]
    fn the_table_is_in_the_form_in_which_it_is_compared() {
        let mut seen = std::collections::HashSet::new();
        for entry in PLACEHOLDERS {
            assert!(is_placeholder(entry) && seen.insert(entry), "{entry}");
            assert!(
                entry
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()),
                "{entry}"
            );
        }
    }
}
