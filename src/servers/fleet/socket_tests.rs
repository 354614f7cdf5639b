//! The socket at both ends of a line: silence, dead lines, and servers that flood it.

use tokio::io::{AsyncWriteExt, DuplexStream};

use super::*;

const ALL: Keep = Keep {
    rows: usize::MAX,
    bytes: usize::MAX,
};

/// Both ends of a line, the server's as its own websocket.
async fn line() -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let server = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    (Socket::over(ours).await, server)
}

#[tokio::test(start_paused = true)]
async fn a_silent_line_is_pinged_and_a_dead_one_given_up() {
    let (mut socket, _server_that_never_reads) = line().await;
    let begun = Instant::now();
    let Err(Broken::Lost(reason)) = socket.hear(ALL).await else {
        panic!("something was heard");
    };
    assert_eq!(reason, "the server does not answer pings");
    assert_eq!(begun.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_is_listened_to_for_as_long_as_it_takes() {
    let (mut socket, mut server) = line().await;
    let begun = Instant::now();
    let serve = async {
        let mut pings = 0;
        while let Some(Ok(frame)) = server.next().await {
            pings += u32::from(frame.is_ping());
            // Sends the pong that the library has prepared.
            server.flush().await.unwrap();
            if pings == 10 {
                let late = Frame::text(r#"{"type":"totals","data":{}}"#);
                server.send(late).await.unwrap();
            }
        }
    };
    tokio::select! {
        () = serve => panic!("the server saw the end"),
        heard = socket.hear(ALL) => assert!(matches!(heard, Ok(Heard::Alive))),
    }
    assert_eq!(begun.elapsed().as_secs(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_was_left_alone_for_long_is_not_taken_for_dead() {
    let (mut socket, mut server) = line().await;
    tokio::time::advance(PING_AFTER + PONG_WITHIN + PING_AFTER).await;
    server
        .send(Frame::text(r#"{"type":"status"}"#))
        .await
        .unwrap();
    assert!(matches!(socket.hear(ALL).await, Ok(Heard::Alive)));
    tokio::time::advance(PING_AFTER * 3).await;
    assert!(socket.heard_already(ALL).is_none());
}

#[tokio::test]
async fn an_answer_over_the_limit_is_told_from_a_broken_line() {
    let (mut socket, mut server) = line().await;
    let big = Frame::text(" ".repeat(MESSAGE_BYTES + 1));
    let heard = tokio::select! {
        heard = socket.hear(ALL) => heard,
        sent = server.send(big) => panic!("{sent:?} without being read"),
    };
    assert!(matches!(heard, Err(Broken::TooLarge)), "{heard:?}");
}

/// A long answer whose wait was given up again and again is heard all the same.
#[tokio::test]
async fn a_long_message_is_read_elsewhere_and_not_lost() {
    let (mut socket, mut server) = line().await;
    let row = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000));
    let rows = vec![row; 2_000].join(",");
    let message = format!(r#"{{"type":"result","data":{{"host":{{"id":7}},"rows":[{rows}]}}}}"#);
    let sending = tokio::spawn(async move {
        server.send(Frame::text(message)).await.unwrap();
        server
    });
    let heard = loop {
        if let Some(heard) = socket.heard_already(ALL) {
            break heard;
        }
        tokio::task::yield_now().await;
    };
    let Ok(Heard::Answer { host: 7, answer }) = heard else {
        panic!("{heard:?}");
    };
    assert!(
        matches!(&answer, crate::campaign::host::Answer::Rows(rows) if rows.received() == 2_000)
    );
    drop(sending.await);
}

/// Frames as a server writes them, without a mask: `opcode` with the final bit or without it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, length], payload].concat()
}

/// Writes these bytes again and again until the line is gone, and never reads.
async fn flood(mut server: DuplexStream, first: Vec<u8>, again: Vec<u8>) {
    let block = again.repeat(16_384 / again.len());
    if server.write_all(&first).await.is_ok() {
        while server.write_all(&block).await.is_ok() {}
    }
}

/// Whatever a server floods with, the loop lets others have their turn, keeps little, and gives up with a word
/// of what came.
#[tokio::test]
async fn floods_are_counted_and_given_up() {
    const TEXT: u8 = 0x01;
    const FINAL: u8 = 0x80;
    let text = |text: &str| (Vec::new(), frame(FINAL | TEXT, text.as_bytes()));
    let floods = [
        ("pings", (vec![], frame(FINAL | 0x9, &[7; 125]))),
        ("pongs", (vec![], frame(FINAL | 0xa, &[7; 125]))),
        ("empty messages", text("")),
        ("binary messages", (vec![], frame(FINAL | 0x2, b"x"))),
        ("messages that can't be read", text("{")),
        ("status messages", text(r#"{"type":"status","data":{}}"#)),
        (
            "of a message that does not end",
            (frame(TEXT, b"["), frame(0, b"")),
        ),
        ("larger", (frame(TEXT, b"["), frame(0, &[b' '; 125]))),
    ];
    for (what, (first, again)) in floods {
        // Small, so that a server that reads no pong is soon not written to either.
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let mut socket = Socket::of_messages_up_to(1 << 20, ours).await;
        let flooding = tokio::spawn(flood(theirs, first, again));
        let mut turns = 0_u64;
        let end = async {
            loop {
                match socket.hear(ALL).await {
                    Ok(Heard::Garbled(_) | Heard::Alive) => {}
                    Ok(other) => panic!("{what}: {other:?}"),
                    Err(broken) => break broken,
                }
            }
        };
        let others = async {
            loop {
                turns += 1;
                tokio::task::yield_now().await;
            }
        };
        let broken = tokio::select! {
            broken = end => broken,
            () = others => unreachable!("it never ends"),
        };
        match (what, &broken) {
            ("larger", Broken::TooLarge) => {}
            (_, Broken::Noise(words)) => assert!(words.contains(what), "{what}: {words}"),
            _ => panic!("{what}: {broken:?}"),
        }
        assert!(turns > 10, "{what}: others had {turns} turns");
        drop(socket);
        flooding.await.unwrap();
    }
}

/// A new answer forgives what came before it, so a campaign of many hosts may see many frames.
#[tokio::test]
async fn a_server_that_also_answers_is_not_given_up() {
    let (mut socket, mut server) = line().await;
    let sending = tokio::spawn(async move {
        for host in 0..30 {
            for _ in 0..1_000 {
                server
                    .feed(Frame::text(r#"{"type":"status"}"#))
                    .await
                    .unwrap();
            }
            let answer =
                format!(r#"{{"type":"result","data":{{"host":{{"id":{host}}},"rows":[]}}}}"#);
            server.send(Frame::text(answer)).await.unwrap();
        }
        server
    });
    let mut answers = 0;
    while answers < 30 {
        match socket.hear(ALL).await.unwrap() {
            Heard::Answer { .. } => {
                answers += 1;
                socket.was_worth_it();
            }
            Heard::Alive => {}
            other => panic!("{other:?}"),
        }
    }
    drop(sending.await);
}
