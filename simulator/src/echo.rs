//! Throws a client's secret back at it: in the answers, in the frames of the results socket; and
//! understands what comes back.

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::body::Content;
use crate::http::{Call, Reply};
use crate::scenario::{Echo, Echoed};
use crate::world::Shared;

/// What one client is shown.
pub(crate) struct Echoing {
    fields: Vec<Echoed>,
    /// A `-` and the secret, written as the scenario says.
    suffix: String,
}

impl Echoing {
    /// What this call's client is shown, where the scenario has such a server.
    pub fn of(shared: &Shared, call: &Call) -> Option<Self> {
        let echo = shared.look().scenario.echo.clone()?;
        let password = || {
            let body = call.json()?;
            body["password"].as_str().map(str::to_owned)
        };
        Self::new(&echo, call.bearer().or_else(password))
    }

    /// What the client with this token is shown.
    pub fn of_token(shared: &Shared, token: &str) -> Option<Self> {
        let echo = shared.look().scenario.echo.clone()?;
        Self::new(&echo, Some(token.to_owned()))
    }

    fn new(echo: &Echo, secret: Option<String>) -> Option<Self> {
        let secret = echo.text.clone().or(secret)?;
        Some(Self {
            fields: echo.fields.clone(),
            suffix: format!("-{}", echo.encoding.apply(&secret)),
        })
    }

    /// Takes the secret out of what the client sends back.
    pub fn understand(&self, call: &mut Call) {
        // Clients may decode what they are shown, and encode it again.
        let decoded = percent_decode_str(&self.suffix)
            .decode_utf8_lossy()
            .into_owned();
        let plain = |text: &str| text.replace(&self.suffix, "").replace(&decoded, "");
        for part in &mut call.path {
            *part = plain(part);
        }
        for (_, value) in &mut call.query {
            *value = plain(value);
        }
        if let Ok(text) = std::str::from_utf8(&call.body) {
            call.body = Bytes::from(plain(text));
        }
    }

    /// Puts the secret into an answer.
    pub fn answer(&self, reply: &mut Reply) {
        let body = std::mem::replace(&mut reply.body, Content::Bytes(Bytes::new())).into_bytes();
        let body = match serde_json::from_slice::<Value>(&body) {
            Ok(mut document) => {
                self.put(&mut document);
                document.to_string().into()
            }
            Err(_) => body,
        };
        reply.body = Content::Bytes(body);
    }

    /// Puts the secret into a frame.
    pub fn frame(&self, text: String) -> String {
        match serde_json::from_str::<Value>(&text) {
            Ok(mut document) => {
                if document["type"] == "error" && self.fields.contains(&Echoed::Error) {
                    self.append(&mut document["data"]);
                }
                self.put(&mut document);
                document.to_string()
            }
            Err(_) => text,
        }
    }

    fn put(&self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.put(item)),
            Value::Object(fields) => {
                let is_campaign = fields.contains_key("Metrics");
                let is_query = ["executions", "data"]
                    .iter()
                    .any(|key| fields.contains_key(*key));
                for (key, value) in fields {
                    let field = match key.as_str() {
                        "id" | "campaign_id" if is_campaign => Some(Echoed::CampaignId),
                        "query_name" => Some(Echoed::QueryName),
                        "name" if is_query => Some(Echoed::QueryName),
                        "name" => Some(Echoed::Name),
                        "hostname" | "display_name" | "display_text" | "localname"
                        | "computer_name" | "host_hostname" | "host_display_name" => {
                            Some(Echoed::Hostname)
                        }
                        "uuid" => Some(Echoed::Uuid),
                        "hardware_serial" => Some(Echoed::Serial),
                        "last_seen" | "seen_time" => Some(Echoed::LastSeen),
                        "message" | "error" | "reason" => Some(Echoed::Error),
                        _ => None,
                    };
                    if key == "data" {
                        self.put_within(value);
                    }
                    // Rows are the hosts' own.
                    if matches!(key.as_str(), "rows" | "result") {
                        continue;
                    }
                    match field.filter(|field| self.fields.contains(field)) {
                        Some(_) if !value.is_array() && !value.is_object() => self.append(value),
                        _ => self.put(value),
                    }
                }
            }
            _ => {}
        }
    }

    /// osctrl's `data` is JSON within a string.
    fn put_within(&self, value: &mut Value) {
        let inner = value
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok());
        if let Some(mut inner @ Value::Object(_)) = inner {
            self.put(&mut inner);
            *value = Value::String(inner.to_string());
        }
    }

    fn append(&self, value: &mut Value) {
        let text = match &*value {
            Value::Null => return,
            // No error is no error.
            Value::String(text) if text.is_empty() => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        *value = Value::String(format!("{text}{}", self.suffix));
    }
}
