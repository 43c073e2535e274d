//! The life of a request, one screen: admit, take the router, find the route, filters, action, filters back, record.
//!
//! `?` leaves; one place turns an error into an answer. Nothing on this path is looked up by name, parsed twice, merged
//! or locked. A panic is the error of one request: it is caught here, answered and counted.

mod admit;
mod body;
mod catch;
mod composition;
mod diagnostics;
mod error_body;
mod forward;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod local;
mod locate;
mod mirror;
mod passage;
mod record;
mod spans;
mod upgrade;
mod visit;

pub(crate) use body::AnswerBody;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzing::admitted;
pub(crate) use local::Local;
pub(crate) use upgrade::Wish;
pub(crate) use visit::{Answered, Sent, Visit};

use crate::{
    context::{Peer, RequestBody},
    error::Error,
    router::Action,
};
use body::Flow;
use http::{Request, Response};
use record::Record;
use std::{pin::pin, rc::Rc};

/// Answers a request, whatever comes.
pub(crate) async fn answer(local: Rc<Local>, peer: Rc<Peer>, request: Request<RequestBody>) -> Response<AnswerBody> {
    let (mut record, body) = Record::begin(local, peer, request);
    let served = {
        let serving = pin!(serve(&mut record, body));
        catch::future(serving).await
    };
    let response = match served {
        Ok(response) if record.opens_tunnel() && response.status().is_success() => record.fail(Error::Connect),
        Ok(response) => response,
        Err(error) => record.fail(error),
    };
    let response = match catch::call(|| record.filters_back(response)) {
        Ok(response) => response,
        Err(error) => record.fail(error),
    };
    record.finish(response)
}

/// Answers what is no request that can be served; it is on record like any other.
pub(crate) fn refuse(
    local: Rc<Local>,
    peer: Rc<Peer>,
    request: Request<RequestBody>,
    error: Error,
) -> Response<AnswerBody> {
    let (mut record, _) = Record::begin(local, peer, request);
    let response = record.fail(error);
    let response = record.filters_back(response);
    record.finish(response)
}

async fn serve(record: &mut Record, mut body: RequestBody) -> Result<Response<Flow>, Error> {
    if let Some(wish) = admit::admit(&mut record.context, &record.uri, record.version, &record.peer)? {
        record.wish = Some(wish);
    }
    if record.local.telemetry.memory().is_overloaded() {
        return Err(Error::Overloaded);
    }
    let (route, captures) = record.find()?;
    let (context, lent) = record.asked();
    if let Some(answer) = route.entry.filters.request(context, lent).await? {
        return Ok(answer.map(Flow::whole));
    }
    if route.entry.filters.judges_bodies(&record.joined) {
        body = record.judge(&route.entry.filters, body).await?;
    }
    match &route.entry.action {
        Action::Forward(forward) => forward::forward(record, &route, forward, captures, body).await,
        Action::Compose(plan) => Box::pin(composition::compose(record, &route, plan, captures)).await,
        Action::Redirect(redirect) => locate::redirect(redirect, &route.values(&record.context, captures)),
        Action::Respond(respond) => Ok(locate::respond(respond, &route.values(&record.context, captures))),
    }
}
