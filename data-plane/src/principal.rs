//! Whose request it is, once that is proven: a policy that authenticates says so, and others go by it. Nothing that a
//! client only claims ever gets here.

use proto::{claims::Claims, consumer::Consumer, name::Name};
use std::{rc::Rc, sync::Arc};

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
        match self.first {
            None => self.first = Some(principal),
            Some(_) => self.more.push(principal),
        }
    }

    /// All, in the order in which they were proven.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Principal>> {
        self.first.iter().chain(&self.more)
    }
}
