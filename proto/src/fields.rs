//! Checks that several resources share: labels, headers, names that refer.

use crate::{
    invalid::Faults,
    matching::{address, host_name},
    name::Name,
    pb,
    template::{Roots, Target, Template},
};
use http::{HeaderName, HeaderValue, header};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// The most labels of a resource.
pub const MAX_LABELS: usize = 32;
/// The most headers in one list.
pub const MAX_HEADERS: usize = 64;
/// The most addresses in one list.
pub const MAX_ADDRESSES: usize = 256;

/// A header whose value is a template.
#[derive(Clone, Debug)]
pub struct HeaderTemplate {
    /// The name.
    pub name: HeaderName,
    /// The value.
    pub value: Template,
}

/// Notes what is wrong with labels: keys and values of 1 to 63 letters, digits, `-`, `_`, `.` and `/`.
pub fn check_labels(labels: &BTreeMap<String, String>, faults: &mut Faults) {
    faults.at("labels", |faults| {
        if labels.len() > MAX_LABELS {
            faults.note(format!("at most {MAX_LABELS} labels can be given"));
        }
        let plain =
            |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_./".contains(&c)) && text.len() <= 63;
        for (key, value) in labels {
            if key.is_empty() || !plain(key) || !plain(value) {
                faults.note_at(key, "a label's key and value have at most 63 letters, digits, -, _, . and /");
            }
        }
    })
}

/// A name that refers to another resource.
pub fn check_reference(field: &str, text: &str, faults: &mut Faults) -> Option<Name> {
    faults.at(field, |faults| faults.take(Name::parse(text)))
}

/// The resource's own name; a stand-in when it is wrong, for the fault is noted.
pub fn check_name(text: &str, faults: &mut Faults) -> Option<Name> {
    check_reference("name", text, faults)
}

/// A list of headers with templates as values.
pub fn check_headers(
    field: &str,
    headers: &[pb::Header],
    variables: Option<&[(&str, bool)]>,
    faults: &mut Faults,
) -> Vec<HeaderTemplate> {
    check_headers_within(field, headers, Roots { variables, ..Default::default() }, faults)
}

/// A list of headers whose templates may refer to no more than these.
pub(crate) fn check_headers_within(
    field: &str,
    headers: &[pb::Header],
    roots: Roots<'_>,
    faults: &mut Faults,
) -> Vec<HeaderTemplate> {
    faults.at(field, |faults| {
        if headers.len() > MAX_HEADERS {
            faults.note(format!("at most {MAX_HEADERS} headers can be given"));
        }
        let check = |header: &pb::Header, faults: &mut Faults| {
            let name = faults.at("name", |faults| faults.take(header_name(&header.name)));
            let value = Template::parse_within(&header.value, Target::HeaderValue, roots);
            let value = faults.at("value", |faults| faults.take(value));
            Some(HeaderTemplate { name: name?, value: value? })
        };
        headers.iter().enumerate().filter_map(|(at, header)| faults.at(at, |faults| check(header, faults))).collect()
    })
}

/// A list of addresses and CIDR blocks.
pub fn check_addresses(field: &str, texts: &[String], faults: &mut Faults) -> Vec<IpNet> {
    faults.at(field, |faults| {
        if texts.len() > MAX_ADDRESSES {
            faults.note(format!("at most {MAX_ADDRESSES} addresses can be given"));
        }
        let parse = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(address(text)));
        texts.iter().enumerate().filter_map(parse).collect()
    })
}

/// A list of names of headers.
pub fn check_header_names(field: &str, names: &[String], faults: &mut Faults) -> Vec<HeaderName> {
    faults.at(field, |faults| {
        if names.len() > MAX_HEADERS {
            faults.note(format!("at most {MAX_HEADERS} headers can be given"));
        }
        let parse = |(at, text): (usize, &String)| faults.at(at, |faults| faults.take(header_name(text)));
        names.iter().enumerate().filter_map(parse).collect()
    })
}

/// Headers that frame a message or belong to one connection: the gateway's own business, never a policy's.
pub const FRAMING: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(crate) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))?;
    if FRAMING.contains(&name) || name == "keep-alive" {
        return Err(format!("{text:?} frames the message or belongs to the connection, and cannot be changed"));
    }
    Ok(name)
}

/// A host with or without a port, as a `Host` header has it.
pub(crate) fn authority(text: &str) -> Result<HeaderValue, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && !host.is_empty() => (host, Some(port)),
        _ => (text, None),
    };
    host_name(host)?;
    if port.is_some_and(|port| port.parse::<u16>().is_err() || !port.bytes().all(|c| c.is_ascii_digit())) {
        return Err(format!("{text:?} has a port that is not one"));
    }
    HeaderValue::from_str(text).map_err(|_| format!("{text:?} is not a host"))
}
