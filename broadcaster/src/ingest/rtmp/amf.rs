//! AMF0, the encoding of RTMP's commands ("Action Message Format — AMF 0", Adobe 2007): as much of it as publishers send.

use std::collections::BTreeMap;

use super::RtmpError;

/// Objects in objects that are followed: commands have two.
const MAX_DEPTH: usize = 8;

/// A value of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
    Object(BTreeMap<String, Value>),
    /// Null, undefined, and lists, which no command needs.
    Nothing,
}

impl Value {
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field of an object.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.get(name),
            _ => None,
        }
    }
}

/// All values of a command, whose length bounds what this takes.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Vec<Value>, RtmpError> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(value(&mut bytes, 0)?);
    }
    Ok(values)
}

fn value(bytes: &mut &[u8], depth: usize) -> Result<Value, RtmpError> {
    if depth > MAX_DEPTH {
        return Err(RtmpError::Malformed("an object in too many others"));
    }
    match take::<1>(bytes)?[0] {
        0x00 => Ok(Value::Number(f64::from_be_bytes(take(bytes)?))),
        0x01 => Ok(Value::Bool(take::<1>(bytes)?[0] != 0)),
        0x02 => short_text(bytes).map(Value::Text),
        0x03 => object(bytes, depth),
        0x05 | 0x06 => Ok(Value::Nothing),
        0x08 => {
            // The count of an associative array is only a hint.
            take::<4>(bytes)?;
            object(bytes, depth)
        }
        0x0a => list(bytes, depth),
        0x0b => take::<10>(bytes).map(|_| Value::Nothing),
        0x0c | 0x0f => {
            let length = u32::from_be_bytes(take(bytes)?) as usize;
            text(bytes, length).map(Value::Text)
        }
        0x10 => {
            short_text(bytes)?;
            object(bytes, depth)
        }
        _ => Err(RtmpError::Malformed("a value of unknown type")),
    }
}

fn object(bytes: &mut &[u8], depth: usize) -> Result<Value, RtmpError> {
    let mut fields = BTreeMap::new();
    loop {
        let name = short_text(bytes)?;
        if name.is_empty() && bytes.first() == Some(&0x09) {
            take::<1>(bytes)?;
            return Ok(Value::Object(fields));
        }
        fields.insert(name, value(bytes, depth + 1)?);
    }
}

fn list(bytes: &mut &[u8], depth: usize) -> Result<Value, RtmpError> {
    let count = u32::from_be_bytes(take(bytes)?);
    // Each takes a byte at least, so a count that lies ends with the bytes.
    for _ in 0..count {
        value(bytes, depth + 1)?;
    }
    Ok(Value::Nothing)
}

fn short_text(bytes: &mut &[u8]) -> Result<String, RtmpError> {
    let length = u16::from_be_bytes(take(bytes)?).into();
    text(bytes, length)
}

fn text(bytes: &mut &[u8], length: usize) -> Result<String, RtmpError> {
    let (text, rest) = bytes.split_at_checked(length).ok_or(CUT_OFF)?;
    *bytes = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], RtmpError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(CUT_OFF)?;
    *bytes = rest;
    Ok(*taken)
}

const CUT_OFF: RtmpError = RtmpError::Malformed("a command that is cut off");

/// A command's bytes.
pub(super) fn encode(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| put(&mut bytes, value));
    bytes
}

fn put(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            bytes.push(0x00);
            bytes.extend(number.to_be_bytes());
        }
        Value::Bool(on) => bytes.extend([0x01, u8::from(*on)]),
        Value::Text(text) => {
            bytes.push(0x02);
            put_text(bytes, text);
        }
        Value::Object(fields) => {
            bytes.push(0x03);
            for (name, value) in fields {
                put_text(bytes, name);
                put(bytes, value);
            }
            bytes.extend([0x00, 0x00, 0x09]);
        }
        Value::Nothing => bytes.push(0x05),
    }
}

/// Texts of ours are short; a longer one is cut.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let cut = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    bytes.extend((cut.len() as u16).to_be_bytes());
    bytes.extend(cut.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Bool),
            "[a-z]{0,9}".prop_map(Value::Text),
            Just(Value::Nothing),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(Value::Object)
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(values in prop::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(decode(&encode(&values)).unwrap(), values);
        }

        #[test]
        fn any_bytes_end_in_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn objects_without_end_are_refused_before_they_take_the_stack() {
        let nested = [&[0x03, 0x00, 0x01, b'a'][..]; 10_000].concat();
        assert!(decode(&nested).is_err());
    }

    #[test]
    fn a_list_of_four_billion_values_ends_with_its_bytes() {
        assert!(decode(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x05]).is_err());
    }
}
