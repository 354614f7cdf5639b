//! The gzip format without compression: what a server sends that was not asked for it.

/// The bytes as a gzip file of stored blocks.
pub(crate) fn stored(bytes: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no extra flags, unknown system.
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        file.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        file.push(u8::from(blocks.peek().is_none()));
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend_from_slice(block);
    }
    file.extend(crc32(bytes).to_le_bytes());
    let size = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or_default();
    file.extend(size.to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1;
            sum >>= 1;
            if carry == 1 {
                sum ^= 0xedb8_8320;
            }
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_formats() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_file_is_header_blocks_and_trailer() {
        let file = stored(b"hi");
        assert_eq!(
            file.get(10..17),
            Some(&[1, 2, 0, 0xfd, 0xff, b'h', b'i'][..])
        );
        assert_eq!(file.get(17..21), Some(&crc32(b"hi").to_le_bytes()[..]));
        assert_eq!(file.get(21..), Some(&[2, 0, 0, 0][..]));
        let long = vec![b'a'; 70_000];
        assert_eq!(stored(&long).len(), 10 + 2 * 5 + 70_000 + 8);
        assert_eq!(stored(b"").len(), 10 + 5 + 8);
    }
}
