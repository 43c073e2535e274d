//! Filters of consumers' own policies. They join those of a route, or of an upstream, once it is known who calls.
//!
//! A list of policies is built once, however many consumers have it, and is found by what the consumer that was proven
//! carries: nothing is looked up by name, and for a consumer without policies nothing is looked up at all.

use super::sequence::Filters;
use crate::error::{Error, Fault, Refusal};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use proto::consumer::{OwnPolicies, PoliciesKey};
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    sync::Arc,
};

/// All lists of policies that consumers of a configuration have, alive.
#[derive(Debug, Default)]
pub(crate) struct OwnFilters {
    lists: HashMap<PoliciesKey, Arc<Filters>>,
    // Those that nobody has any more since the last change: a request may be on its way whose consumer had them.
    retired: HashMap<PoliciesKey, Arc<Filters>>,
}

/// Those of a worker's newest router. Cheap to clone.
#[derive(Debug, Default)]
pub(crate) struct Personal(RefCell<Arc<OwnFilters>>);

/// The filters that joined others for a request, once they have, and whom they joined.
#[derive(Debug, Default)]
pub(crate) struct Joined(OnceCell<(usize, Arc<Filters>)>);

// === impl OwnFilters ===

impl OwnFilters {
    /// These, after a change: `build` makes a list that came or changed, `None` for one that is gone.
    pub(crate) fn with<'k>(
        &self,
        changed: impl Iterator<Item = &'k PoliciesKey>,
        build: impl Fn(&PoliciesKey) -> Option<Filters>,
    ) -> OwnFilters {
        let (mut lists, mut retired) = (self.lists.clone(), HashMap::new());
        for key in changed {
            match build(key) {
                Some(filters) => drop(lists.insert(*key, Arc::new(filters))),
                None => retired.extend(lists.remove(key).map(|filters| (*key, filters))),
            }
        }
        OwnFilters { lists, retired }
    }

    /// Whether there are some that the next change forgets.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }
}

// === impl Personal ===

impl Personal {
    /// Those of a router.
    pub(crate) fn of(own: &Arc<OwnFilters>) -> Personal {
        Personal(RefCell::new(own.clone()))
    }

    /// Goes over to those of a router.
    pub(crate) fn follow(&self, own: &Arc<OwnFilters>) {
        if !Arc::ptr_eq(&self.0.borrow(), own) {
            self.0.replace(own.clone());
        }
    }

    /// The filters of a consumer's policies. Who changed twice while one request was authenticated, asks again.
    pub(super) fn find(&self, policies: &OwnPolicies) -> Result<Arc<Filters>, Error> {
        let own = self.0.borrow();
        let found = own.lists.get(&policies.key).or_else(|| own.retired.get(&policies.key));
        found.cloned().ok_or_else(|| Error::Denied(Box::new(changed())))
    }
}

// === impl Joined ===

impl Joined {
    /// Whether they have joined anybody.
    pub(crate) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    /// They join the filters at that address.
    pub(super) fn set(&self, with: usize, filters: Arc<Filters>) {
        // Once only.
        self.0.set((with, filters)).ok();
    }

    /// Those that joined the filters at that address.
    pub(super) fn of(&self, with: usize) -> Option<&Filters> {
        self.0.get().filter(|(joined, _)| *joined == with).map(|(_, filters)| &**filters)
    }
}

fn changed() -> Refusal {
    Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        fault: Fault::Gateway,
        reason: "consumer_changed",
        detail: "the consumer's policies changed while the request was authenticated; send it again".into(),
        headers: vec![(RETRY_AFTER, HeaderValue::from_static("1"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::Context, filter::Lent, principal::Principal};
    use futures_util::FutureExt;
    use http::Method;
    use proto::{consumer::Consumer, invalid::Faults, pb};
    use std::{rc::Rc, time::Instant};

    #[test]
    fn a_list_that_nobody_has_any_more_is_found_until_the_next_change() {
        let policies = |n: u8| OwnPolicies { key: [n; 16], attachments: Box::default(), owner: None };
        let build = |key: &PoliciesKey| (key[0] < 3).then(Filters::default);
        let first = OwnFilters::default().with([[1; 16], [2; 16]].iter(), build);
        let second = first.with([[1; 16]].iter(), |_| None);
        let third = second.with([].iter(), build);
        let found = |own: OwnFilters| {
            let personal = Personal::of(&Arc::new(own));
            [1, 2, 3].map(|n| personal.find(&policies(n)).is_ok())
        };
        assert_eq!(found(first), [true, true, false]);
        assert_eq!(found(second), [true, true, false]);
        assert_eq!(found(third), [false, true, false]);
    }

    #[test]
    fn who_had_policies_when_the_last_list_went_has_them_to_the_end() {
        let key = [1; 16];
        let mut consumer =
            Consumer::check(&pb::Consumer { name: "acme".into(), ..Default::default() }, &mut Faults::default())
                .unwrap();
        consumer.policies = Some(Arc::new(OwnPolicies { key, attachments: Box::default(), owner: None }));
        let consumer = Arc::new(consumer);
        let all = OwnFilters::default().with([key].iter(), |_| Some(Filters::default()));
        let gone = all.with([key].iter(), |_| None);
        let forgotten = gone.with([].iter(), |_| None);
        let join = |own: OwnFilters| {
            let (personal, joined) = (Personal::of(&Arc::new(own)), Joined::default());
            let mut context = Context::of_request(Method::GET, "/");
            context.principals.add(Rc::new(Principal::given(&consumer)));
            let lent = Lent { now: Instant::now(), caller: None, personal: &personal, joined: &joined };
            let asked = Filters::default().request(&mut context, lent).now_or_never().unwrap();
            asked.map(|_| joined.is_set()).map_err(|error| error.reason())
        };
        assert_eq!(join(all), Ok(true));
        assert_eq!(join(gone), Ok(true));
        assert_eq!(join(forgotten), Err("consumer_changed"));
    }
}
