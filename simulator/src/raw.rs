//! Answers that no HTTP library would write: heads in drops, and parts that never end.

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::scenario::{Endless, SlowBody};

/// What is written on a connection in place of an answer; the connection ends with it.
pub(crate) enum Raw {
    Endless(Endless),
    /// The head in drops, the body at once.
    SlowHead {
        head: Vec<u8>,
        body: Bytes,
        slow: SlowBody,
    },
}

/// Written at once, over and over.
const BATCH: usize = 256 * 1024;

impl Raw {
    /// Writes until it is done, or until the client has gone.
    pub async fn write<S: AsyncWrite + Unpin>(self, stream: &mut S) -> std::io::Result<()> {
        match self {
            Self::SlowHead { head, body, slow } => {
                for (index, drop) in head.chunks(slow.bytes.max(1)).enumerate() {
                    if index > 0 {
                        tokio::time::sleep(slow.every).await;
                    }
                    stream.write_all(drop).await?;
                    stream.flush().await?;
                }
                stream.write_all(&body).await?;
                stream.shutdown().await
            }
            Self::Endless(endless) => {
                let (before, unit) = endless_text(endless);
                stream.write_all(before.as_bytes()).await?;
                let batch = unit.repeat(BATCH / unit.len() + 1);
                loop {
                    stream.write_all(batch.as_bytes()).await?;
                    stream.flush().await?;
                    // Others on this thread have their turn, however fast the client reads.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// What comes first, and what comes over and over.
fn endless_text(endless: Endless) -> (String, String) {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CHUNKED: &str = "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    match endless {
        Endless::BlankLines => (String::new(), "\r\n".into()),
        Endless::Interim => (String::new(), "HTTP/1.1 100 Continue\r\n\r\n".into()),
        Endless::Headers => (OK.into(), format!("x-filler: {}\r\n", "x".repeat(100))),
        Endless::Header => (format!("{OK}x-filler: "), "x".repeat(1_024)),
        Endless::Body => {
            let numbers = "1,".repeat(0x800);
            (
                format!("{OK}{CHUNKED}1\r\n[\r\n"),
                format!("{:x}\r\n{numbers}\r\n", numbers.len()),
            )
        }
        Endless::ChunkSize => (format!("{OK}{CHUNKED}1;"), "x".repeat(1_024)),
        Endless::Trailers => (
            format!("{OK}{CHUNKED}2\r\n[]\r\n0\r\n"),
            format!("x-filler: {}\r\n", "x".repeat(100)),
        ),
    }
}
