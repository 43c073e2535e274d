//! What a plane is told about the collector: the standard environment of OpenTelemetry, and flags for it.
//!
//! As the standard says, an empty variable is one that is not set, and times are milliseconds where no unit is written.

use clap::Args;
use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

/// The longest of the times.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

const TIMEOUT: Duration = Duration::from_secs(10);
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
const SPAN_QUEUE: usize = 2_048;
const SPAN_DELAY: Duration = Duration::from_secs(5);
const SPAN_BATCH: usize = 512;

/// What is told to an OpenTelemetry collector, and where it is.
#[derive(Args, Clone, Debug)]
#[group(id = "otel")]
pub struct Settings {
    /// The OpenTelemetry collector that gets traces and metrics by OTLP: `http://` or `https://`, HOST:PORT. Without it nothing is exported.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = Endpoint::parse)]
    pub otlp_endpoint: Option<Endpoint>,
    /// Where traces go instead; by HTTP this is the whole URL.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_name = "URL", value_parser = Endpoint::parse)]
    pub otlp_traces_endpoint: Option<Endpoint>,
    /// Where metrics go instead; by HTTP this is the whole URL.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", value_name = "URL", value_parser = Endpoint::parse)]
    pub otlp_metrics_endpoint: Option<Endpoint>,
    /// How the collector is spoken to: `grpc`, as a rule at port 4317, or `http/protobuf`, at 4318.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", default_value = "grpc", value_parser = Protocol::parse)]
    pub otlp_protocol: Protocol,
    /// Headers for the collector, as `name=value` and commas between; values are percent-encoded.
    // Read later: a parser's complaint would print the value.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, value_parser = Headers::keep)]
    pub otlp_headers: Option<Headers>,
    /// How long the collector may take to answer.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = timeout)]
    pub otlp_timeout: Duration,
    /// How what is sent is compressed: `none` or `gzip`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_COMPRESSION", default_value = "none", value_parser = Compression::parse)]
    pub otlp_compression: Compression,
    /// The authorities whose certificates the collector may show, PEM; default: those that the system trusts.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub otlp_certificate: Option<PathBuf>,
    /// How often metrics are sent.
    #[arg(long, env = "OTEL_METRIC_EXPORT_INTERVAL", value_name = "TIME", default_value = "60s", value_parser = interval)]
    pub otlp_metric_interval: Duration,
    /// The most spans that wait to be sent; more are dropped and counted.
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE", value_name = "N", default_value = "2048", value_parser = queue)]
    pub otlp_span_queue: usize,
    /// How long a span may wait to be sent with others.
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", value_name = "TIME", default_value = "5s", value_parser = delay)]
    pub otlp_span_delay: Duration,
    /// The most spans that are sent together.
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", value_name = "N", default_value = "512", value_parser = batch)]
    pub otlp_span_batch: usize,
    /// The name by which the collector knows this process; default: `portico-node` or `portico-control-plane`.
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    pub otel_service_name: Option<String>,
    /// More that the collector is told about this process, as `name=value` and commas between.
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "ATTRIBUTES", value_parser = Attributes::parse)]
    pub otel_resource_attributes: Option<Attributes>,
    /// `true`: nothing is exported, whatever else is set.
    #[arg(long, env = "OTEL_SDK_DISABLED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(default_value = "false", value_parser = truth, action = clap::ArgAction::Set)]
    pub otel_disabled: bool,
}

/// Where a collector is; an empty text is nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint(Option<Uri>);

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf in the body of a POST.
    Http,
}

/// How what is sent is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
}

/// Headers that are sent and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Headers(String);

/// Pairs of names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<(String, String)>);

/// Why nothing can be exported with these settings.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            otlp_endpoint: None,
            otlp_traces_endpoint: None,
            otlp_metrics_endpoint: None,
            otlp_protocol: Protocol::Grpc,
            otlp_headers: None,
            otlp_timeout: TIMEOUT,
            otlp_compression: Compression::None,
            otlp_certificate: None,
            otlp_metric_interval: METRIC_INTERVAL,
            otlp_span_queue: SPAN_QUEUE,
            otlp_span_delay: SPAN_DELAY,
            otlp_span_batch: SPAN_BATCH,
            otel_service_name: None,
            otel_resource_attributes: None,
            otel_disabled: false,
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads `http://HOST:PORT` or `https://HOST:PORT`, with or without a path.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        if text.is_empty() {
            return Ok(Endpoint(None));
        }
        let advice = || format!("{text:?} is not a URL such as \"http://collector:4317\"");
        let uri: Uri = text.parse().map_err(|_| advice())?;
        let fits =
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
        // A password in the URL would be printed.
        let plain = uri.query().is_none() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if fits && plain { Ok(Endpoint(Some(uri))) } else { Err(advice()) }
    }

    /// The URL, if there is one.
    pub(crate) fn uri(&self) -> Option<&Uri> {
        self.0.as_ref()
    }
}

// === impl Protocol ===

impl Protocol {
    fn parse(text: &str) -> Result<Protocol, String> {
        match text {
            "" | "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::Http),
            _ => Err(format!("{text:?} is neither grpc nor http/protobuf; no other protocol is spoken")),
        }
    }
}

// === impl Compression ===

impl Compression {
    fn parse(text: &str) -> Result<Compression, String> {
        match text {
            "" | "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            _ => Err(format!("{text:?} is neither none nor gzip")),
        }
    }
}

// === impl Headers ===

