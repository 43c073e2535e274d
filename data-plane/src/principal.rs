//! Whose request it is, once that is proven: a policy that authenticates says so, and others go by it. Nothing that a
//! client only claims ever gets here.

use proto::{claims::Claims, consumer::Consumer, name::Name};
use std::{cell::OnceCell, rc::Rc, sync::Arc};

/// Somebody whose request it is, as one policy proved it.
#[derive(Debug)]
pub(crate) struct Principal {
    /// The kind of the policy.
    pub(crate) method: &'static str,
    /// The policy.
    pub(crate) policy: Name,
    /// What the policy knows them by: the subject of a token, the name of a user.
    pub(crate) subject: Box<str>,
    /// Who it is among those whom the configuration names.
    pub(crate) consumer: Whom,
    /// What else is said of them, and proven.
    pub(crate) claims: Claims,
}

/// Who somebody is among the consumers.
#[derive(Debug)]
pub(crate) enum Whom {
    /// Nobody of them.
    Nobody,
    /// This one.
    Known(Arc<Consumer>),
    /// Whoever has this id, if anybody: what is known of a proof that was seen before outlasts a change of who that is.
    Called(Box<str>),
}

/// All of them: a request may carry several credentials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Principals {
    // Hardly ever there are more, and what is known of a token that was seen before is shared, not made anew.
    first: Option<Rc<Principal>>,
    more: Vec<Rc<Principal>>,
    // Which consumer they are, once somebody has asked: the same to the end, also when the configuration changes.
    consumer: OnceCell<Option<Arc<Consumer>>>,
}

// === impl Principal ===

impl Principal {
    /// A consumer, as somebody says who asks what would be: no policy proved it.
    pub(crate) fn given(consumer: &Arc<Consumer>) -> Principal {
        let known = Principal::new("given", consumer.name.clone(), consumer.name.as_str().into());
        Principal { consumer: Whom::Known(consumer.clone()), ..known }
    }

    /// Somebody of whom no more is known.
    pub(crate) fn new(method: &'static str, policy: Name, subject: Box<str>) -> Principal {
        Principal { method, policy, subject, consumer: Whom::Nobody, claims: Claims::new() }
    }
}

// === impl Principals ===

impl FromIterator<Principal> for Principals {
    fn from_iter<I: IntoIterator<Item = Principal>>(all: I) -> Principals {
        let mut principals = Principals::default();
        all.into_iter().for_each(|principal| principals.add(Rc::new(principal)));
        principals
    }
}

impl Principals {
    /// Whether anybody is known.
    pub(crate) fn is_known(&self) -> bool {
        self.first.is_some()
    }

    /// One more is known.
    pub(crate) fn add(&mut self, principal: Rc<Principal>) {
        // The first who is a consumer counts, so only who is none yet can become one.
        if matches!(self.consumer.get(), Some(None)) {
            self.consumer.take();
        }
        match self.first {
            None => self.first = Some(principal),
            Some(_) => self.more.push(principal),
        }
    }

    /// Which consumer they are: the first of all who is one. `called` knows whom others call so.
    pub(crate) fn consumer(&self, called: impl Fn(&str) -> Option<Arc<Consumer>>) -> Option<&Arc<Consumer>> {
        let find = |principal: &Rc<Principal>| match &principal.consumer {
            Whom::Nobody => None,
            Whom::Known(consumer) => Some(consumer.clone()),
            Whom::Called(id) => called(id),
        };
        self.consumer.get_or_init(|| self.iter().find_map(find)).as_ref()
    }

    /// All, in the order in which they were proven.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Principal>> {
        self.first.iter().chain(&self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{consumer::Consumer, invalid::Faults, pb};

    fn consumer(name: &str) -> Arc<Consumer> {
        let message = pb::Consumer { name: name.into(), ..pb::Consumer::default() };
        Arc::new(Consumer::check(&message, &mut Faults::default()).unwrap())
    }

    fn principal(consumer: Whom) -> Rc<Principal> {
        let known = Principal::new("jwt", Name::parse("p").unwrap(), "ann".into());
        Rc::new(Principal { consumer, ..known })
    }

    #[test]
    fn the_first_who_is_a_consumer_is_looked_up_once() {
        let looked = std::cell::Cell::new(0);
        let find = |id: &str| {
            looked.set(looked.get() + 1);
            (id == "known").then(|| consumer("acme"))
        };
        let mut principals = Principals::default();
        assert!(principals.consumer(find).is_none());
        principals.add(principal(Whom::Called("stranger".into())));
        assert!(principals.consumer(find).is_none() && principals.consumer(find).is_none());
        assert_eq!(looked.get(), 1);
        principals.add(principal(Whom::Called("known".into())));
        principals.add(principal(Whom::Known(consumer("later"))));
        for _ in 0..2 {
            assert_eq!(principals.consumer(find).unwrap().name.as_str(), "acme");
        }
        assert_eq!(looked.get(), 3, "the stranger again, and whom the second is");
        let before = principals.clone();
        principals = Principals::default();
        assert!(principals.consumer(find).is_none());
        assert_eq!(before.consumer(find).unwrap().name.as_str(), "acme");
    }
}
