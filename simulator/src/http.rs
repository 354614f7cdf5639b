//! A request and an answer as the two servers see them, without sockets.

use std::borrow::Cow;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::body::Content;
use crate::pieces::Pieces;

/// A request, its body read whole.
#[derive(Clone)]
pub(crate) struct Call {
    pub method: Method,
    /// Decoded path segments, without empty ones.
    pub path: Vec<String>,
    /// The path ends with a slash.
    pub slash: bool,
    /// Decoded query parameters.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn new(method: Method, uri: &hyper::Uri, headers: HeaderMap, body: Bytes) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Self {
            method,
            path: uri
                .path()
                .split('/')
                .filter(|part| !part.is_empty())
                .map(decode)
                .collect(),
            slash: uri.path().len() > 1 && uri.path().ends_with('/'),
            query: form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
            headers,
            body,
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that is a number; anything else counts as left out.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.parameter(name)?.parse().ok()
    }

    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// The token of `Authorization: Bearer TOKEN`.
    pub fn bearer(&self) -> Option<String> {
        let header = self.header("authorization")?;
        let (scheme, token) = header.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    }

    /// The body, where it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    /// None is announced where this is empty.
    pub content_type: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Content,
}

/// How Fleet announces JSON.
pub(crate) const FLEET_JSON: &str = "application/json; charset=utf-8";
/// How osctrl announces JSON.
pub(crate) const OSCTRL_JSON: &str = "application/json; charset=UTF-8";
/// Plain text, which may hold JSON all the same.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: content_type.into(),
            headers: Vec::new(),
            body: Content::Bytes(body.into()),
        }
    }

    /// An answer that is made while it is sent.
    pub fn made(status: u16, content_type: &str, body: Pieces) -> Self {
        Self {
            body: Content::settled(body),
            ..Self::new(status, content_type, "")
        }
    }

    pub fn json(status: u16, content_type: &str, body: &Value) -> Self {
        Self::new(status, content_type, body.to_string())
    }

    /// An answer without a body or its type.
    pub fn empty(status: u16) -> Self {
        Self::new(status, "", "")
    }

    /// What Go's router says of a path that it does not have.
    pub fn no_such_path() -> Self {
        Self::new(404, TEXT, "404 page not found\n")
    }

    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The page of a list, `page` counted from 0.
pub(crate) fn page_of<T: Clone>(all: &[T], page: usize, size: usize) -> Vec<T> {
    all.iter()
        .skip(page.saturating_mul(size))
        .take(size)
        .cloned()
        .collect()
}