impl Headers {
    fn keep(text: &str) -> Result<Headers, String> {
        Ok(Headers(text.into()))
    }

    /// What is sent. A fault is told by its place, not by its text.
    pub(crate) fn read(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Invalid> {
        let faulty = |number: usize| {
            Invalid(format!(
                "OTEL_EXPORTER_OTLP_HEADERS: pair {} is not name=value with a percent-encoded value",
                number + 1
            ))
        };
        let pairs = self.0.split(',').enumerate().filter(|(_, pair)| !pair.trim().is_empty());
        let header = |(number, text)| {
            let (name, value) = pair(text).ok_or_else(|| faulty(number))?;
            let name: HeaderName = name.parse().map_err(|_| faulty(number))?;
            let mut value: HeaderValue = value.parse().map_err(|_| faulty(number))?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        pairs.map(header).collect()
    }
}

impl From<&str> for Headers {
    fn from(text: &str) -> Headers {
        Headers(text.into())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers(…)")
    }
}

// === impl Attributes ===

impl Attributes {
    /// Reads `name=value` with commas between.
    pub fn parse(text: &str) -> Result<Attributes, String> {
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        let read =
            |text: &str| pair(text).ok_or_else(|| format!("{text:?} is not name=value with a percent-encoded value"));
        Ok(Attributes(pairs.map(read).collect::<Result<_, String>>()?))
    }

    /// The pairs.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    Some((name.trim(), value)).filter(|(name, _)| !name.is_empty()).map(|(name, value)| (name.into(), value.into()))
}

fn timeout(text: &str) -> Result<Duration, String> {
    time(text, TIMEOUT)
}

fn interval(text: &str) -> Result<Duration, String> {
    time(text, METRIC_INTERVAL)
}

fn delay(text: &str) -> Result<Duration, String> {
    time(text, SPAN_DELAY)
}

fn time(text: &str, default: Duration) -> Result<Duration, String> {
    if text.is_empty() {
        return Ok(default);
    }
    let advice = || format!("{text:?} is not a time; write a whole number and ms, s or m, as in \"10s\"");
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| advice())?;
    let millis = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(advice()),
    };
    let time = number.checked_mul(millis).map(Duration::from_millis);
    let time = time.filter(|time| !time.is_zero() && *time <= LONGEST);
    time.ok_or_else(|| format!("{text:?} is nothing, or longer than a day"))
}

fn queue(text: &str) -> Result<usize, String> {
    count(text, SPAN_QUEUE)
}

fn batch(text: &str) -> Result<usize, String> {
    count(text, SPAN_BATCH)
}

fn count(text: &str, default: usize) -> Result<usize, String> {
    const MOST: usize = 1 << 20;
    match text {
        "" => Ok(default),
        text => usize::from_str(text)
            .ok()
            .filter(|number| (1..=MOST).contains(number))
            .ok_or_else(|| format!("{text:?} is not a whole number from 1 to {MOST}")),
    }
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
        Program::try_parse_from(std::iter::once(&"plane").chain(args)).map(|program| program.settings)
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Settings::default()));
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let names = ["endpoint", "protocol", "timeout", "compression", "metric-interval", "span-queue", "span-delay"];
        let args: Vec<String> = names.iter().map(|name| format!("--otlp-{name}=")).collect();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["--otlp-span-batch=", "--otel-disabled=", "--otel-resource-attributes="]);
        let settings = parse(&args).unwrap();
        let empty = (Some(Endpoint(None)), Some(Attributes::default()));
        assert_eq!((settings.otlp_endpoint.clone(), settings.otel_resource_attributes.clone()), empty);
        let rest = Settings { otlp_endpoint: None, otel_resource_attributes: None, ..settings };
        assert_eq!(format!("{rest:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn bad_values_are_told() {
        for bad in [
            ["--otlp-endpoint", "collector:4317"],
            ["--otlp-endpoint", "ftp://collector"],
            ["--otlp-traces-endpoint", "http://user:hush@collector:4318"],
            ["--otlp-metrics-endpoint", "http://:4317"],
            ["--otlp-protocol", "http/json"],
            ["--otlp-timeout", "soon"],
            ["--otlp-timeout", "0"],
            ["--otlp-compression", "zstd"],
            ["--otlp-span-queue", "0"],
            ["--otlp-span-batch", "many"],
            ["--otlp-metric-interval", "25h"],
            ["--otel-resource-attributes", "a=1,b"],
            ["--otel-disabled", "maybe"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_without_a_unit_are_milliseconds() {
        let settings = parse(&["--otlp-timeout", "2500", "--otlp-span-delay", "2s", "--otel-disabled"]).unwrap();
        assert_eq!(settings.otlp_timeout, Duration::from_millis(2500));
        assert_eq!(settings.otlp_span_delay, Duration::from_secs(2));
        assert!(settings.otel_disabled);
    }

    #[test]
    fn headers_are_read_and_never_printed() {
        let settings = parse(&["--otlp-headers", "Authorization=Bearer%20hush, x-tenant = blue,"]).unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
        let headers = settings.otlp_headers.unwrap().read().unwrap();
        assert_eq!(headers[0], ("authorization".parse().unwrap(), "Bearer hush".parse().unwrap()));
        assert_eq!(headers[1], ("x-tenant".parse().unwrap(), "blue".parse().unwrap()));
        let error = Headers::from("a=1,hush").read().unwrap_err().to_string();
        assert!(error.contains("pair 2") && !error.contains("hush"), "{error}");
    }
}
