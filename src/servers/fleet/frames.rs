//! The lengths that a websocket's frames announce (RFC 6455, section 5.2), read before the library reads
//! them: it makes room for a whole frame by what its header says, and a refusal there ends the process.

/// Follows a stream of frames, in whatever pieces it comes.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Bytes of a header that is not whole yet.
    header: Vec<u8>,
    /// Bytes of the payload that are still to come.
    payload: u64,
}

impl Lengths {
    /// The largest payload that a header in these bytes announces. What is no header of a frame is for the
    /// library to refuse.
    pub(super) fn announced(&mut self, mut bytes: &[u8]) -> u64 {
        let mut most = 0;
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = usize::try_from(self.payload).unwrap_or(usize::MAX);
                let skipped = skipped.min(bytes.len());
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(length) = length(&self.header) {
                self.header.clear();
                self.payload = length;
                most = most.max(length);
            }
        }
        most
    }
}

/// The length of a frame's payload; `None` while its header is not whole.
fn length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if header.len() < 2 + extended + if is_masked { 4 } else { 0 } {
        return None;
    }
    Some(match extended {
        0 => short.into(),
        _ => header[2..2 + extended]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against the library's own writing of frames, cut anywhere.
        #[test]
        fn every_frame_is_announced_however_it_comes(
            sizes in prop::collection::vec(prop_oneof![0_usize..300, 65_500_usize..66_000], 1..6),
            masked in any::<bool>(),
            piece in 1_usize..5_000,
        ) {
            let mut stream = Vec::new();
            for size in &sizes {
                let mut frame = Frame::message(vec![b'x'; *size], OpCode::Data(Data::Text), true);
                if masked {
                    frame.header_mut().mask = Some([1, 2, 3, 4]);
                }
                frame.format(&mut stream).unwrap();
            }
            let mut lengths = Lengths::default();
            let most = stream.chunks(piece).map(|piece| lengths.announced(piece)).max();
            prop_assert_eq!(most, sizes.iter().max().map(|size| *size as u64));
            prop_assert_eq!((lengths.payload, lengths.header.len()), (0, 0));
            // One by one, in the order of the frames.
            let mut lengths = Lengths::default();
            let told = stream.iter().map(|byte| lengths.announced(std::slice::from_ref(byte)));
            let told: Vec<u64> = told.filter(|length| *length > 0).collect();
            let sizes: Vec<u64> = sizes.iter().map(|size| *size as u64).filter(|size| *size > 0).collect();
            prop_assert_eq!(told, sizes);
        }
    }
}
