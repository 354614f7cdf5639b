//! Servers that no HTTP library would write: raw bytes on a loopback port, and a proxy before the simulator
//! that ends its connections without a word.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Listens until the test's process ends.
pub struct Raw {
    address: SocketAddr,
}

impl Raw {
    /// Does this with each connection, on a thread of its own.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address }
    }

    /// Reads each request and answers it with these bytes and nothing else, then with `more` until nobody
    /// takes it.
    pub fn answering(head: Vec<u8>, more: &'static [u8]) -> Self {
        Self::start(move |stream| {
            let mut reader = BufReader::new(&stream);
            if read_message(&mut reader).is_none() || (&stream).write_all(&head).is_err() {
                return;
            }
            while !more.is_empty() && (&stream).write_all(more).is_ok() {}
            // Open until the client has enough of it.
            let _ = reader.read_to_end(&mut Vec::new());
        })
    }

    /// `http://HOST:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Stands before a server and ends every connection without a word, as servers do with connections that
/// were idle: the client has used it once and finds it closed.
pub fn before(server: &str, ends: Ends) -> Raw {
    let server: SocketAddr = server
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    Raw::start(move |client| {
        let mut from_client = BufReader::new(&client);
        let mut answered = false;
        while let Some(request) = read_message(&mut from_client) {
            if answered {
                // The request is dropped unread, as by a server that was about to close.
                return;
            }
            answered = true;
            let upstream = TcpStream::connect(server).expect("the server is there");
            let mut from_server = BufReader::new(&upstream);
            (&upstream).write_all(&request).expect("the server reads");
            let answer = read_message(&mut from_server).expect("an answer");
            if (&client).write_all(&answer).is_err() {
                return;
            }
            if answer.starts_with(b"HTTP/1.1 101") {
                tunnel(from_client, &client, from_server, &upstream);
                return;
            }
            if ends == Ends::AtOnce {
                return;
            }
        }
    })
}

/// When a connection is closed, its first request answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Behind the answer.
    AtOnce,
    /// When a second request has come: it is never answered.
    AtTheSecond,
}

/// Carries bytes both ways until one side ends.
fn tunnel(
    mut from_client: BufReader<&TcpStream>,
    client: &TcpStream,
    mut from_server: BufReader<&TcpStream>,
    server: &TcpStream,
) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut &*client);
            let _ = client.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut from_client, &mut &*server);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// One HTTP message with a `Content-Length`, or none; `None` where the connection ended.
pub fn read_message(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut length = 0;
    loop {
        let begins = message.len();
        if reader.read_until(b'\n', &mut message).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&message[begins..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let begins = message.len();
    message.resize(begins + length, 0);
    reader.read_exact(&mut message[begins..]).ok()?;
    Some(message)
}
