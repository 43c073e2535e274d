//! A request that is asked about and not sent: the steps of [`super::answer`] one by one, up to where an upstream would
//! be called. They are the same functions; only no worker, no record and no upstream has a part in it.

use super::{
    admit,
    body::Flow,
    forward::{Destined, Prepared, split_key},
    locate,
    upgrade::Wished,
};
use crate::{
    consumers::Consumers,
    context::{ClientAuth, Context, Door, Peer, Trace, UploadFault, Values, room},
    error::Error,
    inbound::BodyFraming,
    pool::Affinity,
    router::{Action, Forward, RouteEntry, Side},
    wire::Wire,
};
use http::{HeaderValue, Request, Response, Uri, Version, uri::PathAndQuery};
use proto::{
    matching::{Captures, Head, Scheme},
    route::BodyLimit,
};
use std::{net::IpAddr, rc::Rc, time::Instant};

/// A request that is asked about.
pub(crate) struct Visit {
    /// Its head; once it is admitted, what the upstream may see.
    pub(crate) context: Context,
    peer: Peer,
    uri: Uri,
    version: Version,
    wish: Option<HeaderValue>,
    body: BodyFraming,
}

/// What an upstream would get.
pub(crate) struct Sent {
    /// The head.
    pub(crate) context: Context,
    /// Path and query.
    pub(crate) target: PathAndQuery,
    /// What it is asked to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Which of the endpoints the request is for.
    pub(crate) affinity: Affinity,
}

/// The answer of a route that calls no upstream.
pub(crate) struct Answered {
    /// Status and headers.
    pub(crate) response: Response<()>,
    /// How many bytes the body has.
    pub(crate) body: usize,
}

// === impl Visit ===

impl Visit {
    /// The request of a stranger, who came through a listener of that name.
    pub(crate) fn new(
        request: Request<()>,
        body: BodyFraming,
        client: IpAddr,
        (name, scheme): (&str, Scheme),
    ) -> Visit {
        let port = match scheme {
            Scheme::Http => HeaderValue::from_static("80"),
            Scheme::Https => HeaderValue::from_static("443"),
        };
        let listener = Door {
            name: name.into(),
            port,
            scheme,
            proxy_protocol: false,
            trusts_traces: false,
            trusts_identity: false,
            client_auth: ClientAuth::Unasked,
        };
        // An address has no characters that cannot stand in a header.
        let text = HeaderValue::try_from(client.to_string()).unwrap_or(HeaderValue::from_static(""));
        let peer = Peer {
            listener: Rc::new(listener),
            address: (client, 0).into(),
            text,
            trusted: false,
            trusted_blocks: Rc::default(),
            certificate: None,
            wire: Wire::new(Instant::now()),
        };
        let (parts, ()) = request.into_parts();
        let identity = (HeaderValue::from_static("new"), Trace::new(1, 1));
        let context = Context::begin(parts.method, &parts.uri, parts.headers, &peer, identity, Consumers::default());
        Visit { context, peer, uri: parts.uri, version: parts.version, wish: None, body }
    }

    /// Has it judged.
    pub(crate) fn admit(&mut self) -> Result<(), Error> {
        self.wish = admit::admit(&mut self.context, &self.uri, self.version, &self.peer)?;
        Ok(())
    }

    /// What matching looks at.
    pub(crate) fn head(&self) -> Head<'_> {
        self.context.head(&self.peer.listener)
    }

    /// The answer of a route that calls no upstream; `None` for one that does.
    pub(crate) fn answer(&self, entry: &RouteEntry, captures: Captures) -> Option<Result<Answered, Error>> {
        let values = Values::with_captures(&self.context, &entry.variables, captures);
        let answer = match &entry.action {
            Action::Forward(_) | Action::Compose(_) => return None,
            Action::Redirect(redirect) => locate::redirect(redirect, &values),
            Action::Respond(respond) => Ok(locate::respond(respond, &values)),
        };
        Some(answer.map(|response| {
            let (parts, flow) = response.into_parts();
            let body = match &flow {
                Flow::Whole(bytes) => bytes.as_ref().map_or(0, bytes::Bytes::len),
                Flow::Stream(_) => 0,
            };
            Answered { response: Response::from_parts(parts, ()), body }
        }))
    }

    /// Which of the route's upstreams gets it; `None` where chance decides.
    pub(crate) fn side(&self, entry: &RouteEntry, forward: &Forward, captures: Captures) -> Option<usize> {
        let Some(split) = &forward.split else { return Some(0) };
        let values = Values::with_captures(&self.context, &entry.variables, captures);
        split.decided(split_key(split, &values))
    }

    /// Whether the body is as large as it may be.
    pub(crate) fn check_body(&self, limit: BodyLimit) -> Result<(), UploadFault> {
        let least = match self.body {
            BodyFraming::Length(length) => length,
            BodyFraming::Chunked => 0,
        };
        room(least, limit).map(drop)
    }

    /// What the upstream gets.
    pub(crate) fn send(
        &self,
        mut context: Context,
        entry: &RouteEntry,
        (forward, side): (&Forward, &Side),
        captures: Captures,
    ) -> Result<Sent, Error> {
        let has_body = !matches!(self.body, BodyFraming::Length(0));
        let wished = Wished::of(self.wish.as_ref(), self.version);
        let destined = Destined { entry, forward, side, captures };
        let Prepared { target, upgrade, affinity } = destined.prepare(&mut context, wished, has_body)?;
        let target = target.unwrap_or_else(|| context.target.clone());
        Ok(Sent { target, upgrade: upgrade.map(|upgrade| upgrade.protocol().clone()), affinity, context })
    }
}
