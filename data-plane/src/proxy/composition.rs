//! The action `compose`: a run of the plan, for this request and on its record.

use super::{body::Flow, local::LocalRoute, record::Record};
use crate::{
    compose::{Lent, Plan, run},
    error::Error,
};
use http::Response;
use proto::matching::Captures;
use std::cell::Cell;

pub(super) async fn compose(
    record: &Record,
    route: &LocalRoute,
    plan: &Plan,
    captures: Captures,
) -> Result<Response<Flow>, Error> {
    let lent = Lent {
        upstreams: &record.local.upstreams,
        peer: &record.peer,
        context: &record.context,
        values: route.values(&record.context, captures),
        filters: record.lent(),
        pools: &route.pools,
        idle: record.local.settings.idle_timeout,
        ledger: &record.ledger,
        held: Cell::new(0),
    };
    Ok(run(plan, &lent).await?.map(Flow::whole))
}
