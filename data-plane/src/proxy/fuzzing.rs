//! A door to admission, for fuzzers.

use super::{Local, admit, record::Record};
use crate::{
    context::{Door, Peer, RequestBody},
    pool::encode_request,
    router::{LiveRouter, Router},
    settings::{AccessLog, Settings},
    telemetry::Telemetry,
    wire::Wire,
};
use http::{HeaderValue, Request};
use proto::matching::Scheme;
use std::{net::SocketAddr, rc::Rc, time::Instant};

thread_local! {
    static LOCAL: Rc<Local> = {
        let settings = Settings { access_log: AccessLog::Off, ..Settings::default() };
        let telemetry = Telemetry::new(&settings, otel::Spans::off()).expect("an access log that is off can be opened");
        Rc::new(Local::new(&settings, &LiveRouter::new(Router::empty()), &telemetry))
    };
}

/// What an upstream gets of a request of a stranger; none when it is refused.
pub(crate) fn admitted(request: Request<()>) -> Option<Vec<u8>> {
    let listener = Door {
        name: "http".into(),
        port: HeaderValue::from_static("80"),
        scheme: Scheme::Http,
        proxy_protocol: false,
        trusts_traces: false,
    };
    let peer = Peer {
        listener: Rc::new(listener),
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        text: HeaderValue::from_static("127.0.0.1"),
        trusted: false,
        trusted_blocks: Rc::default(),
        wire: Wire::new(Instant::now()),
    };
    let request = request.map(|()| RequestBody::None);
    let (mut record, _) = Record::begin(LOCAL.with(Rc::clone), Rc::new(peer), request);
    admit::admit(&mut record).ok()?;
    let context = &record.context;
    Some(encode_request(&context.method, &context.target, &context.headers))
}
