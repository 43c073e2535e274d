//! What the access log can say of a request. One table: the names, in the order of the log.

/// Declares the fields with their names, so that nothing is said twice.
macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)*) => {
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

            /// What stands before its value in a JSON object, after another.
            pub fn key(self) -> &'static str {
                match self {
                    $(LogField::$field => concat!(",\"", $name, "\":"),)*
                }
            }
        }
    };
}

fields! {
    /// When it ended.
    Timestamp = "timestamp",
    /// The method.
    Method = "http.request.method",
    /// The path, in its normal form; never the query, which may hold secrets.
    Path = "url.path",
    /// How the client came.
    Scheme = "url.scheme",
    /// The version of HTTP that the client speaks.
    Version = "network.protocol.version",
    /// The status; 499 where the client left before there was one.
    Status = "http.response.status_code",
    /// From its first byte to the answer's last, in seconds.
    Duration = "duration",
    /// Up to the first choice of an endpoint.
    PhaseGateway = "phase.gateway",
    /// All tries but the last, and the pauses between them.
    PhaseTries = "phase.tries",
    /// Opening a connection, if there was none.
    PhaseConnect = "phase.connect",
    /// Until the head of the answer was there.
    PhaseUpstream = "phase.upstream",
    /// The rest of the answer.
    PhaseBody = "phase.body",
    /// The client's address.
    Client = "client.address",
    /// The host that was asked for.
    Host = "server.address",
    /// The client's program.
    UserAgent = "user_agent.original",
    /// The id that the client was told.
    RequestId = "request_id",
    /// The trace.
    TraceId = "trace_id",
    /// The span of the request in it.
    SpanId = "span_id",
    /// The route's name.
    Route = "route",
    /// The route's path as it was written.
    RouteLabel = "http.route",
    /// The upstream's name.
    Upstream = "upstream",
    /// The endpoint that was tried last.
    Endpoint = "endpoint",
    /// Why it failed, if it did.
    Reason = "reason",
    /// The policy that refused it.
    Policy = "policy",
    /// The policies that would have refused it, were they not only tried out: each with its reason, `name:reason`.
    Shadowed = "shadowed",
    /// Whose it is, as a policy proved it.
    Subject = "user.id",
    /// Bytes of the request's body.
    Received = "http.request.body.size",
    /// Bytes of the answer's body.
    Sent = "http.response.body.size",
    /// How often it was tried again.
    Retries = "retries",
    /// The revision of the configuration.
    Revision = "revision",
}

impl LogField {
    /// The field of that name.
    pub fn parse(name: &str) -> Option<LogField> {
        LogField::ALL.iter().copied().find(|field| field.name() == name)
    }
}
