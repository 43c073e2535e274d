//! What the access log can say of a request. One table: the names, in the order of the log.

/// Declares the fields with their names, so that nothing is said twice.
macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal $kind:ident,)*) => {
        /// What the access log can say of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum LogField {
            $($(#[$doc])* $field,)*
        }

        impl LogField {
            /// All, in the order of the log.
            pub const ALL: &[LogField] = &[$(LogField::$field),*];

            /// Its name: as OpenTelemetry names attributes, where it has a name.
            pub fn name(self) -> &'static str {
                match self {
                    $(LogField::$field => $name,)*
                }
            }

            /// What stands before its value in a JSON object, after another; of text with the quote that opens it.
            pub const fn key(self) -> &'static str {
                match self {
                    $(LogField::$field => fields!(@key $name $kind),)*
                }
            }

            /// Whether its value is text; otherwise it is a number.
            pub const fn is_text(self) -> bool {
                match self {
                    $(LogField::$field => fields!(@is_text $kind),)*
                }
            }
        }
    };
    (@key $name:literal text) => { concat!(",\"", $name, "\":\"") };
    (@key $name:literal number) => { concat!(",\"", $name, "\":") };
    (@is_text text) => { true };
    (@is_text number) => { false };
}

fields! {
    /// When it ended.
    Timestamp = "timestamp" text,
    /// The method.
    Method = "http.request.method" text,
    /// The path, in its normal form; never the query, which may hold secrets.
    Path = "url.path" text,
    /// How the client came.
    Scheme = "url.scheme" text,
    /// The version of HTTP that the client speaks.
    Version = "network.protocol.version" text,
    /// The status; 499 where the client left before there was one.
    Status = "http.response.status_code" number,
    /// From its first byte to the answer's last, in seconds.
    Duration = "duration" number,
    /// Up to the first choice of an endpoint.
    PhaseGateway = "phase.gateway" number,
    /// All tries but the last, and the pauses between them.
    PhaseTries = "phase.tries" number,
    /// Opening a connection, if there was none.
    PhaseConnect = "phase.connect" number,
    /// Until the head of the answer was there.
    PhaseUpstream = "phase.upstream" number,
    /// The rest of the answer.
    PhaseBody = "phase.body" number,
    /// The client's address.
    Client = "client.address" text,
    /// The host that was asked for.
    Host = "server.address" text,
    /// The client's program.
    UserAgent = "user_agent.original" text,
    /// The id that the client was told.
    RequestId = "request_id" text,
    /// The trace.
    TraceId = "trace_id" text,
    /// The span of the request in it.
    SpanId = "span_id" text,
    /// The route's name.
    Route = "route" text,
    /// The route's path as it was written.
    RouteLabel = "http.route" text,
    /// The upstream's name.
    Upstream = "upstream" text,
    /// The endpoint that was tried last.
    Endpoint = "endpoint" text,
    /// Why it failed, if it did.
    Reason = "reason" text,
    /// The policy that refused it.
    Policy = "policy" text,
    /// The policies that would have refused it, were they not only tried out: each with its reason, `name:reason`.
    Shadowed = "shadowed" text,
    /// The policies that let it pass because whom they ask did not answer, in the same form.
    FailedOpen = "failed_open" text,
    /// The parts of a composition that failed: each with its reason, `name:reason`.
    Incomplete = "incomplete" text,
    /// Whose it is, as a policy proved it.
    Subject = "user.id" text,
    /// The consumer whose it is.
    Consumer = "consumer" text,
    /// Bytes of the request's body.
    Received = "http.request.body.size" number,
    /// Bytes of the answer's body.
    Sent = "http.response.body.size" number,
    /// How often it was tried again.
    Retries = "retries" number,
    /// The revision of the configuration.
    Revision = "revision" number,
}

impl LogField {
    /// The field of that name.
    pub fn parse(name: &str) -> Option<LogField> {
        LogField::ALL.iter().copied().find(|field| field.name() == name)
    }
}
