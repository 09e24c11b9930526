//! Checks one value against its key's kind and brings it into one form.

use std::path::Path;

use probabilistic_ticket::PostgresAddress;
use toml::Value;

use super::keys::{Kind, SQLITE};

/// Reads a value from text, as flags and the environment give it.
pub(super) fn from_text(text: &str, kind: Kind) -> Result<Value, String> {
    let value = match kind {
        Kind::Bool => {
            Value::Boolean(text.parse().map_err(|_| format!("\"{text}\" is neither true nor false"))?)
        }
        Kind::Int(..) => {
            Value::Integer(text.parse().map_err(|_| format!("\"{text}\" is not a whole number"))?)
        }
        Kind::List => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        Kind::Text | Kind::Path | Kind::Wei | Kind::Choice(_) | Kind::Ledger | Kind::Gpus => {
            Value::String(text.to_owned())
        }
    };
    normalize(value, kind, None)
}

/// Checks a value and brings it into the one form that the typed configuration reads.
pub(super) fn normalize(value: Value, kind: Kind, folder: Option<&Path>) -> Result<Value, String> {
    match (kind, value) {
        (Kind::Text, value @ Value::String(_)) | (Kind::Bool, value @ Value::Boolean(_)) => Ok(value),
        (Kind::Path, Value::String(path)) => Ok(Value::String(absolute(&path, folder))),
        (Kind::Int(low, high), Value::Integer(number)) if (low..=high).contains(&number) => {
            Ok(Value::Integer(number))
        }
        (Kind::Int(low, high), Value::Integer(number)) => {
            Err(format!("{number} is not within {low} to {high}"))
        }
        (Kind::Wei, Value::Integer(number)) if number >= 0 => Ok(Value::String(number.to_string())),
        (Kind::Wei, Value::String(text)) if is_wei(&text) => Ok(Value::String(text)),
        (Kind::Wei, value) => Err(format!("{value} is not a whole number of wei")),
        (Kind::List, Value::String(text)) => Ok(Value::Array(vec![Value::String(text)])),
        (Kind::List, Value::Array(items)) => match items.iter().find(|item| !item.is_str()) {
            Some(item) => Err(format!("{item} is not a text")),
            None => Ok(Value::Array(items)),
        },
        (Kind::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => {
            Ok(Value::String(word))
        }
        (Kind::Ledger, Value::String(text)) => ledger(text),
        (Kind::Gpus, Value::String(text)) if text == "all" => Ok(Value::String(text)),
        (Kind::Gpus, Value::String(text)) => gpus(text.trim_matches(['[', ']']).split(',')),
        (Kind::Gpus, Value::Array(items)) => gpus(items.iter().map(ToString::to_string)),
        (Kind::Choice(words), value) => Err(format!("{value} is not one of {}", words.join(", "))),
        (kind, value) => Err(format!("{value} is a {}, expected {}", value.type_str(), expected(kind))),
    }
}

/// What is wrong with an address is said without it: it may hold what nobody should see.
fn ledger(text: String) -> Result<Value, String> {
    if text == SQLITE {
        return Ok(Value::String(text));
    }
    if !PostgresAddress::is_meant_by(&text) {
        return Err(format!("neither {SQLITE} nor an address that begins with postgres://"));
    }
    match PostgresAddress::parse(&text, None) {
        Ok(_) => Ok(Value::String(text)),
        Err(error) => Err(error.to_string()),
    }
}

/// A list of indices of cards.
fn gpus(items: impl Iterator<Item = impl AsRef<str>>) -> Result<Value, String> {
    let index = |item: &str| match item.trim().parse::<u8>() {
        Ok(index) => Ok(Value::Integer(index.into())),
        Err(_) => Err(format!("{item} is not the index of a card; give \"all\" or a list as in [0, 1]")),
    };
    items.map(|item| index(item.as_ref())).collect::<Result<_, _>>().map(Value::Array)
}

fn is_wei(text: &str) -> bool {
    text.parse::<alloy_primitives::U256>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Choice(_) | Kind::Ledger => "a text",
        Kind::Path => "a path",
        Kind::Bool => "true or false",
        Kind::Int(..) => "a whole number",
        Kind::Wei => "a whole number of wei",
        Kind::List => "a list of texts",
        Kind::Gpus => "\"all\" or a list of indices",
    }
}

fn absolute(path: &str, folder: Option<&Path>) -> String {
    match folder {
        Some(folder) => folder.join(path).to_string_lossy().into_owned(),
        None => path.to_owned(),
    }
}
