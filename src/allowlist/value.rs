//! What a step's JSON value is, before its type looks closer: whole numbers, truth values, and text
//! that can be shown. Knows the kinds, not the types of parameters.

use serde_json::Value;

use super::parameter::Refusal;
use crate::known_servers::{ForbiddenWord, forbidden_word};

/// A whole number within bounds: a JSON integer or its decimal digits, as rendering makes them. `007`
/// is refused: it is 7 to some and octal or a serial number to others.
pub(super) fn integer(
    given: &Value,
    minimum: i64,
    maximum: i64,
    expected: &str,
) -> Result<i64, Refusal> {
    let outside = || Refusal::range(format!("must be {expected}"));
    let number = match given {
        Value::Number(number) if number.is_i64() => number.as_i64(),
        Value::Number(number) if number.is_u64() => None,
        Value::String(text) => {
            if !is_decimal(text) {
                let why = if is_decimal_digits(text.strip_prefix('-').unwrap_or(text)) {
                    ", without leading zeros"
                } else if text.parse::<f64>().is_ok_and(f64::is_finite) {
                    ", without a fraction, exponent or sign"
                } else {
                    ", not other text"
                };
                return Err(Refusal::kind(format!("must be {expected}{why}")));
            }
            text.parse().ok()
        }
        other => {
            return Err(Refusal::kind(format!(
                "must be {expected}, not {}",
                kind(other)
            )));
        }
    };
    number
        .filter(|number| (minimum..=maximum).contains(number))
        .ok_or_else(outside)
}

/// The same where hexadecimal digits after `0x` will do, as Windows tools write process ids.
pub(super) fn hexadecimal_or_integer(
    given: &Value,
    minimum: i64,
    maximum: i64,
    expected: &str,
) -> Result<i64, Refusal> {
    let digits = given
        .as_str()
        .and_then(|text| text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")))
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    match digits {
        None => integer(given, minimum, maximum, expected),
        Some(digits) => i64::from_str_radix(digits, 16)
            .ok()
            .filter(|number| (minimum..=maximum).contains(number))
            .ok_or_else(|| Refusal::range(format!("must be {expected}"))),
    }
}

/// `true` or `false`, also as text; never a number.
pub(super) fn boolean(given: &Value) -> Result<bool, Refusal> {
    match given {
        Value::Bool(on) => Ok(*on),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        Value::String(_) => Err(Refusal::kind("must be true or false, not other text")),
        other => Err(Refusal::kind(format!(
            "must be true or false, not {}",
            kind(other)
        ))),
    }
}

/// Text that is not empty and holds nothing that does not show.
pub(super) fn text<'a>(given: &'a Value, expected: &str) -> Result<&'a str, Refusal> {
    let Value::String(text) = given else {
        // YAML makes a number of an unquoted process name `1234`.
        let hint = match given {
            Value::Bool(_) | Value::Number(_) => "; put it in quotes where text is meant",
            _ => "",
        };
        let reason = format!("must be {expected}, not {}{hint}", kind(given));
        return Err(Refusal::kind(reason));
    };
    if text.trim().is_empty() {
        return Err(Refusal::value(format!("must be {expected}, not empty")));
    }
    if text.len() > MOST_BYTES {
        return Err(Refusal::value(format!(
            "must be {expected}; this is too long"
        )));
    }
    if text.contains('\0') {
        return Err(Refusal::value("must not hold a NUL character"));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::value(
            "must not hold line breaks, tabs or other control characters",
        ));
    }
    if text.chars().any(does_not_show) {
        return Err(Refusal::value(
            "must not hold invisible characters (zero-width, direction marks, damaged text)",
        ));
    }
    if text.contains("{{") || text.contains("{%") {
        return Err(Refusal::value(
            "must not hold an expression that was left unrendered",
        ));
    }
    if let Some(ForbiddenWord { word, why }) = forbidden_word(text) {
        return Err(Refusal::value(format!(
            "must not hold the word `{word}`: {why}"
        )));
    }
    Ok(text)
}

/// A name without the blanks around it, and without the quotes around all of it.
pub(super) fn bare(text: &str) -> &str {
    let text = text.trim();
    ['"', '\'', '`']
        .into_iter()
        .find_map(|quote| {
            let inner = text.strip_prefix(quote)?.strip_suffix(quote)?.trim();
            (!inner.is_empty() && !inner.contains(quote)).then_some(inner)
        })
        .unwrap_or(text)
}

/// The longest text of any type, in bytes: the longest path of Linux.
const MOST_BYTES: usize = 4_096;

/// Characters that a reader of a log would not see, or that hide others.
pub(super) fn does_not_show(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{fff9}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// `-?(0|[1-9][0-9]*)`.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    is_decimal_digits(digits) && (digits == "0" || !digits.starts_with('0')) && text != "-0"
}

pub(super) fn is_decimal_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The kind of a JSON value in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
